"""The same cases by one puller after the other, and the matrix of all: ``pullproof pullers``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance import isolation
from conformance.profile import load, shipped
from conformance.report import matrix, totals_line
from conformance.results import Results, read
from conformance.running import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOT_USABLE,
    EXIT_OK,
    EXIT_USAGE,
)

__all__ = ["add_arguments", "run_several"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``pullproof pullers`` takes."""
    parser.add_argument("names", nargs="*", help="profiles; default: every shipped one")
    parser.add_argument("--case", "-c", action="append", default=[], metavar="GLOB")
    parser.add_argument("--level", help="only cases of this level")
    parser.add_argument("-n", type=int, default=0, metavar="N", dest="jobs", help="processes")
    parser.add_argument("--out", type=Path, default=Path("build/conformance"), metavar="DIR")
    parser.add_argument("--strict", action="store_true", help="a broken SHOULD fails the run too")
    parser.add_argument("--seed")


def run_several(options: argparse.Namespace, seed: str) -> int:
    """Run them; 1 where any ended other than expected, 10 where none could be judged.

    A puller that isn't usable here is named with the line that says why; it fails nothing.
    """
    names = options.names or shipped()
    for name in names:
        load(name)
    statuses: dict[str, int] = {}
    runs: list[Results] = []
    for name in names:
        out = options.out / load(name).name
        print(f"\n=== {name}", flush=True)
        statuses[name] = isolation.run(
            [sys.executable, "-m", "conformance", *_arguments(options, name, seed, out)]
        )
        if statuses[name] == EXIT_INTERRUPTED:
            return EXIT_INTERRUPTED
        if statuses[name] not in (EXIT_NOT_USABLE, EXIT_USAGE):
            runs.append(read(out / "results.json"))
    print()
    if runs:
        print(matrix(runs))
        for run in runs:
            header = run.header.puller
            print(f"{header['name']} {header.get('version', '')}: {totals_line(run)}")
    missing = [name for name in names if statuses[name] == EXIT_NOT_USABLE]
    if missing:
        print(f"not judged: {', '.join(missing)} (why stands above; `nox -s pullers -- --install`)")
    return _status(list(statuses.values()))


def _arguments(options: argparse.Namespace, name: str, seed: str, out: Path) -> list[str]:
    argv = ["run", "--puller", name, "--seed", seed, "-n", str(options.jobs), "--out", str(out)]
    for pattern in options.case:
        argv += ["--case", pattern]
    argv += ["--level", options.level] if options.level else []
    return [*argv, "--strict"] if options.strict else argv


def _status(statuses: Sequence[int]) -> int:
    judged = [status for status in statuses if status != EXIT_NOT_USABLE]
    if not judged:
        return EXIT_NOT_USABLE
    return EXIT_FAILED if any(status != EXIT_OK for status in judged) else EXIT_OK
