"""The child's side of the ``python`` kind: run one operation in a forked process, and report.

What a puller is: ``module:callable``. The callable takes a `PullRequest` and returns an answer of
the contract (a dict), an `Outcome`, or None for 'pulled'. A class is called with the profile's
``arguments`` and must have ``pull``; ``status``, ``remove``, ``layout`` and ``rootfs`` are used
where it has them.
"""

from __future__ import annotations

import importlib
import inspect
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conformance.contract import Outcome, PullRequest, Status
from conformance.pullers.answers import answer

__all__ = ["perform", "resolve"]


def resolve(target: str) -> Any:
    """The object that ``module:name`` names. Raises ImportError or AttributeError."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def perform(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do the job's operation: ``{"answer": document}``, or ``{"crash": words}`` with a traceback.

    Runs in a process of its own: its output and its name resolution are the child's alone.
    """
    descriptor = os.open(job["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if job["names"]:
        _resolve_names(job["names"])
    try:
        return {"answer": _do(job, PullRequest.from_json(job["request"]))}
    except BaseException as error:
        words = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, tuple(resolve(each) for each in job["refusals"])):
            return {"answer": answer("failed", error=words, code=type(error).__name__)}
        traceback.print_exc()
        return {"crash": f"{type(error).__name__}: {words}"[:4096]}
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _do(job: Mapping[str, Any], request: PullRequest) -> dict[str, Any]:
    target = resolve(job["entry"])
    puller: Any = target(**job["arguments"]) if inspect.isclass(target) else target
    operation = job["operation"]
    if operation == "pull":
        pull: Callable[[PullRequest], Any] = puller.pull if hasattr(puller, "pull") else puller
        return _pull_answer(pull(request))
    ask: Callable[[str, PullRequest], Any] | None = getattr(puller, operation, None)
    if ask is None:
        return answer("unsupported", feature=operation)
    result = ask(job["image"], request)
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
