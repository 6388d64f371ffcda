"""A puller of forty lines that runs in the test's own process, right or wrong as a test asks.

Its store is an OCI layout. It speaks plain http to the image's own host, without auth.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.applicability import Subject
from conformance.case import Case
from conformance.contract import Evidence, Outcome, PullRequest, Status
from conformance.evidence import Layout
from conformance.judge import Judge
from conformance.requirements import load

SUBJECT = Subject(
    name="naive",
    version="1.2",
    roles=frozenset({"resolve", "copy"}),
    evidence=frozenset({Evidence.LAYOUT, Evidence.STATUS, Evidence.LOG}),
    longest_s=5.0,
)


@dataclass
class Naive:
    """How this one is wrong. ``opened`` counts sessions."""

    verify: bool = True
    always: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    escape: bool = False
    repeat: int = 1
    named: bool = True
    opened: int = 0

    def session(self, directory: Path) -> NaiveSession:
        self.opened += 1
        return NaiveSession(self, directory)


class NaiveSession:
    def __init__(self, naive: Naive, directory: Path) -> None:
        self.naive = naive
        self.directory = directory
        self.closed = False

    def pull(self, request: PullRequest, budget_s: float) -> Outcome:
        if self.naive.always == "unsupported":
            return Outcome("unsupported", feature="pulling")
        if self.naive.always:
            return Outcome(self.naive.always, error="as told", seconds=budget_s)  # type: ignore[arg-type]
        if self.naive.escape:
            (request.store.parent.parent / "outside" / "here-i-was").write_text("!")
        try:
            digest = self._pull(request)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Outcome("failed", error=str(error) or type(error).__name__, exit_status=1)
        return Outcome("pulled", digest=digest)

    def _pull(self, request: PullRequest) -> str:
        host, _, rest = request.image.partition("/")
        separator = "@" if "@" in rest else ":"
        name, _, wanted = rest.partition(separator)
        for _ in range(self.naive.repeat):
            body = self._get(host, f"/v2/{name}/manifests/{wanted}")
        manifest = json.loads(body)
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        self._keep(request, digest, body)
        for descriptor in [manifest["config"], *manifest["layers"]]:
            blob = self._get(host, f"/v2/{name}/blobs/{descriptor['digest']}")
            found = "sha256:" + hashlib.sha256(blob).hexdigest()
            if self.naive.verify and found != descriptor["digest"]:
                raise ValueError("digest mismatch")
            self._keep(request, descriptor["digest"], blob)
        named = _named(request.image if self.naive.named else "another/name:v1")
        index = {"manifests": [{"digest": digest, "annotations": named}]}
        (request.store / "index.json").write_text(json.dumps(index))
        return digest

    def _get(self, host: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(host, timeout=5)
        try:
            connection.request("GET", path, headers=self.naive.headers)
            answer = connection.getresponse()
            body = answer.read() if self.naive.verify else _lenient(answer)
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            return body
        finally:
            connection.close()

    def _keep(self, request: PullRequest, digest: str, data: bytes) -> None:
        path = request.store / "blobs" / digest.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def start(self, request: PullRequest, budget_s: float) -> Any:
        raise NotImplementedError

    def status(self, image: str, request: PullRequest) -> Status:
        layout = self.layout(image, request)
        return Status(layout is not None, digest=None if layout is None else layout.root)

    def remove(self, image: str, request: PullRequest) -> None:
        (request.store / "index.json").unlink(missing_ok=True)

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        return Layout.of_directory(request.store, image)

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        return None

    def close(self) -> None:
        self.closed = True


def _lenient(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read()
    except http.client.IncompleteRead as cut:
        return cut.partial


def _named(image: str) -> dict[str, str]:
    return {"org.opencontainers.image.ref.name": image}


def a_judge(directory: Path, naive: Naive | None = None, **changes: Any) -> Judge:
    """A judge of a naive puller."""
    naive = naive or Naive()
    subject = changes.pop("subject", SUBJECT)
    return Judge(subject, load(), naive.session, "seed", directory / "plays", **changes)


def a_case(function: Callable[..., Any], covers: str = "BLOB-02", **changes: Any) -> Case:
    """A case that isn't in the registry."""
    return Case(
        id=changes.pop("id", "blob/of-a-test"),
        covers=(covers,),
        function=function,
        summary="Something right happens.",
        **changes,
    )
