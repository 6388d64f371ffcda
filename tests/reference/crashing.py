"""Pulls that are killed at one of their steps, each followed by a look, a pull and a collection.

Run as a program: it stays a process without threads, so that each attempt can be a fork of it. Its
argument is JSON (see `Job`); it prints one line of JSON for each point at which it killed a pull.
A step is a call that changes the disk: the kill comes just before or just after it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reference.config import Config, Request
from reference.errors import PullError, StoreError
from reference.layers import LayerApplier
from reference.overlay import OverlaySnapshots
from reference.pull import Puller

CALLS = (
    *("write", "fsync", "rename", "unlink", "mkdir", "rmdir", "ftruncate", "open", "link"),
    *("symlink", "fchmod", "utime", "setxattr", "mknod", "truncate"),
)


@dataclass(frozen=True)
class Job:
    """What is pulled, where to, and at which steps it is killed."""

    image: str
    image_id: str
    digests: list[str]
    folder: str
    first: int = 0
    step: int = 1
    snapshotter: str = "native"


class Steps:
    """Counts the calls that change the disk, and kills the process at one of them."""

    def __init__(self, fatal: int | None, when: str = "before") -> None:
        self.fatal = fatal
        self.when = when
        self.count = itertools.count(1)

    def watch(self) -> None:
        """Count from now on."""
        for name in CALLS:
            self.wrap(os, name)
        connect = sqlite3.connect

        def connected(*arguments: Any, **options: Any) -> Any:
            class Watched(sqlite3.Connection):
                def execute(connection, sql: str, *more: Any) -> Any:  # noqa: N805
                    return self.step(lambda: super(Watched, connection).execute(sql, *more))

            return connect(*arguments, **options, factory=Watched)

        sqlite3.connect = connected  # type: ignore[assignment]

    def wrap(self, owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not (len(arguments) > 1 and arguments[1] & os.O_CREAT):
                return call(*arguments, **options)
            return self.step(lambda: call(*arguments, **options))

        setattr(owner, name, counted)

    def step(self, do: Callable[[], Any]) -> Any:
        fatal = next(self.count) == self.fatal
        if fatal and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return do()
        finally:
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def config(job: Job) -> Config:
    """One download at a time, so that the steps of two runs are the same."""
    return Config(
        platform="linux/amd64",
        max_concurrent_downloads=1,
        trust_env=False,
        progress_timeout=0,
        snapshotter=job.snapshotter,
    )


def pull(job: Job, root: Path) -> Puller:
    puller = Puller(config(job), root)
    pulled = puller.pull(Request(job.image))
    assert pulled.image_id == job.image_id
    return puller


def can_mount(folder: Path) -> str:
    """Why overlayfs can't be mounted here, or nothing."""
    snapshots = OverlaySnapshots(folder, LayerApplier)
    for name in ("a", "b"):
        (snapshots.root / name).mkdir()
    try:
        with snapshots.mounted([snapshots.root / "a", snapshots.root / "b"]):
            return ""
    except StoreError as error:
        return str(error)


def forked(do: Callable[[], object]) -> tuple[int, str]:
    """Run in a child; its wait status, and what it had to say."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            said = do()
            os.write(write, json.dumps(said).encode())
            os._exit(0)
        except BaseException as error:
            os.write(write, json.dumps(f"{type(error).__name__}: {error}").encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitpid(child, 0)[1], said


def killed(job: Job, root: Path, point: int, when: str) -> bool:
    """Pull, and be killed at a point; False where the pull has fewer steps."""

    def attempt() -> None:
        Steps(point, when).watch()
        pull(job, root)

    status, said = forked(attempt)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert status == 0, said
    return False


def aftermath(job: Job, root: Path) -> list[str]:
    """What is wrong after a kill: with what can be seen, with the next pull, after collecting."""
    wrong = []
    if (root / "images.db").exists():
        puller = Puller(config(job), root)
        for record in puller.records.list():
            try:
                found = puller.here(record.name, None)
                if found.manifest.config.digest != job.image_id:
                    wrong.append(f"{record.name} is another image")
            except PullError as error:
                wrong.append(f"a visible image is broken: {error}")
        wrong += [f"before the next pull: {problem.what}" for problem in puller.check()]
    puller = pull(job, root)
    if len(puller.records.list()) != 3:
        wrong.append(f"{len(puller.records.list())} records")
    puller.collect()
    wrong += [f"after the next pull: {problem.what}" for problem in puller.check()]
    left = sorted(puller.content.digests())
    if left != sorted(job.digests):
        wrong.append(f"content that nobody needs: {set(left) ^ set(job.digests)}")
    if puller.content.partial():
        wrong.append("parts of blobs were left")
    folders = [path.name for path in puller.unpacked.folders()]
    if any(name.startswith(".") for name in folders):
        wrong.append(f"half a snapshot was left: {folders}")
    return wrong


def points(job: Job) -> Iterator[dict[str, Any]]:
    for number in range(10**6):
        point = 1 + job.first + number * job.step
        for when in ("before", "after"):
            root = Path(job.folder) / f"{point}-{when}"
            if not killed(job, root, point, when):
                return
            status, said = forked(partial(aftermath, job, root))
            yield {"point": point, "when": when, "wrong": json.loads(said), "ok": status == 0}


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    for found in points(job):
        print(json.dumps(found), flush=True)
    print(json.dumps({"end": asdict(job)["first"]}), flush=True)


if __name__ == "__main__":
    main()
