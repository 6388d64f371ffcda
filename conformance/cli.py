"""``pullproof``: run the suite, list it, prove it, and compare results."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance import isolation, lock, plan, running, several
from conformance.case import CaseError, load_cases
from conformance.compare import differences
from conformance.contract import HarnessError, NotUsable
from conformance.ledger import LedgerError
from conformance.matrix import as_markdown, as_text
from conformance.options import EXIT_USAGE, Commands, parser, said
from conformance.profile import ProfileError, load
from conformance.report import block, detail, noteworthy, summary, withheld
from conformance.requirements import RequirementsError
from conformance.requirements import load as load_requirements
from conformance.results import Record, ResultsError, make_writable, read, results_files
from conformance.seeds import new_seed

__all__ = ["main"]

_MISTAKES = (
    CaseError,
    LedgerError,
    ProfileError,
    RequirementsError,
    ResultsError,
    lock.LockError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status (docs/run-the-suite.md lists them)."""
    commands: Commands = {
        "run": _run,
        "list": _list,
        "mutants": _mutants,
        "pullers": several.run_several,
        "matrix": _matrix,
        "compare": _compare,
    }
    options = parser(commands).parse_args(argv)
    try:
        if _inside_already():
            signal.signal(signal.SIGINT, _interrupted)
        isolation.ready()
        return int(options.command(options))
    except _MISTAKES as mistake:
        return _say(str(mistake), EXIT_USAGE)
    except NotUsable as lack:
        return _say(f"not usable: {lack}", running.EXIT_NOT_USABLE)
    except HarnessError as error:
        return _say(str(error), running.EXIT_FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}{error.strerror or error}", running.EXIT_INCOMPLETE)
    except KeyboardInterrupt:
        return _say("interrupted", running.EXIT_INTERRUPTED)


_GRACE_S = 10.0
"""How long a run that is interrupted may take to tidy up and to write what it has."""


def _interrupted(_number: int, _frame: object) -> None:
    """Ctrl-C: end in order, but end. Whatever happens, the results say that they aren't complete.

    An exception at any place can leave a lock behind that somebody waits for.
    """

    def give_up() -> None:
        os._exit(running.EXIT_INTERRUPTED)

    # The second time nobody wants to wait.
    signal.signal(signal.SIGINT, lambda *_: give_up())
    timer = threading.Timer(_GRACE_S, give_up)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    profile = load(options.puller)
    patterns = list(options.case)
    if options.scenario and not patterns:
        patterns = [f"incident/{Path(name).stem}" for name in options.scenario]
    cases = plan.chosen(plan.all_cases(options.scenario), patterns, options.level)
    if not cases:
        return _say(f"no selected case has level {options.level}", running.EXIT_NOTHING)
    out = options.out or Path("build/conformance") / profile.name
    if not _inside_already():
        make_writable(out, "--out")
        if options.junit is not None:
            make_writable(options.junit.parent, "--junit")
        options.seed = options.seed or new_seed()
        return _isolated(
            *("run", "-n", str(options.jobs)),
            *said(options, "puller", "scenario", "case", "level", "seed", "out", "junit"),
            *said(options, "strict", "bundles"),
        )
    chosen = plan.Plan(
        puller=options.puller,
        seed=options.seed,
        cases=[case.id for case in cases],
        out=str(out),
        scenarios=[str(Path(name).absolute()) for name in options.scenario],
        bundles=options.bundles,
        whole=not (patterns or options.level),
        strict=options.strict,
    )
    print(f"{profile.name}: {len(cases)} cases, seed {chosen.seed}", flush=True)
    done = running.run(chosen, jobs=options.jobs, junit=options.junit, on_record=_progress())
    _report(done, chosen, single=len(cases) == 1)
    return running.exit_status(done, strict=chosen.strict)


def _isolated(*argv: str) -> int:
    """This command again, inside; what killed it there is no status of ours."""
    status = isolation.run([sys.executable, "-m", "conformance", *argv], hold=True)
    if status <= 128:
        return status
    if status == 128 + signal.SIGINT:
        return _say("interrupted", running.EXIT_INTERRUPTED)
    killed = signal.Signals(status - 128).name
    return _say(f"the run was killed by {killed}: it has no verdict", running.EXIT_INCOMPLETE)


_DOTS = {"pass": ".", "recorded": "r", "not-applicable": "-", "differs": "d", "deviates": "D"}


def _progress() -> Callable[[Record], None]:
    """One mark per case, as pytest does it."""
    count = 0

    def note(record: Record) -> None:
        nonlocal count
        count += 1
        mark = _DOTS.get(record.verdict, record.verdict[0].upper())
        print(mark, end="" if count % 80 else "\n", flush=True)

    return note


def _report(done: running.Run, chosen: plan.Plan, *, single: bool) -> None:
    print()
    requirements = load_requirements()
    results = done.results
    for record in results.records:
        if noteworthy(record):
            print(block(record, requirements, chosen.again(record.case), done.ledger))
        elif single and record.pulls and not withheld(record, done.ledger):
            print(detail(record))
            print(f"  again      {chosen.again(record.case)}")
        if single and noteworthy(record) and record.pulls and not withheld(record, done.ledger):
            print(detail(record))
    for problem in done.problems:
        print(f"pullproof: {problem}", file=sys.stderr)
    print(summary(results, whole=chosen.whole))
    print(f"  results: {Path(chosen.out) / 'results.json'}")


def _list(options: argparse.Namespace) -> int:
    requirements = load_requirements()
    if options.lock:
        now = lock.lines_of(load_cases().values(), requirements)
        path = lock.path()
        locked = lock.read(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(lock.update(locked, now), "utf-8")
        print(f"{path.name}: {len(now)} ids")
        return 0
    cases = plan.chosen(plan.all_cases(), options.case, options.level)
    rows = []
    for case in cases:
        requirement = case.requirement(requirements)
        rows.append(
            {
                "id": case.id,
                "level": requirement.level,
                "role": requirement.role,
                "authority": requirement.authority.id,
                "requirements": list(case.covers),
                "evidence": sorted(case.needs),
                "capabilities": sorted(case.capabilities),
                "status": requirement.status,
                "tentative": case.tentative,
                "stalls": case.stalls,
                "summary": case.summary,
            }
        )
    if options.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    width = max((len(case.id) for case in cases), default=0)
    for row in rows:
        print(f"{row['id']:<{width}}  {row['level']:<7}  {row['role']:<8}  {row['summary']}")
    return 0


def _mutants(options: argparse.Namespace) -> int:
    from conformance import mutate

    if not _inside_already():
        make_writable(options.out.parent, "--out")
        return _isolated(
            *("mutants", *options.names, "-n", str(options.jobs)),
            *said(options, "case", "seed", "out", "all"),
        )
    return mutate.prove(
        names=options.names,
        patterns=options.case,
        everything=options.all,
        jobs=options.jobs,
        seed=options.seed or new_seed(),
        out=options.out,
    )


def _matrix(options: argparse.Namespace) -> int:
    runs = [read(path) for given in options.results for path in results_files(given)]
    print(as_markdown(runs) if options.markdown else as_text(runs))
    return 0


def _compare(options: argparse.Namespace) -> int:
    """Exit status 1 where something differs, as diff has it."""
    found = list(differences(read(options.one), read(options.other), requests=options.requests))
    print("\n".join(found))
    return running.EXIT_FAILED if len(found) > 1 else running.EXIT_OK


def _inside_already() -> bool:
    """Whether `isolation.run` has started this process."""
    return bool(isolation.current().run_dir)


def _say(text: str, status: int) -> int:
    print(f"pullproof: {text}", file=sys.stderr)
    return status
