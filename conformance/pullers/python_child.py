"""The child's side of the ``python`` kind: run one operation in a forked process, and report.

What a puller is: ``module:callable``. The callable takes a `PullRequest` and returns an answer of
the contract (a dict), an `Outcome`, or None for 'pulled'. A class is called with the profile's
``arguments`` and must have ``pull``; ``status``, ``remove``, ``layout`` and ``rootfs`` are used
where it has them.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from conformance.contract import Outcome, PullRequest, Status
from conformance.pullers.answers import answer

__all__ = ["resolve", "run"]

_PR_SET_PDEATHSIG = 1


def resolve(target: str) -> Any:
    """The object that ``module:name`` names. Raises ImportError or AttributeError."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def run(
    connection: Connection,
    entry: str,
    arguments: Mapping[str, str],
    refusals: tuple[str, ...],
    operation: str,
    image: str,
    document: Mapping[str, Any],
    stderr: str,
    names: Mapping[str, str],
) -> None:
    """Do `operation` and send ``("answer", document)``, or ``("crash", words)``.

    Runs in a process of its own: group, stderr and name resolution are the child's alone.
    """
    # The parent kills the group; and where it can't any more, the kernel does.
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(stderr, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if names:
        _resolve_names(names)
    request = PullRequest.from_json(document)
    try:
        expected = tuple(resolve(each) for each in refusals)
        try:
            result = _do(entry, arguments, operation, image, request)
        except expected as error:
            words = " ".join(str(error).split()) or type(error).__name__
            result = answer("failed", error=words, code=type(error).__name__)
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        connection.send(("crash", f"{type(error).__name__}: {error}"))
        return
    connection.send(("answer", result))


def _do(
    entry: str, arguments: Mapping[str, str], operation: str, image: str, request: PullRequest
) -> dict[str, Any]:
    target = resolve(entry)
    puller: Any = target(**arguments) if inspect.isclass(target) else target
    if operation == "pull":
        pull: Callable[[PullRequest], Any] = puller.pull if hasattr(puller, "pull") else puller
        return _pull_answer(pull(request))
    ask: Callable[[str, PullRequest], Any] | None = getattr(puller, operation, None)
    if ask is None:
        return answer("unsupported", feature=operation)
    result = ask(image, request)
    if operation == "status":
        return answer("status", **result.to_json()) if isinstance(result, Status) else dict(result)
    if operation == "remove":
        return answer("removed")
    # Where the content is. Not of the wire's contract: these stay between parent and child.
    if operation == "layout":
        return {"layout": None if result is None else [str(result[0]), result[1]]}
    return {"rootfs": None if result is None else str(Path(result))}


def _pull_answer(result: Any) -> dict[str, Any]:
    if result is None:
        return answer("pulled")
    if isinstance(result, Outcome):
        return answer(
            result.kind,
            error=result.error or None,
            feature=result.feature or None,
            image_id=result.image_id,
            digest=result.digest,
            code=result.code,
        )
    return dict(result)


def _resolve_names(names: Mapping[str, str]) -> None:
    """Answer for these names without asking the system: what the private hosts file does."""
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **others: Any) -> Any:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        return original(names.get(text, host), *more, **others)

    socket.getaddrinfo = getaddrinfo
