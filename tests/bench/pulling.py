"""The measures of the reference: whole pulls, beside the pullers that people use.

All pull the same image from the same docker-registry on loopback, onto tmpfs, from nothing, and
verify it; each pull is a whole process, its start included.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pullers
import trustme
from clients import median
from figures import Aim, Table
from images import Coding, Image, image
from measures import Measure, Round, peers
from processes import Server, docker_registry, running
from pullers import REFPULL, Commands, Containerd, Puller

TWO, OLD, TWO_IGZIP = "containerd 2", "containerd 1.6", "containerd 2 + igzip"


def _played(pullers: list[Puller], ref: str, table: Table, face: str = "") -> None:
    """One turn for each."""
    for puller in pullers:
        spent = puller.pull(ref)
        puller.forget(ref)
        table.add(puller.name, f"{face}time", "s", spent.seconds)
        table.add(puller.name, f"{face}CPU", "s", spent.cpu)
        table.add(puller.name, f"{face}pulls a minute", "", 60 / spent.seconds)


def _all_stopped(stack: ExitStack, found: list[Puller]) -> list[Puller]:
    for puller in found:
        stack.callback(puller.stop)
    return found


def pull(folder: Path, notes: list[str]) -> Iterator[Round]:
    """The large image: pulled, verified, unpacked, diff ids compared."""
    starts: list[Callable[[], Puller]] = [
        lambda: pullers.refpull(folder),
        lambda: Containerd(TWO, folder / "c2", modern=True),
        lambda: Containerd(TWO_IGZIP, folder / "c2z", modern=True, igzip=pullers.igzip()),
        lambda: Containerd(OLD, folder / "c1", modern=False),
        lambda: pullers.skopeo(folder, unpack=True),
    ]
    yield from _unpacked(folder, notes, "gzip", starts)


def zstd(folder: Path, notes: list[str]) -> Iterator[Round]:
    """Its twin with zstd layers."""
    starts: list[Callable[[], Puller]] = [
        lambda: pullers.refpull(folder),
        lambda: Containerd(TWO, folder / "c2", modern=True),
    ]
    yield from _unpacked(folder, notes, "zstd", starts)


def _unpacked(
    folder: Path, notes: list[str], coding: Coding, starts: list[Callable[[], Puller]]
) -> Iterator[Round]:
    big = image("big", coding)
    server = pullers.stocked(folder, big)
    with running(server), ExitStack() as stack:
        found = _all_stopped(stack, peers(notes, *starts))

        def play(table: Table) -> None:
            _played(found, pullers.reference_to(server, big), table)
            _floor(table, server, big, folder / "stages")

        yield play


def _floor(table: Table, server: Server, image: Image, folder: Path) -> None:
    """The stages of the same pull by themselves, in the same round."""
    before = server.cpu
    command = [sys.executable, str(Path(__file__).with_name("stages.py"))]
    where = ["localhost", str(server.port), f"bench/{image.name}"]
    done = subprocess.run(
        [*command, str(image.layout), str(folder), *where],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    stages = json.loads(done.stdout) | {"registry": server.cpu - before}
    for stage, seconds in stages.items():
        table.add(stage, "stage CPU", "s", seconds)
    table.add("floor", "CPU", "s", sum(stages.values()))
    table.add("floor", "time", "s", sum(stages.values()) / 2)


def layout(folder: Path, notes: list[str]) -> Iterator[Round]:
    """The large image: pulled and verified, to an OCI layout, by HTTP and by HTTPS."""
    big = image("big")
    tls = _certificates(folder)
    ca = tls / "ca.crt"
    servers = [pullers.stocked(folder, big), docker_registry(folder, tls)]
    out: list[str | Path] = ["-o", "{dir}/out"]
    with running(*servers), ExitStack() as stack:
        plain = peers(
            notes,
            lambda: pullers.refpull(folder, *out),
            lambda: pullers.crane(folder),
            lambda: pullers.skopeo(folder),
        )
        secure = peers(
            notes,
            lambda: pullers.refpull(folder, *out, "--ca", ca),
            lambda: pullers.crane(folder, ca),
            lambda: pullers.skopeo(folder, ca=ca),
        )
        _all_stopped(stack, [*plain, *secure])

        def play(table: Table) -> None:
            _played([*plain], pullers.reference_to(servers[0], big), table, "HTTP ")
            _played([*secure], pullers.reference_to(servers[1], big), table, "HTTPS ")

        yield play


def _certificates(folder: Path) -> Path:
    """A folder with ca.crt, server.crt and server.key, and with the CA as skopeo wants it."""
    tls = folder / "tls"
    (tls / "certs").mkdir(parents=True)
    ca = trustme.CA()
    issued = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(tls / "ca.crt")
    shutil.copy(tls / "ca.crt", tls / "certs")
    issued.private_key_pem.write_to_path(tls / "server.key")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(tls / "server.crt", append=True)
    return tls


def peak(folder: Path, notes: list[str]) -> Iterator[Round]:
    """The memory that a pull has at its most, for one layer of 64 MiB and one of 1 GiB."""
    images = {"64 MiB": image("medium"), "1 GiB": image("huge")}
    server = pullers.stocked(folder, *images.values())
    contestants: list[tuple[str, Commands]] = [
        ("unpacked", pullers.refpull(folder)),
        ("to a layout", pullers.refpull(folder, "-o", "{dir}/out")),
    ]
    contestants += [("to a layout", one) for one in peers(notes, lambda: pullers.crane(folder))]

    def play(table: Table) -> None:
        for size, one in images.items():
            for what, puller in contestants:
                ref = pullers.reference_to(server, one)
                puller.folder.mkdir()
                memory = pullers.peak(puller.filled(ref)[0])
                puller.forget(ref)
                table.add(f"{puller.name}, {size}", f"{what}: memory", "MiB", memory)

    with running(server):
        yield play


def start(folder: Path, notes: list[str]) -> Iterator[Round]:
    """What it takes to start: `refpull --help`, and Python by itself."""
    commands = {
        "refpull --help": [str(REFPULL), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }

    def play(table: Table) -> None:
        for name, command in commands.items():
            times = []
            for _ in range(20):
                begun = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=True)
                times.append((time.perf_counter() - begun) * 1000)
            table.add(name, "start", "ms", median(times))

    yield play


_SYNC = re.compile(r"\d+ +(fsync|fdatasync|syncfs|sync_file_range|msync|sync)\((?:\d+<([^>]*)>)?")


def syncs(folder: Path, notes: list[str]) -> Iterator[Round]:
    """How often a pull makes sure that its bytes are on the disk, by strace."""
    big = image("big")
    server = pullers.stocked(folder, big)
    trace = folder / "refpull.trace"
    ref = pullers.reference_to(server, big)
    reference = pullers.refpull(folder)
    reference.commands = [[*pullers.strace(trace), *reference.commands[0]]]
    traces = {TWO: folder / "c2.trace", OLD: folder / "c1.trace"}
    with running(server), ExitStack() as stack:
        daemons = peers(
            notes,
            lambda: Containerd(TWO, folder / "c2", modern=True, traced=traces[TWO]),
            lambda: Containerd(OLD, folder / "c1", modern=False, traced=traces[OLD]),
        )
        _all_stopped(stack, [*daemons])

        def play(table: Table) -> None:
            reference.pull(ref)
            _count(table, reference.name, trace.read_text())
            for daemon in daemons:
                daemon.forget(ref)
                before = traces[daemon.name].stat().st_size
                daemon.run(ref)
                _count(table, daemon.name, traces[daemon.name].read_text()[before:])

        yield play


def _count(table: Table, name: str, trace: str) -> None:
    """Add the syncs of one pull: all, those of databases, and those of content.

    Databases are what fdatasync is for, with all of these pullers. The file of a blob counts once:
    containerd 2 asks twice in a row, with nothing written in between. Folders count each time.
    """
    found = [match.groups() for match in map(_SYNC.match, trace.splitlines()) if match]
    content = [path for call, path in found if call != "fdatasync"]
    files = [path for path in content if "/ingest/" in (path or "")]
    table.add(name, "syncs", "", len(found))
    table.add(name, "syncs of databases", "", len(found) - len(content))
    table.add(name, "syncs of content", "", len(content) - len(files) + len(set(files)))


def _aim(figure: str, op: str, value: float, peer: str | None = None) -> Aim:
    return Aim(figure, ">=" if op == ">=" else "<=", value, peer, "refpull")


PULLING = (
    Measure(
        "pull",
        "a large image pulled, verified and unpacked, beside containerd, skopeo and the floor",
        pull,
        (
            _aim("pulls a minute", ">=", 2.5, TWO),
            _aim("pulls a minute", ">=", 2.2, TWO_IGZIP),
            _aim("pulls a minute", ">=", 4.0, OLD),
            _aim("pulls a minute", ">=", 4.0, "skopeo+umoci"),
            _aim("time", "<=", 1.35, "floor"),
        ),
    ),
    Measure(
        "zstd",
        "its twin with zstd layers, beside containerd",
        zstd,
        (_aim("pulls a minute", ">=", 2.0, TWO), _aim("time", "<=", 1.35, "floor")),
    ),
    Measure(
        "layout",
        "the image to an OCI layout, beside crane and skopeo",
        layout,
        (
            _aim("HTTP time", "<=", 1.0, "crane"),
            _aim("HTTPS time", "<=", 0.8, "crane"),
            _aim("HTTP time", "<=", 0.7, "skopeo"),
            _aim("HTTPS time", "<=", 0.8, "skopeo"),
        ),
    ),
    Measure(
        "peak",
        "the most memory of a pull, for layers of 64 MiB and of 1 GiB",
        peak,
        (
            Aim("unpacked: memory", "<=", 64, None, "refpull, 1 GiB"),
            Aim("unpacked: memory", "<=", 1.1, "refpull, 64 MiB", "refpull, 1 GiB"),
            Aim("to a layout: memory", "<=", 1.1, "refpull, 64 MiB", "refpull, 1 GiB"),
        ),
    ),
    Measure(
        "start",
        "`refpull --help`",
        start,
        (Aim("start", "<=", 150, None, "refpull --help"),),
    ),
    Measure(
        "syncs",
        "syncs to the disk of one pull, beside containerd's, by strace",
        syncs,
        (_aim("syncs of content", ">=", 1.0, TWO),),
    ),
)

__all__ = ["PULLING"]
