"""HTTP/2 over TLS (RFC 9113): the same requests, scripts and journal as HTTP/1.1.

`frames` is what goes over the wire, `streams` a request and its answer, `playing` how answers go
out, `conversation` the loop of one connection. One thread serves a connection with all its streams:
an answer that waits is a deadline and a descriptor in that loop, so that it blocks no other and
costs nothing. Only where a test's own function answers it does so `elsewhere`.
"""

from .conversation import Conversation

__all__ = ["Conversation"]
