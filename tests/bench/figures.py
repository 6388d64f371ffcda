"""Figures: what was measured in rounds, and how it compares: medians, ranges, ratios per round."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any, Literal

SPREAD = 0.30
"""A figure whose range is wider than this part of its median is flagged: the machine was busy."""


def said(value: float, unit: str) -> str:
    """A figure as a person reads it."""
    if unit == "x":
        return f"{value:.2f}x"
    digits = 0 if abs(value) >= 100 else 3 if abs(value) < 1 else 2
    return f"{value:,.{digits}f} {unit}"


@dataclass
class Series:
    """One figure of one contestant: a value per round."""

    contestant: str
    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    @property
    def noisy(self) -> bool:
        """Whether the rounds lie too far apart to trust the median by itself."""
        return (max(self.values) - min(self.values)) > SPREAD * abs(self.median)

    @property
    def words(self) -> str:
        """Median, least and greatest."""
        low, high = min(self.values), max(self.values)
        flag = "  ~" if self.noisy else ""
        unit = f" {self.unit}" if self.unit != "x" else "x"
        digits = 0 if self.median >= 100 else 3 if self.median < 1 else 2
        return f"{self.median:,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f}){unit}{flag}"


@dataclass(frozen=True)
class Aim:
    """What a figure of ours should be, by itself or as its ratio to that of another contestant.

    `loose` is what a run on a busy machine must reach: half of the margin.
    """

    figure: str
    op: Literal["<=", ">="]
    value: float
    peer: str | None = None
    ours: str = "fakeregistry"

    @property
    def loose(self) -> float:
        """The bound that a run must not miss."""
        if self.peer is None:
            return self.value * 2 if self.op == "<=" else self.value / 2
        if self.op == "<=":
            return self.value + abs(1 - self.value) / 2 if self.value < 1 else self.value * 2
        return 1 + (self.value - 1) / 2 if self.value > 1 else self.value / 2


@dataclass(frozen=True)
class Verdict:
    """How an aim came out."""

    aim: Aim
    reached: float
    unit: str
    low: float
    high: float

    @property
    def met(self) -> bool:
        """Whether the aim is reached."""
        return self._holds(self.aim.value)

    @property
    def bearable(self) -> bool:
        """Whether at least the loose bound is."""
        return self._holds(self.aim.loose)

    def _holds(self, bound: float) -> bool:
        if math.isnan(self.reached):
            return False
        return self.reached <= bound if self.aim.op == "<=" else self.reached >= bound

    @property
    def words(self) -> str:
        """The verdict in one line."""
        aim = self.aim
        against = f" of {aim.peer}'s" if aim.peer else ""
        unit = "x" if aim.peer else self.unit
        state = "reached" if self.met else "NOT REACHED" if self.bearable else "FAR FROM REACHED"
        spread = f"{said(self.low, unit)} to {said(self.high, unit)}"
        return (
            f"{aim.ours}: {aim.figure} {said(self.reached, unit)}{against} ({spread});"
            f" aim {aim.op} {said(aim.value, unit)}: {state}"
        )


class Table:
    """Everything that one measure found."""

    def __init__(self, measure: str) -> None:
        self.measure = measure
        self.series: dict[tuple[str, str], Series] = {}
        self.verdicts: list[Verdict] = []

    def add(self, contestant: str, name: str, unit: str, value: float) -> None:
        """Add the value of one round."""
        key = (contestant, name)
        self.series.setdefault(key, Series(contestant, name, unit)).values.append(value)

    def judge(self, aims: list[Aim]) -> None:
        """Compare with the aims; one about a contestant that isn't here is left out."""
        for aim in aims:
            ours = self.series.get((aim.ours, aim.figure))
            peer = self.series.get((aim.peer, aim.figure)) if aim.peer else None
            if ours is None or (aim.peer and peer is None):
                continue
            values = ours.values
            if peer is not None:
                values = [
                    mine / other if other else math.nan
                    for mine, other in zip(ours.values, peer.values, strict=True)
                ]
            self.verdicts.append(
                Verdict(aim, statistics.median(values), ours.unit, min(values), max(values))
            )

    def lines(self) -> list[str]:
        """The table for a terminal."""
        width = max((len(series.contestant) for series in self.series.values()), default=0)
        names = max((len(series.name) for series in self.series.values()), default=0)
        lines = [f"\n{self.measure}"]
        for series in sorted(self.series.values(), key=lambda one: one.name):
            lines.append(f"  {series.name:{names}}  {series.contestant:{width}}  {series.words}")
        return [*lines, *(f"  -> {verdict.words}" for verdict in self.verdicts)]

    def document(self) -> dict[str, Any]:
        """The table for bench.json."""
        return {
            "measure": self.measure,
            "series": [
                {
                    "contestant": one.contestant,
                    "figure": one.name,
                    "unit": one.unit,
                    "values": one.values,
                    "median": one.median,
                    "noisy": one.noisy,
                }
                for one in self.series.values()
            ],
            "aims": [
                {
                    "figure": one.aim.figure,
                    "of": one.aim.ours,
                    "ratio_to": one.aim.peer,
                    "aim": f"{one.aim.op} {one.aim.value}",
                    "loose": one.aim.loose,
                    "reached": one.reached,
                    "met": one.met,
                    "bearable": one.bearable,
                }
                for one in self.verdicts
            ],
        }
