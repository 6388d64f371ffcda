"""Let one thread work ahead of another: decompression runs while the tar is being applied."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterate over `items` while a thread of its own produces up to `depth` of them ahead.

    The consumer takes all that is ready at once, so up to twice as many exist at a time: a lock for
    each piece costs more than what is done with a small one.

    Use it in a `with` statement: leaving it stops the producer and waits for its end, so that no
    thread survives a layer that failed. An exception of the producer is raised in the consumer.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._depth = depth
        self._ready: list[T] = []
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._produce, name="ahead", daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._consume()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _produce(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._ready) < self._depth or self._closed)
                    if self._closed:
                        return
                    self._ready.append(item)
                    if len(self._ready) == 1:
                        self._changed.notify_all()
        except BaseException as error:  # whatever it is, it belongs to the consumer's thread
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _consume(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._ended)
                taken, self._ready = self._ready, []
                self._changed.notify_all()
            if not taken:
                break
            yield from taken
        if self._error is not None:
            raise self._error
