"""Whether a case can be asked of a puller at all: role, evidence, capabilities, dates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from conformance.case import Case
from conformance.contract import Evidence
from conformance.requirements import ROLES, Requirement

__all__ = ["Subject", "not_applicable"]


@dataclass(frozen=True)
class Subject:
    """The puller under test, as the judge needs to know it.

    Attributes:
        name: the profile's name.
        version: what the puller reports.
        roles: what it does (`ROLES`).
        evidence: what it lets us see; ``log`` is always there.
        capabilities: features that it has.
        released: the day of this version's release; None where nobody knows.
        containerd_release: which containerd it is (``(1, 6, 20)``); empty where it is none.
        containerd: whether it is containerd itself: its behaviour is then no 'difference'.
        longest_s: its longest own time-out, with margin: how long any pull is waited for.
    """

    name: str
    version: str
    roles: frozenset[str] = frozenset(ROLES)
    evidence: frozenset[Evidence] = frozenset(Evidence)
    capabilities: frozenset[str] = frozenset()
    released: date | None = None
    containerd: bool = False
    containerd_release: tuple[int, ...] = ()
    longest_s: float = 30.0


def not_applicable(case: Case, requirement: Requirement, subject: Subject) -> str:
    """Why the case can't be asked of this puller, in one line; empty when it can."""
    if requirement.role not in subject.roles:
        return f"role {requirement.role}: not one of its roles"
    missing = sorted(case.needs - subject.evidence - {Evidence.LOG})
    if missing:
        return f"evidence {missing[0]}: not shown"
    lacking = sorted(case.capabilities - subject.capabilities)
    if lacking:
        return f"capability {lacking[0]}: absent"
    if subject.containerd_release and subject.containerd_release < requirement.release:
        # Its branches go on side by side: by the date alone 1.6.20 would have to do what 1.7 does.
        first = ".".join(map(str, requirement.release))
        return f"containerd does it since {first}"
    if subject.released is not None and requirement.since > subject.released:
        return (
            f"{requirement.authority.id} asks for it since {requirement.since}, "
            f"this puller is of {subject.released}"
        )
    return ""
