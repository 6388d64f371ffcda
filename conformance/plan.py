"""The plan of a run: chosen by the controller, read by every worker, the same for all.

It is written as JSON next to the results, so that workers started by xdist need no other way to
learn the seed, the puller and the selection.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from conformance import __version__, incident
from conformance.applicability import Subject
from conformance.case import Case, CaseError, did_you_mean, load_cases, select, validate
from conformance.contract import Description, Puller
from conformance.isolation import current
from conformance.judge import Judge
from conformance.profile import Profile, load
from conformance.pullers import make_puller
from conformance.requirements import load as load_requirements
from conformance.requirements import release

__all__ = ["Plan", "all_cases", "judge_for", "subject_of"]


@dataclass(frozen=True)
class Plan:
    """What is run. `cases` are ids, in order; `scenarios` files beside the shipped ones.

    ``whole``: nothing was left out by a selection. ``strict``: a broken SHOULD fails the run.
    """

    puller: str
    seed: str
    cases: list[str]
    out: str
    scenarios: list[str] = field(default_factory=list)
    bundles: bool = False
    whole: bool = False
    strict: bool = False

    def write(self, path: Path) -> None:
        """Leave the plan for the workers."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan that the controller left."""
        return cls(**json.loads(path.read_text("utf-8")))

    def again(self, case: str) -> str:
        """The command that judges one case again, on the same content."""
        words = ["pullproof", "run", "--puller", self.puller]
        for name in self.scenarios:
            if case == f"incident/{Path(name).stem}":
                words += ["--scenario", os.path.relpath(name)]
        return shlex.join([*words, "--case", case, "--seed", self.seed])

    def selected(self) -> list[Case]:
        """The cases of the plan, in its order."""
        known = all_cases(self.scenarios)
        return [known[key] for key in self.cases]


def all_cases(scenarios: list[str] | None = None) -> dict[str, Case]:
    """Every case by id: the shipped functions, the shipped scenario files, and further files."""
    cases = load_cases()
    for name, named in incident.named_cases().items():
        if named not in cases:
            hint = did_you_mean(named, cases)
            raise CaseError(f"scenario {name}: no case {named!r} is there to play it{hint}")
    cases.update(incident.load_cases(scenarios or []))
    validate(cases.values(), load_requirements())
    return cases


def subject_of(profile: Profile, described: Description) -> Subject:
    """The puller under test, from its profile and from what it says of itself."""
    return Subject(
        name=profile.name,
        # The reference has no program to ask: it is of the suite's own version.
        version=described.version or (__version__ if profile.name == "reference" else ""),
        roles=described.roles,
        evidence=described.evidence,
        capabilities=profile.capabilities | described.features,
        released=profile.released_on(described.version),
        containerd=profile.family == "containerd",
        containerd_release=release(described.version) if profile.family == "containerd" else (),
        longest_s=profile.longest_timeout_s,
    )


def judge_for(plan: Plan, worker: str) -> tuple[Judge, Puller]:
    """A judge with a usable puller; raises `NotUsable` where there is none."""
    profile = load(plan.puller)
    puller = make_puller(profile)
    subject = subject_of(profile, puller.describe())
    base = Path(current().run_dir or os.environ.get("TMPDIR", "/tmp"))
    directory = base / f"{worker}-{os.getpid()}"
    judge = Judge(
        subject=subject,
        requirements=load_requirements(),
        open_session=puller.session,
        seed=plan.seed,
        directory=directory,
    )
    return judge, puller


def chosen(cases: dict[str, Case], patterns: list[str], level: str | None) -> list[Case]:
    """The cases that match the patterns and, where one is given, are of that level."""
    requirements = load_requirements()
    found = select(cases, patterns)
    if level is None:
        return found
    return [case for case in found if case.requirement(requirements).level == level]


def header_of_machine() -> dict[str, Any]:
    """What a reader needs to know of the machine that judged."""
    system = os.uname()
    return {
        "system": system.sysname,
        "release": system.release,
        "machine": system.machine,
        "cores": os.cpu_count() or 0,
        "root": os.geteuid() == 0,
    }
