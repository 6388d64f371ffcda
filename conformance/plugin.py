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
from conformance.results import Record

__all__ = ["PLAN_VARIABLE", "CaseItem", "CasesFile", "Collected"]

PLAN_VARIABLE = "PULLPROOF_PLAN"
"""Environment: where the plan is. Workers inherit it."""

_STALLS_AT_ONCE = 8
_PROPERTY = "pullproof"


class Collected:
    """The controller's side: the records as they come in."""

    def __init__(self, on_record: Callable[[Record], None] | None = None) -> None:
        self.records: dict[str, Record] = {}
        self.crashes: list[str] = []
        self.interrupted = False
        self._on_record = on_record

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell Ctrl-C from pytest's own giving up, which has a subclass of that error."""
        self.interrupted = type(excinfo.value) is KeyboardInterrupt
        if not self.interrupted:
            self.crashes.append(str(excinfo.value))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a worker's record out of its report."""
        for name, value in report.user_properties:
            if name == _PROPERTY and report.when == "call":
                record = Record.from_json(json.loads(str(value)))
                self.records[record.case] = record
                if self._on_record is not None:
                    self._on_record(record)
                return
        if report.failed:
            self.crashes.append(f"{report.nodeid}: {report.longreprtext.strip()[-400:]}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what kept the cases from being collected."""
        if report.failed:
            self.crashes.append(report.longreprtext.strip()[-1000:])


class CasesFile(pytest.File):
    """The one collector: its children are the cases of the plan."""

    def collect(self) -> Iterator[CaseItem]:
        """One item per case; those that stall together, where they cost the least time."""
        worker = worker_of(self.config)
        # Under xdist they are one worker's first work, while others do the rest. Alone, they are
        # begun with the first case, and asked for their verdicts last.
        for case in sorted(worker.cases, key=lambda each: each.stalls is worker.alone):
            # What follows the '@' is the group that xdist keeps together.
            group = "@stalls" if case.stalls else ""
            node = f"{self.nodeid}::{case.id}{group}"
            yield CaseItem.from_parent(self, name=case.id, nodeid=node, case=case)


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.case = case

    def runtest(self) -> None:
        """Judge, and leave the record for the report."""
        record = worker_of(self.config).record(self.case)
        self.user_properties.append((_PROPERTY, json.dumps(record.to_json())))
        if record.verdict in ("fail", "deviates", "error"):
            raise Unexpected(f"{record.verdict} {record.kind}: {record.actual or record.note}")

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> str | Any:
        """A failed case is no traceback; anything else is a fault of ours, and is one."""
        if isinstance(excinfo.value, Unexpected):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where pytest's own reports say that this case is."""
        return self.path, None, self.case.id


class Unexpected(Exception):  # noqa: N818 - pytest's words: the item has failed
    """What JUnit and pytest's own reports show of a case that didn't pass."""


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
            record.bundle = write_bundle(judged, Path(self.plan.out), self.plan, case.scenario)
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
