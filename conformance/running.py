"""A run: from a plan to results and an exit status, by pytest in this process.

This is the inside of `pullproof run`: what is called here is isolated already.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

import conformance.cases
from conformance import __version__
from conformance.breaches import SECRETS_CASE, secrets_record
from conformance.capabilities import Claims, probe, refused_inputs
from conformance.case import Case
from conformance.contract import HarnessError, NotUsable
from conformance.handshake import shake_hands
from conformance.isolation import current
from conformance.judge import INVARIANTS
from conformance.ledger import Ledger
from conformance.plan import Plan, all_cases, header_of_machine, judge_for
from conformance.plugin import PLAN_VARIABLE, Collected
from conformance.profile import load as load_profile
from conformance.report import untested_of
from conformance.requirements import Requirements
from conformance.requirements import load as load_requirements
from conformance.results import Header, Record, Results, write

__all__ = [
    "EXIT_INCOMPLETE",
    "EXIT_NOT_USABLE",
    "Run",
    "exit_status",
    "gates",
    "ledger_path",
    "run",
]

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, EXIT_NOTHING = 0, 1, 2, 4, 5
EXIT_NOT_USABLE, EXIT_INCOMPLETE = 10, 11

REFERENCE = "reference"


@dataclass
class Run:
    """What came of a run. `problems` are ours, one line each; `unwritten` are lost reports."""

    results: Results
    ledger: Ledger
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)
    unwritten: bool = False


def run(
    plan: Plan,
    *,
    jobs: int = 0,
    junit: Path | None = None,
    on_record: Callable[[Record], None] | None = None,
) -> Run:
    """Judge every case of the plan. Raises `NotUsable` and `LedgerError` before anything is run.

    From the beginning a results file stands there that says that it isn't complete, so that
    nobody takes an older one, or none, for the result of a run that was killed.
    """
    requirements = load_requirements()
    cases = plan.selected()
    out = Path(plan.out)
    header = _header(plan, cases, requirements)
    shutil.rmtree(out / "bundles", ignore_errors=True)
    _write_incomplete(header, out, "the run has not ended")
    try:
        ledger = _prepare(plan, header)
        collected = _collector(plan, ledger, requirements, on_record)
        lost = _pytest(plan, out, collected, jobs, junit)
    except KeyboardInterrupt:
        _write_incomplete(header, out, "interrupted")
        raise
    except (NotUsable, HarnessError) as lack:
        _write_incomplete(header, out, f"not judged: {lack}")
        raise
    results = _results(header, cases, collected)
    if "claimed" in header.capabilities:
        header.capabilities = _claims(header, results).to_json()
    done = Run(results, ledger, collected.interrupted, [*collected.crashes, *lost], bool(lost))
    try:
        write(results, out / "results.json")
    except OSError as error:
        done.unwritten = True
        done.problems.append(f"the results can't be written to {out}: {error.strerror}")
    return done


def _prepare(plan: Plan, header: Header) -> Ledger:
    """Handshake and, for a whole run, probes; the puller's ledger."""
    judge, _ = judge_for(plan, "h")
    try:
        header.puller = {"name": judge.subject.name, "version": judge.subject.version}
        ledger = Ledger.read(
            ledger_path(plan.puller, judge.subject.name),
            judge.subject.version,
            [*all_cases(plan.scenarios), SECRETS_CASE],
        )
        shake_hands(judge)
        if plan.whole:
            header.capabilities = probe(judge).to_json()
    finally:
        shutil.rmtree(judge.directory, ignore_errors=True)
    return ledger


def _collector(
    plan: Plan,
    ledger: Ledger,
    requirements: Requirements,
    on_record: Callable[[Record], None] | None,
) -> Collected:
    """The controller's plugin: each record gets its standing as it comes."""
    puller = load_profile(plan.puller).name

    def note(record: Record) -> None:
        record.standing = ledger.standing(record.case, record.verdict, record.kind)
        entry = ledger.entry(record.case)
        if entry is not None and record.standing != "expected":
            record.ledger = {"reason": entry.reason, "link": entry.link}
            if entry.embargo is not None:
                record.ledger["embargo"] = entry.embargo.isoformat()
        if on_record is not None:
            on_record(record)

    def last(records: list[Record]) -> Record | None:
        return secrets_record(records, requirements)

    return Collected(note, lambda record: gates(record, puller, strict=plan.strict), last)


def _claims(header: Header, results: Results) -> Claims:
    claims = Claims(**header.capabilities)
    refused_inputs(claims, results.records)
    return claims


def _write_incomplete(header: Header, out: Path, reason: str) -> None:
    write(Results(header, [], complete=False, reason=reason), out / "results.json")


def exit_status(run: Run, *, strict: bool = False) -> int:
    """What `pullproof run` ends with (design, section 7)."""
    if run.interrupted:
        return EXIT_INTERRUPTED
    if not run.results.complete or run.unwritten:
        return EXIT_INCOMPLETE
    if not run.results.records:
        return EXIT_NOTHING
    puller = str(run.results.header.puller["name"])
    failed = any(gates(record, puller, strict=strict) for record in run.results.records)
    return EXIT_FAILED if failed else EXIT_OK


def gates(record: Record, puller: str, *, strict: bool) -> bool:
    """Whether the run fails by this record."""
    if record.tentative:
        return False
    if record.verdict == "error" or record.standing in ("news", "stale"):
        return True
    if record.standing != "new":
        return False
    if record.verdict == "inconclusive":
        return puller == REFERENCE
    return record.verdict == "fail" or (record.verdict == "deviates" and strict)


def ledger_path(puller: str, name: str) -> Path:
    """The ledger of a puller: beside the profile's file, or the shipped one of that name."""
    if puller.endswith(".toml"):
        return Path(puller).with_suffix(".ledger.toml")
    return Path(str(files("conformance"))) / "ledgers" / f"{name}.toml"


def _pytest(
    plan: Plan, out: Path, collected: Collected, jobs: int, junit: Path | None
) -> list[str]:
    """Run the items; what they come to is collected, pytest's own status says no more.

    Returns what could not be written, a line each.
    """
    out.mkdir(parents=True, exist_ok=True)
    plan_file = out / "plan.json"
    plan.write(plan_file)
    os.environ[PLAN_VARIABLE] = str(plan_file.absolute())
    folder = Path(conformance.cases.__path__[0])
    arguments = [
        *("-p", "conformance.plugin", "-p", "no:terminal", "-p", "no:cacheprovider"),
        *("-c", os.devnull, "--rootdir", str(folder.parent), "--import-mode", "importlib"),
        *("-o", "addopts=", "-o", "junit_family=xunit2", "-o", "junit_logging=no"),
        # Workers are given temporary folders, wanted or not.
        *("--basetemp", str(Path(current().run_dir or out) / "pytest")),
        *("-o", f"junit_suite_name=pullproof {load_profile(plan.puller).name}"),
    ]
    if jobs > 1:
        arguments += ["-n", str(jobs), "--dist", "loadgroup", "--max-worker-restart", "0"]
    else:
        arguments += ["-p", "no:xdist"]
    if junit is not None:
        arguments += ["--junitxml", str(junit.absolute())]
    arguments.append(str(folder / "__init__.py"))
    sys.stdout.flush()
    try:
        pytest.main(arguments, plugins=[collected])
    except OSError as error:
        return [f"{error.filename or 'a report'} can't be written: {error.strerror or error}"]
    finally:
        plan_file.unlink(missing_ok=True)
    return []


def _results(header: Header, cases: Iterable[Case], collected: Collected) -> Results:
    wanted = [case.id for case in cases]
    missing = [key for key in wanted if key not in collected.records]
    # In the order of the plan, whoever came first; what isn't in it was made of all the others.
    order = {key: number for number, key in enumerate(wanted)}
    records = sorted(
        collected.records.values(), key=lambda record: order.get(record.case, len(wanted))
    )
    if collected.interrupted:
        return Results(header, records, complete=False, reason="interrupted")
    if missing:
        crash = f": {collected.crashes[0]}" if collected.crashes else ""
        reason = f"{len(missing)} cases have no record, {missing[0]} first{crash}"
        return Results(header, records, complete=False, reason=reason)
    return Results(header, records)


def _header(plan: Plan, cases: list[Case], requirements: Requirements) -> Header:
    isolation = current()
    used = [requirements[key] for case in cases for key in (*case.covers, *INVARIANTS.values())]
    covered = [key for case in all_cases().values() for key in case.covers]
    watched = ["SECRET-01", "SCENARIO-01", *INVARIANTS.values()]
    return Header(
        suite=__version__,
        seed=plan.seed,
        puller={"name": load_profile(plan.puller).name, "version": ""},
        machine=header_of_machine(),
        isolation=isolation.kind + (f" ({isolation.reason})" if isolation.reason else ""),
        selection=plan.cases,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        requirements={
            requirement.id: {
                "text": requirement.text,
                "level": requirement.level,
                "role": requirement.role,
                "authority": requirement.authority.id,
                "section": requirement.section,
                "source": requirement.source,
                "status": requirement.status,
            }
            for requirement in used
        },
        untested=untested_of(requirements, [*covered, *watched]),
    )
