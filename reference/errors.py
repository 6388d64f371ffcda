# ruff: noqa: N818 - these are named for what went wrong; only the roots are called errors
"""What can go wrong in a pull, as one tree of exceptions.

Every message is one line that says what failed and where. Secrets (passwords, tokens, the query of
a signed URL) never get into a message: use `safe_url` for any URL that was read from the wire.

    PullError
    ├── InvalidReference     the image name is not one
    ├── ConfigError          a setting can't be used
    │   └── HostsConfigError ... in a hosts.toml tree or a mirrors table
    ├── AuthError
    │   ├── InvalidAuth          the credentials given can't be understood
    │   └── AuthorizationFailed  the registry, or its token server, refused them
    ├── RegistryError        an answer that says no (status, host, code, message)
    │   ├── NotFound
    │   └── RateLimited
    ├── TransportError       no usable answer at all
    │   ├── ConnectionLost       it ended before the answer began; trying again may help
    │   ├── Silent               nothing came in the time that there was for it
    │   ├── TLSError
    │   ├── RedirectError
    │   └── BodyError            the body ended early or broke its own promises
    ├── IntegrityError       the content isn't what its descriptor says
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   └── InvalidDescriptor
    ├── ManifestError
    │   ├── UnsupportedMediaType
    │   ├── AmbiguousManifest
    │   └── NoMatchingPlatform
    ├── LayerError
    │   ├── UnsafeEntry
    │   └── DiffIDMismatch
    ├── StoreError           the local disk said no
    └── Cancelled            somebody stopped the pull
        └── ProgressTimeout  ... because nothing moved
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PORT = re.compile(r"(?:\[[^\]]*\]|[^:]*)(?::[0-9]{0,5})?")


def one_line(text: str, limit: int = 300) -> str:
    """Return `text` without control characters and cut to `limit` characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def safe_url(url: str) -> str:
    """Return scheme, host and path of `url`: user info, query and fragment may hold secrets.

    So may what looks like a port or a path where user info isn't written as it should be.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<unreadable URL>"
    host = parts.netloc.rpartition("@")[2]
    if not _PORT.fullmatch(host):
        host = host.partition(":")[0] + ":…"
    path = parts.path.rpartition("@")[2]
    return one_line(f"{parts.scheme}://{host}{path}" if host else path)


class PullError(Exception):
    """Anything that ends a pull. The message is one line and free of secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, 1000))


class InvalidReference(PullError):
    """The text given is not an image reference."""


class ConfigError(PullError):
    """A setting can't be used as it is."""


class HostsConfigError(ConfigError):
    """A host's configuration (hosts.toml, certs.d or mirrors) can't be used as it is."""


class AuthError(PullError):
    """No authority to read the image."""


class InvalidAuth(AuthError):
    """The credentials given are not in a form that can be sent."""


class AuthorizationFailed(AuthError):
    """The registry or its token server refused, or answered without a usable token."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RegistryError(PullError):
    """A registry answered with an error.

    `status` is the HTTP status, `host` who answered, `code` and `message` the first entry of the
    distribution-spec's error document (empty when there was none).
    """

    def __init__(
        self, what: str, *, status: int, host: str, code: str = "", message: str = ""
    ) -> None:
        detail = ": ".join(part for part in (one_line(code, 80), one_line(message)) if part)
        text = f"{what}: {host} answered {status}"
        super().__init__(f"{text} ({detail})" if detail else text)
        self.status = status
        self.host = host
        self.code = code
        self.message = message


class NotFound(RegistryError):
    """404: the host doesn't have it."""


class RateLimited(RegistryError):
    """429, after as many attempts as the budget allows."""


class TransportError(PullError):
    """A request brought no usable answer: connection, TLS, redirect or body went wrong."""


class ConnectionLost(TransportError):
    """The connection ended before an answer began, as one does that was idle for too long."""


class Silent(TransportError):
    """A server took too long: to be connected to, to begin its answer, or to go on with it."""


class TLSError(TransportError):
    """The TLS handshake or the verification of the server failed."""


class RedirectError(TransportError):
    """A redirect that must not be followed, or too many of them."""


class BodyError(TransportError):
    """A body ended before its promised length, or contradicts its own headers."""


class IntegrityError(PullError):
    """Content is not what its descriptor says it is."""


class DigestMismatch(IntegrityError):
    """The content has another digest than the descriptor's."""


class SizeMismatch(IntegrityError):
    """The content is longer or shorter than the descriptor's size."""


class PromiseMismatch(SizeMismatch):
    """A body's own headers promise another length than the content should have."""


class InvalidDescriptor(IntegrityError):
    """A descriptor with a malformed digest, size, media type or URL."""


class ManifestError(PullError):
    """A manifest, index or config that can't be used."""


class UnsupportedMediaType(ManifestError):
    """The document is of a kind that this puller doesn't know."""


class AmbiguousManifest(ManifestError):
    """One document that is an index and an image at the same time (CVE-2021-41190)."""


class NoMatchingPlatform(ManifestError):
    """No entry of the index fits the platform asked for."""


class LayerError(PullError):
    """A layer can't be applied."""


class UnsafeEntry(LayerError):
    """A layer's entry that would reach outside the root, or that no file system can hold."""


class DiffIDMismatch(LayerError):
    """The uncompressed layer has another digest than the config's diff_id."""


class StoreError(PullError):
    """The store on disk can't be read or written."""


class Cancelled(PullError):
    """The pull was stopped from outside."""


class ProgressTimeout(Cancelled):
    """The pull was stopped because no byte arrived for longer than the progress timeout."""
