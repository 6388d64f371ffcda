"""The proof that cases can fail: deliberately broken pullers, each with an exact list of kills.

A mutant is a subclass of the reference that overrides one seam, in ``conformance/mutants/``. It
*dies* by a case when the verdict is ``fail`` or ``deviates``, or when a recorded value changes:
always with an honest neighbour that passed, because the judge asks for that first. Beside that,
each case is played in its honest world without asking whether the lie was met: its own assertion
must fail there, unless the right outcome is to succeed in spite of the lie.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from conformance.breaches import SECRETS_CASE, secrets_record
from conformance.case import AREAS, Case, CaseError, did_you_mean, select
from conformance.isolation import current
from conformance.judge import Judge
from conformance.plan import all_cases, subject_of
from conformance.profile import load
from conformance.pullers import make_puller
from conformance.requirements import load as load_requirements
from conformance.results import Record, write_json

__all__ = [
    "SECRETS_CASE",
    "Mutant",
    "Outcomes",
    "Proof",
    "check_cases",
    "compare",
    "killed",
    "load_mutants",
    "mutant",
    "prove",
]

_STALLS_AT_ONCE = 8
C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Mutant:
    """One wrong behaviour. ``kills``: ids of exactly those cases that see it.

    ``areas``: whose cases it is run by. ``trivial`` ones (always fail, always succeed, crash, hang)
    die by nearly everything, so that a case needs another killer beside them; their lists aren't
    exact.
    """

    name: str
    areas: tuple[str, ...]
    kills: frozenset[str]
    target: str
    summary: str
    trivial: bool = False


_MUTANTS: dict[str, Mutant] = {}


def mutant(
    name: str, *, area: str | Sequence[str], kills: Iterable[str], trivial: bool = False
) -> Callable[[C], C]:
    """Register a subclass of the reference's ``Puller`` as a mutant (fields: see `Mutant`)."""

    def register(made: C) -> C:
        areas = (area,) if isinstance(area, str) else tuple(area)
        unknown = [each for each in areas if each not in AREAS]
        if unknown:
            raise CaseError(
                f"mutant {name}: no area {unknown[0]!r}{did_you_mean(unknown[0], AREAS)}"
            )
        summary = " ".join((made.__doc__ or "").partition("\n\n")[0].split())
        if not summary:
            raise CaseError(f"mutant {name} has no docstring: say in one sentence what is wrong")
        target = f"{made.__module__}:{made.__qualname__}"
        if name in _MUTANTS and _MUTANTS[name].target != target:
            raise CaseError(f"mutant {name}: two classes have this name")
        _MUTANTS[name] = Mutant(name, areas, frozenset(kills), target, summary, trivial)
        return made

    return register


def load_mutants(names: Iterable[str] = ()) -> list[Mutant]:
    """The mutants of ``conformance/mutants``: all, or those named."""
    package = importlib.import_module("conformance.mutants")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
        importlib.import_module(f"conformance.mutants.{module.name}")
    wanted = list(names)
    for name in wanted:
        if name not in _MUTANTS:
            raise CaseError(f"no mutant {name!r}{did_you_mean(name, _MUTANTS)}")
    shipped = [made for made in _MUTANTS.values() if made.target.startswith(package.__name__)]
    return [made for made in shipped if not wanted or made.name in wanted]


@dataclass
class Proof:
    """What came of it. Each problem is a line; none means that all is proven."""

    cases: dict[str, list[str]] = field(default_factory=dict)
    mutants: dict[str, dict[str, Any]] = field(default_factory=dict)
    neighbours: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_json(self, seed: str) -> dict[str, Any]:
        """The form of ``build/mutants.json``."""
        return {
            "format": 1,
            "seed": seed,
            "cases": self.cases,
            "mutants": self.mutants,
            "neighbours": self.neighbours,
            "problems": self.problems,
        }


def prove(
    *,
    names: Sequence[str],
    patterns: Sequence[str],
    everything: bool,
    jobs: int,
    seed: str,
    out: Path,
) -> int:
    """Run mutants and neighbours, print what was found, write `out`; 1 where something is amiss."""
    mutants = load_mutants(names)
    cases = all_cases()
    chosen = {case.id: case for case in select(cases, patterns)}
    for each in mutants:
        for key in each.kills:
            if key not in cases and key != SECRETS_CASE:
                raise CaseError(f"mutant {each.name}: no case {key!r}{did_you_mean(key, cases)}")
    print(f"{len(mutants)} mutants, {len(chosen)} cases, seed {seed}", flush=True)
    tasks = [_Task("", list(chosen), seed, neighbours=not names)]
    tasks += [
        _Task(each.target, _of_interest(each, chosen, everything=everything), seed)
        for each in mutants
    ]
    outcomes = _run_all(tasks, jobs)
    baseline = next(outcomes)
    proof = Proof(neighbours=baseline.neighbours)
    _check_baseline(proof, baseline)
    for each, outcome in zip(mutants, outcomes, strict=True):
        compare(proof, each, outcome, baseline)
        entry = proof.mutants[each.name]
        print(f"  {each.name}: {entry['state']} by {len(entry['kills'])} cases", flush=True)
    if not names:
        check_cases(proof, chosen, mutants)
    write_json(proof.to_json(seed), out)
    for problem in proof.problems:
        print(f"NOT PROVEN  {problem}")
    killed = sum(bool(killers) for killers in proof.cases.values())
    print(f"{killed} of {len(chosen)} cases are killed; {len(proof.problems)} problems; {out}")
    return 1 if proof.problems else 0


@dataclass(frozen=True)
class _Task:
    """One puller by some cases; an empty target is the reference itself."""

    target: str
    cases: list[str]
    seed: str
    neighbours: bool = False


@dataclass
class Outcomes:
    """What one puller's cases came to, and what their neighbours say, both by id."""

    records: dict[str, Record]
    neighbours: dict[str, str] = field(default_factory=dict)


def _of_interest(each: Mutant, chosen: dict[str, Case], *, everything: bool) -> list[str]:
    return [
        case.id
        for case in chosen.values()
        if everything or case.area in each.areas or case.id in each.kills
    ]


def _run_all(tasks: list[_Task], jobs: int) -> Iterator[Outcomes]:
    if jobs < 2:
        yield from map(_run_task, tasks)
        return
    # A fresh interpreter per worker: a fork of this process would share its threads' locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(_run_task, tasks)


def _run_task(task: _Task) -> Outcomes:
    cases = all_cases()
    profile = load("reference")
    if task.target:
        profile = profile.mutated(task.target)
    puller = make_puller(profile)
    # Judged as containerd would be: a broken 'containerd' requirement then is a failure.
    subject = replace(subject_of(profile, puller.describe()), containerd=True)
    base = Path(current().run_dir or ".")
    number = 0

    def new_judge() -> Judge:
        nonlocal number
        number += 1
        folder = f"m{os.getpid()}-{time.monotonic_ns() % 10**8}-{number}"
        return Judge(subject, load_requirements(), puller.session, task.seed, base / folder)

    judge = new_judge()
    chosen = [cases[key] for key in task.cases]
    stalling = [case for case in chosen if case.stalls]
    records: dict[str, Record] = {}
    neighbours: dict[str, str] = {}
    with ThreadPoolExecutor(_STALLS_AT_ONCE) as pool:
        waiting = {case.id: pool.submit(_judged, new_judge(), case, task) for case in stalling}
        for case in chosen:
            if not case.stalls:
                records[case.id], neighbours[case.id] = _judged(judge, case, task)
        for key, future in waiting.items():
            records[key], neighbours[key] = future.result()
    secrets = secrets_record(records.values(), load_requirements())
    if secrets is not None:
        records[secrets.case] = secrets
    shutil.rmtree(judge.directory, ignore_errors=True)
    return Outcomes(records, {key: words for key, words in neighbours.items() if words})


def _judged(judge: Judge, case: Case, task: _Task) -> tuple[Record, str]:
    judged = judge.judge(case)
    if not task.neighbours or judged.lying is None or judged.record.verdict == "not-applicable":
        return judged.record, ""
    if not judged.record.lies:
        return judged.record, "no lie"
    if all(pulled.succeeded for pulled in judged.lying.pulls):
        return judged.record, "succeeds in spite of the lie"
    if case.either or judged.lying.observed is not None:
        return judged.record, "may be refused or succeed"
    if judged.lying.failed:
        return judged.record, "its assertion fails by the lie itself, and that is recorded"
    honest = judge.neighbour(case)
    trouble = honest.bug or honest.harness_error
    if trouble:
        return judged.record, f"error: {trouble}"
    return judged.record, "its assertion fails" if honest.failed else "ITS ASSERTION HOLDS"


def killed(record: Record, baseline: Record | None) -> bool:
    """Whether this verdict on a mutant says that it isn't the reference."""
    if record.verdict in ("fail", "deviates"):
        return baseline is None or baseline.verdict not in ("fail", "deviates")
    if record.verdict == "recorded" and baseline is not None:
        # What a contested requirement asks for is a pass where it is met, and recorded where not.
        return baseline.verdict in ("recorded", "pass") and baseline.values != record.values
    return False


def _check_baseline(proof: Proof, baseline: Outcomes) -> None:
    for key, record in baseline.records.items():
        if record.verdict in ("fail", "deviates", "inconclusive", "error"):
            detail = record.note or record.actual
            proof.problems.append(f"{key}: the reference itself: {record.verdict}: {detail}")
    for key, words in baseline.neighbours.items():
        if words.startswith(("ITS", "error")):
            proof.problems.append(f"{key}: in the honest world {words.lower()}")


def compare(proof: Proof, each: Mutant, outcome: Outcomes, baseline: Outcomes) -> None:
    """Take note of one mutant's kills, and of what differs from its list."""
    kills = sorted(
        key for key, record in outcome.records.items() if killed(record, baseline.records.get(key))
    )
    for key in kills:
        proof.cases.setdefault(key, []).append(each.name)
    proof.mutants[each.name] = {
        "summary": each.summary,
        "areas": list(each.areas),
        "kills": kills,
        "state": "killed" if kills else "SURVIVES",
        "trivial": each.trivial,
    }
    if not kills:
        proof.problems.append(f"mutant {each.name} survives: {each.summary}")
    if each.trivial:
        return
    listed = {key for key in each.kills if key in outcome.records}
    for key in sorted(set(kills) - listed):
        proof.problems.append(f"mutant {each.name}: killed by {key}, which its list lacks")
    for key in sorted(listed - set(kills)):
        record = outcome.records[key]
        proof.problems.append(
            f"mutant {each.name}: not killed by {key} ({record.verdict}: {record.note or '-'})"
        )


def check_cases(proof: Proof, chosen: Iterable[str], mutants: Iterable[Mutant]) -> None:
    """Each case needs a killer that isn't trivial; its killers are put in order."""
    trivial = {each.name for each in mutants if each.trivial}
    for key in chosen:
        killers = proof.cases.setdefault(key, [])
        if not set(killers) - trivial:
            proof.problems.append(f"{key}: no mutant is killed by it")
    proof.cases = {key: sorted(killers) for key, killers in sorted(proof.cases.items())}
