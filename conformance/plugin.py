"""The suite as a pytest plugin: cases are items, results are records.

One collector stands over the registry of cases; nothing of pytest's fixtures takes part. A worker
judges, and sends its record home in the report; the controller collects. Cases that wait more than
they work are one group: they are judged side by side in threads, so that waiting costs once.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conformance.bundle import write_bundle
from conformance.case import Case
from conformance.judge import Judge, Judged
from conformance.plan import Plan, judge_for
from conformance.pullers.process import end_children
from conformance.results import Record

__all__ = ["PLAN_VARIABLE", "CaseItem", "CasesFile", "Collected"]

PLAN_VARIABLE = "PULLPROOF_PLAN"
"""Environment: where the plan is. Workers inherit it."""

_STALLS_AT_ONCE = 8
_ATTRIBUTE = "pullproof_record"
_GROUP = "@stalls"
_RECORD = pytest.StashKey[str]()


def _properties(record: Record) -> list[tuple[str, object]]:
    """What a reader of JUnit gets beside the outcome."""
    properties: list[tuple[str, object]] = [
        ("id", record.case),
        ("requirement", record.requirement),
        ("level", record.level),
        ("authority", record.authority),
        ("verdict", record.verdict),
        ("kind", record.kind),
        ("standing", record.standing),
        *record.values.items(),
    ]
    return [(name, value) for name, value in properties if value]


def _node(case: str) -> str:
    """A case's id as pytest would name a test: JUnit makes class and name of it."""
    area, _, slug = case.partition("/")
    return f"pullproof/{area}::{slug}"


class Collected:
    """The controller's side: the records as they come in.

    Attributes:
        on_record: told of each as it comes; it may set the record's standing.
        gates: whether a record fails the run: then its report is a failure to pytest too.
        last: makes a record out of all others when the session ends (None: there is none).
    """

    def __init__(
        self,
        on_record: Callable[[Record], None] | None = None,
        gates: Callable[[Record], bool] | None = None,
        last: Callable[[list[Record]], Record | None] | None = None,
    ) -> None:
        self.records: dict[str, Record] = {}
        self.crashes: list[str] = []
        self.interrupted = False
        self.on_record = on_record
        self.gates = gates
        self.last = last

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell Ctrl-C from pytest's own giving up, which has a subclass of that error."""
        self.interrupted = type(excinfo.value) is KeyboardInterrupt
        if not self.interrupted:
            self.crashes.append(str(excinfo.value))
        # Workers, daemons and pullers would be waited for: a stalled one for as long as it stalls.
        end_children()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a worker's record out of its report, and let the report say what it comes to.

        First of all plugins: whoever writes reports (JUnit) then has the case's id, what is known
        of it, and a failure only where the run fails by it.
        """
        # What follows the '@' is xdist's; what stands before '::' is a class to readers of JUnit.
        case = report.nodeid.rpartition("::")[2].removesuffix(_GROUP)
        text = getattr(report, _ATTRIBUTE, None)
        if text is not None and report.when == "call":
            record = Record.from_json(json.loads(text))
            self._note(record)
            self._tell(report, record)
        elif report.failed:
            self.crashes.append(f"{case}: {report.longreprtext.strip()[-400:]}")
        if case in self.records:
            # JUnit takes them from the last report of a test.
            report.user_properties = _properties(self.records[case])
        report.nodeid = _node(case)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Report what only all records together say, while reports are still taken."""
        if hasattr(session.config, "workerinput") or self.last is None:
            return
        record = self.last(list(self.records.values()))
        if record is None:
            return
        self._note(record)
        for when in ("setup", "call", "teardown"):
            report = pytest.TestReport(
                nodeid=record.case,
                location=(record.case, None, record.case),
                keywords={},
                outcome="passed",
                longrepr=None,
                when=when,
            )
            if when == "call":
                self._tell(report, record)
            session.config.hook.pytest_runtest_logreport(report=report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what kept the cases from being collected."""
        if report.failed:
            self.crashes.append(report.longreprtext.strip()[-1000:])

    def _note(self, record: Record) -> None:
        self.records[record.case] = record
        if self.on_record is not None:
            self.on_record(record)

    def _tell(self, report: pytest.TestReport, record: Record) -> None:
        words = f"{record.verdict} {record.kind}".strip()
        detail = record.ledger.get("reason") or record.note or record.actual
        if self.gates is not None and self.gates(record):
            report.outcome = "failed"
            standing = f" ({record.standing})" if record.standing in ("news", "stale") else ""
            report.longrepr = f"{words}{standing}: {record.actual or record.note}"
        elif record.verdict not in ("pass", "recorded"):
            report.outcome = "skipped"
            report.longrepr = (record.case, 0, f"{record.standing}: {words}: {detail}")


class CasesFile(pytest.File):
    """The one collector: its children are the cases of the plan."""

    def collect(self) -> Iterator[CaseItem]:
        """One item per case; those that stall together, where they cost the least time."""
        worker = worker_of(self.config)
        # Under xdist they are one worker's first work, while others do the rest. Alone, they are
        # begun with the first case, and asked for their verdicts last.
        for case in sorted(worker.cases, key=lambda each: each.stalls is worker.alone):
            # What follows the '@' is the group that xdist keeps together.
            group = _GROUP if case.stalls else ""
            node = f"{self.nodeid}::{case.id}{group}"
            yield CaseItem.from_parent(self, name=case.id, nodeid=node, case=case)


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.case = case

    def runtest(self) -> None:
        """Judge, and leave the record for the report: its verdict is no matter of this process."""
        record = worker_of(self.config).record(self.case)
        self.stash[_RECORD] = json.dumps(record.to_json())

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where pytest's own reports say that this case is."""
        return self.path, None, self.case.id


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Send the record home in the report of its call; xdist carries a report's own attributes."""
    outcome: Any = yield
    if call.when == "call" and _RECORD in item.stash:
        setattr(outcome.get_result(), _ATTRIBUTE, item.stash[_RECORD])


class Worker:
    """What one process keeps: its judge, and the stalling cases that are under way."""

    def __init__(self, plan: Plan, name: str, *, alone: bool) -> None:
        self.plan = plan
        self.name = name
        self.alone = alone
        self.cases = plan.selected()
        self._judges: list[Judge] = []
        self._futures: dict[str, Future[Record]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._judge: Judge | None = None

    def record(self, case: Case) -> Record:
        """The verdict on one case."""
        if self.alone or case.stalls:
            self._begin_stalls()
        if case.stalls:
            return self._futures[case.id].result()
        if self._judge is None:
            self._judge = self._new_judge("j")
        return self._judged(self._judge, case)

    def _begin_stalls(self) -> None:
        stalling = [each for each in self.cases if each.stalls]
        if self._pool is not None or not stalling:
            return
        self._pool = ThreadPoolExecutor(min(_STALLS_AT_ONCE, len(stalling)), "stalls")
        for number, each in enumerate(stalling):
            # A judge of its own: plays of different cases must not share folders or memory.
            judge = self._new_judge(f"s{number}")
            self._futures[each.id] = self._pool.submit(self._judged, judge, each)

    def _new_judge(self, name: str) -> Judge:
        judge, _ = judge_for(self.plan, f"{self.name}{name}")
        self._judges.append(judge)
        return judge

    def _judged(self, judge: Judge, case: Case) -> Record:
        judged: Judged = judge.judge(case)
        record = judged.record
        if judged.lying is not None and (self.plan.bundles or wants_bundle(record)):
            record.bundle = write_bundle(judged, Path(self.plan.out), self.plan, case)
        return record

    def close(self) -> None:
        """End the pool, and remove what judges left."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for judge in self._judges:
            shutil.rmtree(judge.directory, ignore_errors=True)


def wants_bundle(record: Record) -> bool:
    """Whether a reader will want to replay this case."""
    return record.verdict in ("fail", "deviates", "differs", "inconclusive", "error")


_WORKER = pytest.StashKey[Worker]()


def worker_of(config: pytest.Config) -> Worker:
    """This process's worker, made when first asked for."""
    if _WORKER not in config.stash:
        plan = Plan.read(Path(os.environ[PLAN_VARIABLE]))
        name = os.environ.get("PYTEST_XDIST_WORKER", "m").replace("gw", "w")
        config.stash[_WORKER] = Worker(plan, name, alone=not hasattr(config, "workerinput"))
    return config.stash[_WORKER]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The package of cases, whatever else pytest would see in it, is one file of items."""
    if file_path.name == "__init__.py" and file_path.parent.name == "cases":
        return CasesFile.from_parent(parent, path=file_path)
    return None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    if _WORKER in config.stash:
        config.stash[_WORKER].close()
