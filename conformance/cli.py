"""``pullproof``: run the suite, list it, prove it, and compare results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance import __version__, isolation, lock, plan, running, several
from conformance.bundle import command_of
from conformance.case import CaseError, load_cases
from conformance.contract import HarnessError, NotUsable
from conformance.ledger import LedgerError
from conformance.profile import ProfileError, load
from conformance.report import block, detail, matrix, noteworthy, summary
from conformance.requirements import LEVELS, RequirementsError
from conformance.requirements import load as load_requirements
from conformance.results import Record, ResultsError, read
from conformance.seeds import new_seed, valid

__all__ = ["main"]

EXIT_USAGE = running.EXIT_USAGE
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
    parser = _parser()
    options = parser.parse_args(argv)
    try:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pullproof", description="Judge image pullers against a registry that lies on purpose."
    )
    parser.add_argument("--version", action="version", version=f"pullproof {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="judge a puller")
    run.add_argument(
        *("--puller", "-p"), default="reference", help="a shipped profile, or a .toml file"
    )
    run.add_argument("--case", "-c", action="append", default=[], metavar="GLOB", help="only these")
    run.add_argument(
        *("--scenario", "-s"),
        action="append",
        default=[],
        metavar="FILE",
        help="judge by this scenario file (without --case: by such files alone)",
    )
    run.add_argument("--level", choices=sorted(LEVELS), help="only cases of this level")
    run.add_argument("--seed", help="repeat the run with this seed")
    run.add_argument("-n", type=int, default=0, metavar="N", dest="jobs", help="worker processes")
    run.add_argument("--out", type=Path, metavar="DIR", help="default: build/conformance/<puller>")
    run.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well")
    run.add_argument("--strict", action="store_true", help="a broken SHOULD fails the run too")
    run.add_argument("--bundles", action="store_true", help="a bundle for cases that pass, too")
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", help="show all cases")
    listing.add_argument("--json", action="store_true", help="for scripts")
    listing.add_argument("--case", "-c", action="append", default=[], metavar="GLOB")
    listing.add_argument(
        "--lock", action="store_true", help="write cases.lock: ids that will be kept for ever"
    )
    listing.set_defaults(command=_list)

    proof = commands.add_parser("mutants", help="prove that the cases can fail")
    proof.add_argument("names", nargs="*", help="only these mutants")
    proof.add_argument("--all", action="store_true", help="every mutant by every case")
    proof.add_argument("--case", "-c", action="append", default=[], metavar="GLOB")
    proof.add_argument("-n", type=int, default=0, metavar="N", dest="jobs", help="processes")
    proof.add_argument("--out", type=Path, default=Path("build/mutants.json"), metavar="FILE")
    proof.add_argument("--seed")
    proof.set_defaults(command=_mutants)

    pullers = commands.add_parser("pullers", help="judge every shipped puller that is usable here")
    several.add_arguments(pullers)
    pullers.set_defaults(command=_pullers)

    table = commands.add_parser("matrix", help="cases by pullers, from results files")
    table.add_argument("results", nargs="+", type=Path)
    table.set_defaults(command=_matrix)
    return parser


def _run(options: argparse.Namespace) -> int:
    profile = load(options.puller)
    patterns = list(options.case)
    if options.scenario and not patterns:
        patterns = [f"incident/{Path(name).stem}" for name in options.scenario]
    cases = plan.chosen(plan.all_cases(options.scenario), patterns, options.level)
    if not cases:
        return _say("no case is of that level", running.EXIT_NOTHING)
    seed = options.seed or new_seed()
    if not valid(seed):
        return _say(f"not a seed: {seed!r} (letters, digits, '.', '_', '-')", EXIT_USAGE)
    if not _inside_already():
        return isolation.run([sys.executable, "-m", "conformance", *_inside(options, seed)])
    out = options.out or Path("build/conformance") / profile.name
    chosen = plan.Plan(
        puller=options.puller,
        seed=seed,
        cases=[case.id for case in cases],
        out=str(out),
        scenarios=[str(Path(name).absolute()) for name in options.scenario],
        bundles=options.bundles,
    )
    print(f"{profile.name}: {len(cases)} cases, seed {seed}", flush=True)
    done = running.run(chosen, jobs=options.jobs, junit=options.junit, on_record=_progress())
    _report(done, chosen, single=len(cases) == 1, whole=not (patterns or options.level))
    return running.exit_status(done, strict=options.strict)


def _inside(options: argparse.Namespace, seed: str) -> list[str]:
    """The same command line for the process inside, with the seed said."""
    argv = ["run", "--puller", options.puller, "--seed", seed, "-n", str(options.jobs)]
    for name, values in (("--case", options.case), ("--scenario", options.scenario)):
        for value in values:
            argv += [name, value]
    for name, value in (
        ("--level", options.level),
        ("--out", options.out),
        ("--junit", options.junit),
    ):
        if value is not None:
            argv += [name, str(value)]
    argv += ["--strict"] if options.strict else []
    return [*argv, "--bundles"] if options.bundles else argv


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


def _report(done: running.Run, chosen: plan.Plan, *, single: bool, whole: bool) -> None:
    print()
    requirements = load_requirements()
    results = done.results
    for record in results.records:
        if noteworthy(record):
            print(block(record, requirements, chosen.puller, chosen.seed, done.ledger))
        elif single and record.pulls:
            print(detail(record))
            print(f"  again      {command_of(record.case, chosen.puller, chosen.seed)}")
    if single:
        shown = [record for record in results.records if noteworthy(record) and record.pulls]
        for record in shown:
            print(detail(record))
    for problem in done.problems if not results.complete else ():
        print(f"problem: {problem}", file=sys.stderr)
    print(summary(results, whole=whole))
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
    cases = plan.chosen(plan.all_cases(), options.case, None)
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
        argv = ["mutants", *options.names, "-n", str(options.jobs), "--out", str(options.out)]
        argv += ["--all"] if options.all else []
        argv += ["--seed", options.seed] if options.seed else []
        for pattern in options.case:
            argv += ["--case", pattern]
        return isolation.run([sys.executable, "-m", "conformance", *argv])
    return mutate.prove(
        names=options.names,
        patterns=options.case,
        everything=options.all,
        jobs=options.jobs,
        seed=options.seed or new_seed(),
        out=options.out,
    )


def _pullers(options: argparse.Namespace) -> int:
    return several.run_several(options, options.seed or new_seed())


def _matrix(options: argparse.Namespace) -> int:
    print(matrix([read(path) for path in options.results]))
    return 0


def _inside_already() -> bool:
    """Whether `isolation.run` has started this process."""
    return bool(isolation.current().run_dir)


def _say(text: str, status: int) -> int:
    print(f"pullproof: {text}", file=sys.stderr)
    return status
