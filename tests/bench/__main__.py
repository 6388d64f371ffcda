"""How fast registry and reference are: measured side by side, in interleaved rounds, as ratios.

    nox -s bench                          everything
    nox -s bench -- blob manifest         some of it
    nox -s bench -- --rounds 9            more rounds
    nox -s bench -- --list                what there is

Each measure starts its contestants on loopback, with their files on tmpfs, and plays one round
that doesn't count and then at least three that do (five unless told otherwise); in each round every
contestant has its turn. Ratios are taken per round. Exit code: 0, or 1 where something broke or a
loose bound (half of the margin) was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import ssl
import subprocess
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

from figures import Table
from measures import MEASURES, Measure
from processes import CRANE, NotHereError
from pullers import INSTALLED
from pulling import PULLING

SHM = Path("/dev/shm")
ALL = (*MEASURES, *PULLING)


def main() -> int:
    """Run the measures that are asked for; returns the exit code."""
    # Whoever ends the bench ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    if options.list:
        for measure in ALL:
            print(f"{measure.name:10} {measure.about}")
        return 0
    wanted = [one for one in ALL if not options.names or one.name in options.names]
    document: dict[str, Any] = {"versions": _versions(), "rounds": options.rounds, "measures": []}
    print("\n".join(f"{name}: {text}" for name, text in document["versions"].items()))
    failed = False
    for measure in wanted:
        notes: list[str] = []
        before = os.getloadavg()
        table: Table | None = None
        try:
            table = _run(measure, options.rounds, notes)
        except NotHereError as missing:
            notes.append(f"left out: {missing}")
        except Exception:
            traceback.print_exc()
            notes.append("broke: see above")
            failed = True
        table = table or Table(measure.name)
        load = f"load {before[0]:.2f} -> {os.getloadavg()[0]:.2f}"
        for line in (*table.lines(), f"  {load}", *(f"  {note}" for note in notes)):
            print(line, flush=True)
        if any(series.noisy for series in table.series.values()):
            print("  ~ the rounds lie more than 30 % apart: the machine was busy")
        failed = failed or any(not verdict.bearable for verdict in table.verdicts)
        document["measures"].append(table.document() | {"load": before, "notes": notes})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nwritten: {options.output}")
    return 1 if failed else 0


def _run(measure: Measure, rounds: int, notes: list[str]) -> Table:
    table = Table(measure.name)
    where = SHM if SHM.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="pullproof-bench-", dir=where) as folder,
        contextlib.closing(measure.play(Path(folder), notes)) as played,  # type: ignore[type-var]
    ):
        play = next(played)
        play(Table("discarded"))
        for _ in range(rounds):
            play(table)
    table.judge(list(measure.aims))
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    names = [measure.name for measure in ALL]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(names)}")
    parser.add_argument(
        "--rounds", type=int, default=5, help="how many rounds count (5; at least 3)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build", "bench.json"), help="where the figures go"
    )
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args()
    for name in options.names:
        if name not in names:
            parser.error(f"{name!r} is none of {', '.join(names)}")
    options.rounds = max(3, options.rounds)
    return options


def _versions() -> dict[str, str]:
    """What is compared, and where."""
    found = {
        "machine": f"{os.cpu_count()} CPUs, {platform.platform()}",
        "python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "pullproof": version("pullproof"),
        "pytest-httpserver": version("pytest-httpserver"),
    }
    commands = {
        "docker-registry": ["docker-registry", "--version"],
        "crane": [str(CRANE), "version"],
        "curl": ["curl", "--version"],
        "containerd 2": [str(INSTALLED / "containerd2" / "containerd"), "--version"],
        "containerd 1.6": ["/usr/bin/containerd", "--version"],
        "skopeo": ["skopeo", "--version"],
        "umoci": ["umoci", "--version"],
    }
    for name, command in commands.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            found[name] = done.stdout.strip().partition("\n")[0]
        except OSError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    sys.exit(main())
