"""The judge: from what happened in two worlds to one verdict.

The order of questions is the order of this page: can it be asked; was it played without a fault of
ours; was the lie met; does the honest neighbour succeed; and only then, is the puller right. No
question looks at an error's text.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.applicability import Subject, not_applicable
from conformance.case import Case
from conformance.contract import Evidence, HarnessError, Session
from conformance.neighbours import Memory, PlayInFull, Recall
from conformance.playing import Play, play
from conformance.requirements import Requirement, Requirements
from conformance.results import Record, Verdict
from conformance.seeds import NEIGHBOUR
from conformance.stories import actual, pull_story, timeline, traffic

__all__ = ["Judge", "Judged", "kind_of"]


INVARIANTS = {"wrong-content": "STORE-01", "escaped": "ESCAPE-01", "runaway": "RUNAWAY-01"}
"""What is watched in every case: kind -> the requirement that it is judged by."""


@dataclass
class Judged:
    """A record, and the play that it rests on (None where nothing was played)."""

    record: Record
    lying: Play | None = None
    honest: Play | None = None


@dataclass
class Judge:
    """Judges cases for one puller. One per process: it remembers honest neighbours.

    Attributes:
        subject: who is judged.
        requirements: by which sentences.
        open_session: makes a session of the puller in a folder.
        seed: of this run.
        directory: where plays happen; each is removed once it has been judged.
        full_neighbours: never answer a neighbour from memory (the proof that cases can fail).
        check_met: whether a lie has to be met; only the proof switches it off.
    """

    subject: Subject
    requirements: Requirements
    open_session: Callable[[Path], Session]
    seed: str
    directory: Path
    full_neighbours: bool = False
    check_met: bool = True
    memory: Memory = field(default_factory=Memory)
    _plays: int = 0

    def judge(self, case: Case) -> Judged:
        """Play a case, and its neighbour where it told a lie; and judge."""
        requirement = case.requirement(self.requirements)
        record = Record(
            case=case.id,
            verdict="error",
            requirement=requirement.id,
            level=requirement.level,
            authority=requirement.authority.id,
            expected=case.summary,
            tentative=case.tentative,
        )
        why = not_applicable(case, requirement, self.subject)
        if why:
            record.verdict, record.note = "not-applicable", why
            return Judged(record)
        try:
            lying = self._play(case, honest=False)
        except HarnessError as error:
            record.note = str(error)
            return Judged(record)
        judged = Judged(record, lying)
        self._describe(record, lying)
        if self._ours(record, lying):
            return judged
        required, baits = lying.unmet
        died = any(pulled.crashed for pulled in lying.pulls) or lying.runaway
        if required and self.check_met and not died:
            record.verdict = "inconclusive"
            record.note = f"the lie was never met: {'; '.join(required)}"
            return judged
        if lying.world.told:
            judged.honest = self._neighbour(case, record)
            if record.verdict == "inconclusive" or record.note:
                return judged
        self._decide(record, requirement, lying, case, avoided=bool(baits))
        return judged

    def neighbour(self, case: Case) -> Play:
        """The case in its honest world, in full: for the proof that its assertion can fail."""
        return self._play(case, honest=True)

    def _play(self, case: Case, *, honest: bool, recall: Recall | None = None) -> Play:
        self._plays += 1
        # Short names: a socket's path below it may have 107 bytes at the most.
        directory = self.directory / f"{'n' if honest else 'c'}{self._plays}"
        try:
            return play(
                case,
                self.subject,
                self.open_session,
                seed=self.seed,
                honest=honest,
                directory=directory,
                recall=recall,
            )
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _neighbour(self, case: Case, record: Record) -> Play | None:
        """Play the honest neighbour; leaves the record inconclusive where it doesn't succeed."""
        try:
            try:
                recall = None if self.full_neighbours else Recall(self.memory)
                honest = self._play(case, honest=True, recall=recall)
            except PlayInFull:
                honest = self._play(case, honest=True)
        except HarnessError as error:
            record.note = f"{NEIGHBOUR}: {error}"
            return None
        record.neighbour = {
            "pulls": [pull_story(pulled, honest.world) for pulled in honest.pulls],
            "recalled": honest.recalled,
            "seconds": round(honest.seconds, 3),
        }
        trouble = _neighbour_trouble(honest)
        if honest.harness_error or honest.bug:
            record.note = f"{NEIGHBOUR}: {honest.harness_error or honest.bug}"
        elif trouble:
            record.verdict = "inconclusive"
            record.note = f"the {NEIGHBOUR} fails too: {trouble}"
        return honest

    def _ours(self, record: Record, lying: Play) -> bool:
        """Whether the play says nothing about the puller: then the record is complete."""
        if lying.lacks:
            record.verdict, record.note = "not-applicable", lying.lacks
        elif lying.harness_error:
            record.verdict, record.note = "error", lying.harness_error
        elif lying.bug:
            record.verdict, record.note = "error", f"the case itself failed: {lying.bug}"
        elif lying.registry_error:
            record.verdict, record.note = "error", f"the registry failed: {lying.registry_error}"
        else:
            return False
        return True

    def _describe(self, record: Record, lying: Play) -> None:
        record.lies = [lying.world.neutral(words) for words in lying.world.told]
        record.breaches = lying.breaches
        record.pulls = [pull_story(pulled, lying.world) for pulled in lying.pulls]
        record.exchanges = timeline(lying)
        record.traffic = traffic(lying)
        record.seconds = round(lying.seconds, 3)
        record.actual = lying.world.neutral(actual(lying))

    def _decide(
        self,
        record: Record,
        requirement: Requirement,
        lying: Play,
        case: Case,
        *,
        avoided: bool,
    ) -> None:
        kind = kind_of(lying)
        if lying.observed is not None:
            record.values[lying.observed.name] = lying.observed.value
        if not kind:
            binding = requirement.level in ("MUST", "SHOULD")
            record.verdict = "pass" if binding and lying.observed is None else "recorded"
            if record.verdict == "recorded" and not record.values:
                record.values["behaviour"] = "as described"
            record.note = "avoided" if avoided else ""
            return
        record.kind = kind
        broken = self._invariant(case, lying, kind)
        if broken is not None:
            record.requirement, record.level = broken.id, broken.level
            record.authority = broken.authority.id
            record.verdict = self._verdict(broken, kind)
            record.note = broken.text
            return
        waited = [pulled for pulled in lying.pulls if pulled.hung]
        if kind == "hung" and not any(pulled.limited for pulled in waited):
            seconds = int(max(pulled.seconds for pulled in waited))
            record.verdict, record.kind = "recorded", ""
            record.values["waits"] = f"≥ {seconds} s"
            record.note = "no limit was configured, so waiting isn't held against it"
            return
        record.verdict = self._verdict(requirement, kind)
        if record.verdict == "recorded":
            record.values.setdefault("behaviour", kind)
            record.note = requirement.status

    def _invariant(self, case: Case, lying: Play, kind: str) -> Requirement | None:
        """What is watched in every case and was broken, where the case itself is content."""
        if not lying.held or kind not in INVARIANTS:
            return None
        if kind == "wrong-content" and Evidence.ROOTFS in case.needs and not lying.mislabelled:
            # A case about unpacking asks for the right tree by needing to see it.
            return None
        return self.requirements[INVARIANTS[kind]]

    def _verdict(self, requirement: Requirement, kind: str) -> Verdict:
        if kind in ("crashed", "escaped"):
            # Whatever was asked: nobody's input may bring a puller down, or lead it astray.
            return "fail"
        if not requirement.binding:
            return "recorded"
        if requirement.containerd_only and not self.subject.containerd:
            return "differs"
        return "fail" if requirement.level == "MUST" else "deviates"


def _neighbour_trouble(honest: Play) -> str:
    """Why the honest world doesn't count as a success; empty when it does."""
    if honest.lacks:
        return honest.lacks
    if not honest.pulls:
        return f"no pull was made{f' ({honest.ended_by})' if honest.ended_by else ''}"
    for pulled in honest.pulls:
        if not pulled.succeeded:
            error = honest.world.neutral(pulled.error)
            return f"{pulled.outcome.kind}{f': {error}' if error else ''}"
        if pulled.problems:
            return pulled.problems[0]
    return ""


def kind_of(lying: Play) -> str:
    """How the puller was wrong, from outcomes and evidence alone; empty when it was right."""
    pulls = lying.pulls
    if any(pulled.crashed for pulled in pulls):
        return "crashed"
    if lying.escaped:
        return "escaped"
    if lying.runaway:
        return "runaway"
    unexpected_hang = any(pulled.hung for pulled in pulls) and not lying.held
    if unexpected_hang:
        return "hung"
    if lying.wrong:
        return "wrong-content"
    if lying.held:
        return ""
    if any(not breach.policy for breach in lying.breaches) or any(each.told for each in pulls):
        return "leaked"
    if any(pulled.unclear for pulled in pulls):
        return "unclear-error"
    last: Any = pulls[-1] if pulls else None
    return "refused" if last is not None and last.refused else "accepted"
