"""What may stand in a message: one line, and nothing that is secret."""

from __future__ import annotations

import pytest

from reference.errors import PullError, safe_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:canary@h.test:5000/v2/?q=canary#canary", "https://h.test:5000/v2/"),
        ("https://[::1]:5000/v2/", "https://[::1]:5000/v2/"),
        ("https://user:canary#@h.test/v2/", "https://user:…"),
        ("https://user:canary/@h.test/v2/", "https://user:…h.test/v2/"),
        ("https:/user:canary@h.test/v2/", "h.test/v2/"),
        ("user:canary@h.test/v2/", "h.test/v2/"),
        ("https://[canary", "<unreadable URL>"),
    ],
)
def test_a_url_shows_no_secret_however_it_is_broken(url: str, shown: str) -> None:
    assert safe_url(url) == shown


def test_a_message_is_one_printable_line() -> None:
    text = str(PullError("a\r\nb\x1b[0m\u2028" + "x" * 5000))
    assert text.startswith("a b [0m xxx")
    assert text.isprintable()
    assert len(text) == 1000
