"""Answers in the contract's JSON form: how ``wrapper`` and ``python`` pullers say what they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.contract import CONTRACT_VERSION, HarnessError, Outcome, PullRequest, Status
from conformance.evidence import Layout
from conformance.schema import problem_of, schema

__all__ = ["Places", "answer", "checked_answer", "outcome_of", "status_of"]


def checked_answer(document: Any, who: str, expected: set[str]) -> Mapping[str, Any]:
    """The answer, when it is one of the `expected` kinds in this version.

    Raises `HarnessError` with the first thing that the answer's schema forbids.
    """
    problem = problem_of(document, schema("answer"))
    if problem is None and document["answer"] not in expected:
        problem = f"answered {document['answer']!r}, expected {' or '.join(sorted(expected))}"
    if problem is not None:
        raise HarnessError(f"{who}: not a valid answer: {problem}")
    answer: Mapping[str, Any] = document
    return answer


def answer(kind: str, **members: Any) -> dict[str, Any]:
    """An answer document of this version; members that are None are left out."""
    given = {key: value for key, value in members.items() if value is not None}
    return {"version": CONTRACT_VERSION, "answer": kind, **given}


def outcome_of(document: Mapping[str, Any]) -> Outcome:
    """The outcome that an answer to 'pull' states."""
    return Outcome(
        document["answer"],
        error=document.get("error", ""),
        feature=document.get("feature", ""),
        image_id=document.get("image_id"),
        digest=document.get("digest"),
        code=document.get("code"),
    )


def status_of(document: Mapping[str, Any]) -> Status:
    """The status that an answer to 'status' states."""
    members = {key: value for key, value in document.items() if key not in ("version", "answer")}
    return Status.from_json(members)


@dataclass
class Places:
    """Where the puller said that its results are, for each store and reference.

    Without a word from it: the OCI layout ``layout`` in the store, the tree ``rootfs`` in the
    output folder of the last pull that succeeded.
    """

    def __post_init__(self) -> None:
        self._rootfs: dict[tuple[Path, str], Path] = {}
        self._layout: dict[tuple[Path, str], Path] = {}

    def note(self, request: PullRequest, document: Mapping[str, Any]) -> None:
        """Remember the places of a successful pull."""
        key = (request.store, request.image)
        self._rootfs[key] = Path(document.get("rootfs", request.output / "rootfs"))
        self._layout[key] = Path(document.get("layout", request.store / "layout"))

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """The layout in which this reference is looked for, whether or not a pull succeeded."""
        path = self._layout.get((request.store, image), request.store / "layout")
        return Layout.of_directory(path, image)

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """The tree of the last successful pull of this reference."""
        path = self._rootfs.get((request.store, image))
        return path if path is not None and path.is_dir() else None
