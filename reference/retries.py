"""Asking again: after a lost connection, and after answers that may be others another time."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Callable, Iterator

from reference.compat import Quirks
from reference.errors import ConnectionLost, TransportError
from reference.transport import Answer, Ask, Transport

FIRST_PAUSE = 0.1
"""Seconds before the first repetition where the server named no time; then doubled each time."""
LIMITED = frozenset({408, 429})
_RETRIED = LIMITED | {500, 502, 503, 504}


class Retrying:
    """What whoever asks registries or token services knows of asking again."""

    transport: Transport
    quirks: Quirks

    def sent(
        self, send: Callable[[Ask], Answer], ask: Ask, pauses: Iterator[float], *, again: bool
    ) -> Answer:
        """The answer to `ask`, after as many repetitions as `pauses` has; `again` allows any."""
        while True:
            try:
                answer = send(ask)
            except TransportError as error:
                pause = next(pauses, None) if again and self.is_transient(error) else None
                if pause is None:
                    raise
                self.transport.cancellation.wait(pause)
            else:
                if not (again and self.is_retried(answer.status) and self.pause(answer, pauses)):
                    return answer

    def is_transient(self, error: TransportError) -> bool:
        """Whether the connection broke in a way that may not happen again."""
        return isinstance(error, ConnectionLost) and not self.quirks.errors_not_repeated

    def is_retried(self, status: int) -> bool:
        """Whether an answer may be another one after a pause."""
        off = self.quirks.rate_limits_ignored, self.quirks.errors_not_repeated
        return status in _RETRIED and not off[status >= 500]

    def pause(self, answer: Answer, pauses: Iterator[float]) -> bool:
        """Wait before a repetition as long as the server asks for; False when that is too long."""
        pause = next(pauses, None)
        if pause is None:
            return False
        asked = self.retry_after(answer)
        if asked is not None and asked > self.transport.config.retry_after_cap:
            return False
        answer.discard()
        self.transport.cancellation.wait(pause if asked is None else asked)
        return True

    def pauses(self) -> Iterator[float]:
        """The seconds to wait before each repetition, where the server doesn't name a time."""
        return iter([FIRST_PAUSE * 2**n for n in range(self.transport.config.retry_attempts)])

    def retry_after(self, answer: Answer) -> float | None:
        """The seconds that a Retry-After header asks for: a number or a date (RFC 9110 10.2.3)."""
        value = str(answer.headers.get("retry-after", "")).strip()
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError):
            return None
