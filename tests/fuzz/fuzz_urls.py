"""URLs in messages: user info and query never show, however the rest is broken."""

from __future__ import annotations

from harness import SECRET, check_message, held

from reference.errors import HostsConfigError, safe_url
from reference.hostfile import split_endpoint

WORDS = [b"https://", b"://", b"//", b"/", b"@", b"?", b"#", b":", b"[", b"]", b"%40", b"\\", b"\n"]
SEEDS = [
    *(b"", b"h.test/v2/", b"h.test:5000/a/b", b"[::1]:5000/", b"[::1/", b"h.test:x/", b"\xff"),
    *(
        "\uff48.test\u2100/".encode(),
        b"a@b@c/",
        b"h.test/a@b",
        b" h.test",
        b"h.test\n/x",
        b"//x",
        b"\\x",
    ),
    *(b"?q=1", b"#f", b"/", b"h" * 1500, b":", b"h.test:99999/"),
]


def fuzz_one(data: bytes) -> None:
    """Put a secret into each place of a URL where one may be, and any text around it."""
    text = data.decode("utf-8", "replace")
    scheme, _, rest = text.rpartition("://")
    for url in (
        f"{scheme or 'https'}://user:{SECRET}@{rest}",
        f"//user:{SECRET}@{text}",
        f"https://user:{SECRET}:{SECRET}@{text}",
        f"https://h.test/{text}?sig={SECRET}",
        f"https://h.test/{text}#{SECRET}",
    ):
        with held(data, HostsConfigError, secret=True):
            check_message(safe_url(url), secret=True)
            split_endpoint(url)
