"""The same cases by one puller after the other, and the matrix of all: ``pullproof pullers``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance import isolation
from conformance.matrix import as_markdown, as_text
from conformance.options import said
from conformance.plan import all_cases, chosen
from conformance.profile import load, shipped
from conformance.report import title, totals_line
from conformance.results import Results, make_writable, read
from conformance.running import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOT_USABLE,
    EXIT_NOTHING,
    EXIT_OK,
    EXIT_USAGE,
)
from conformance.seeds import new_seed

__all__ = ["run_several"]

_KILLED_BY_US = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def run_several(options: argparse.Namespace) -> int:
    """Run them; 1 where any ended other than expected, 10 where none could be judged.

    A puller that isn't usable here is named with the line that says why; it fails nothing.
    """
    names = options.names or shipped()
    profiles = {name: load(name) for name in names}
    # Before any of them: a mistake here would be each puller's.
    if not chosen(all_cases(), options.case, options.level):
        print(f"pullproof: no selected case has level {options.level}", file=sys.stderr)
        return EXIT_NOTHING
    for made in profiles.values():
        make_writable(options.out / made.name, "--out")
    if options.markdown is not None:
        make_writable(options.markdown.parent, "--markdown")
    options.seed = options.seed or new_seed()
    statuses: dict[str, int] = {}
    runs: list[Results] = []
    for name in names:
        out = options.out / profiles[name].name
        print(f"\n=== {name}", flush=True)
        statuses[name] = isolation.run(
            [sys.executable, "-m", "conformance", *_arguments(options, name, out)], hold=True
        )
        if statuses[name] in (EXIT_INTERRUPTED, *_KILLED_BY_US):
            return EXIT_INTERRUPTED
        if statuses[name] not in (EXIT_NOT_USABLE, EXIT_USAGE):
            runs.append(read(out / "results.json"))
    print()
    if runs:
        print(as_text(runs))
        for run in runs:
            print(f"{title(run)}: {totals_line(run)}")
        if options.markdown is not None:
            options.markdown.write_text(as_markdown(runs) + "\n", "utf-8")
    missing = [name for name in names if statuses[name] == EXIT_NOT_USABLE]
    if missing:
        print(f"not judged: {', '.join(missing)} (why stands above; `nox -s pullers -- --install`)")
    return _status(list(statuses.values()))


def _arguments(options: argparse.Namespace, name: str, out: Path) -> list[str]:
    return [
        *("run", "--puller", name, "-n", str(options.jobs), "--out", str(out)),
        *said(options, "case", "level", "seed", "strict"),
    ]


def _status(statuses: Sequence[int]) -> int:
    judged = [status for status in statuses if status != EXIT_NOT_USABLE]
    if not judged:
        return EXIT_NOT_USABLE
    return EXIT_FAILED if any(status != EXIT_OK for status in judged) else EXIT_OK
