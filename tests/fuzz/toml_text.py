"""Values as TOML, for the fuzzers of the configuration files."""

from __future__ import annotations

import json
from typing import Any


def toml(document: dict[str, Any]) -> bytes:
    """A document; tables below the first level stand in one line."""
    lines = (f"{_key(key)} = {_value(value)}\n" for key, value in document.items())
    return "".join(lines).encode("utf-8", "surrogatepass")


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _key(value).replace("\x7f", "\\u007f")
    return json.dumps(value).lower()


DEEP_TOML = [
    b"server = " + b"[" * 5000 + b"]" * 5000,
    b"server = " + b"{a = " * 5000 + b"1" + b"}" * 5000,
    b"[" + b".".join([b"a"] * 400) + b"]\nb = 1",
    b"server = " + b"9" * 5000,
]
"""Documents that are nested, or have numbers, beyond what anybody would read."""
