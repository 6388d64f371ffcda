"""Bytes and seconds as a person says them."""

from __future__ import annotations

__all__ = ["size_words", "tick_words", "time_words"]


def size_words(size: int) -> str:
    """Bytes as a person says them: ``64 KiB``."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return (
        f"{amount:.0f} {unit}" if amount >= 100 or amount == int(amount) else f"{amount:.1f} {unit}"
    )


def time_words(seconds: float) -> str:
    """A time as a person says it: ``12.5 ms``, ``3 s``."""
    if seconds >= 120:
        return f"{seconds / 60:.3g} min"
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def tick_words(at: float, span: float) -> str:
    """A moment on the axis: all of them in the unit that fits the whole."""
    for unit, seconds in (("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if span >= seconds or unit == "ms":
            break
    return f"{round(at / seconds, 6):g} {unit}"
