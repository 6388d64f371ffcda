"""The verbs of a rule: one method for each fault, named and parameterised as in `faults.FAULTS`.

Those about what an answer says are in `answerverbs`.
"""

from __future__ import annotations

from typing import Any, Self

from fakeregistry import faults as f

from .answerverbs import AnswerVerbs
from .connectionverbs import ConnectionVerbs
from .hostverbs import HostVerbs
from .http2verbs import HTTP2Verbs
from .orderverbs import OrderVerbs


class Verbs(AnswerVerbs, ConnectionVerbs, HostVerbs, HTTP2Verbs, OrderVerbs):
    """What a rule can do to an answer; each method adds one fault and returns the rule."""

    def __init__(self) -> None:
        self.faults: tuple[f.Fault, ...] = ()
        self.edits: tuple[f.AnswerFault, ...] = ()
        self.greets: tuple[f.ConnectionFault, ...] = ()

    @property
    def on_connection(self) -> bool:
        """Whether the rule is about connections, and not about requests."""
        return False

    def add(self, *faults: f.Fault) -> Self:
        """Add faults; they act in the order in which they were added.

        Raises ValueError for a fault on answers where connections are meant, and the reverse.
        """
        for fault in faults:
            problem = f.misplaced(fault, on_connection=self.on_connection)
            if problem is not None:
                raise ValueError(f"{f.name_of(fault)}: {problem}")
            known: Any = fault
            if self.on_connection:
                self.greets = (*self.greets, known)
            else:
                self.edits = (*self.edits, known)
            self.faults = (*self.faults, fault)
        return self

    def delay_headers(self, seconds: float | None = None) -> Self:
        """Say nothing before the status line for `seconds`; None: until released."""
        return self.add(f.DelayHeaders(seconds))

    def stall_after(
        self, n: int, seconds: float | None = None, *, inside_record: bool = False
    ) -> Self:
        """Send `n` bytes of the body (and half a TLS record), then nothing for `seconds`."""
        return self.add(f.StallAfter(n, seconds, inside_record))

    def throttle(self, bytes_per_second: int) -> Self:
        """Send the body at about this rate."""
        return self.add(f.Throttle(bytes_per_second))

    def drip(self, size: int = 1, every: float = 1.0) -> Self:
        """Send `size` bytes, wait `every` seconds, and so on."""
        return self.add(f.Drip(size, every))

    def truncate_after(self, n: int, *, terminated: bool = False) -> Self:
        """Promise the whole body, send `n` bytes, and close in good order."""
        return self.add(f.TruncateAfter(n, terminated))

    def close_after(self, n: int = 0) -> Self:
        """Send `n` bytes of the body, then FIN alone."""
        return self.add(f.CloseAfter(n))

    def reset_after(self, n: int = 0) -> Self:
        """Send `n` bytes of the body, then RST."""
        return self.add(f.ResetAfter(n))

    def reset_before_headers(self) -> Self:
        """Read the request, then RST without a word."""
        return self.add(f.ResetBeforeHeaders())
