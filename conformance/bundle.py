"""Bundles: one folder per case that did not pass, for a bug report that others can follow.

What is in it says all that happened, and holds no secret and no path of the machine that judged:
``case.json`` (the record), ``world.md`` (the world and its lies in words), ``argv.json`` (how the
puller was called), ``exchanges.har``, ``stderr.txt``, and the scenario file where there is one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.judge import Judged
    from conformance.plan import Plan

__all__ = ["command_of", "write_bundle"]


def write_bundle(judged: Judged, out: Path, plan: Plan, scenario: Path | None = None) -> str:
    """Write the bundle below `out`; returns its path relative to `out`."""
    record, lying = judged.record, judged.lying
    assert lying is not None
    folder = out / "bundles" / record.case.replace("/", "--")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    _json(folder / "case.json", record.to_json())
    _json(folder / "exchanges.har", lying.har)
    argv = [pull.get("argv", []) for pull in record.pulls]
    _json(folder / "argv.json", argv)
    stderr = [pull.get("stderr", "") for pull in record.pulls]
    (folder / "stderr.txt").write_text("\n--- next pull ---\n".join(stderr), "utf-8")
    lies = "\n".join(f"- {words}" for words in record.lies) or "- none"
    (folder / "world.md").write_text(
        f"# {record.case}\n\n{record.expected}\n\n"
        f"## The world\n\n```\n{lying.world.describe()}\n```\n\n"
        f"## What was false in it\n\n{lies}\n\n"
        f"## What happened\n\n```\n{record.actual}\n```\n\n"
        f"## Again\n\n```\n{command_of(record.case, plan.puller, plan.seed)}\n```\n",
        "utf-8",
    )
    if scenario is not None:
        shutil.copyfile(scenario, folder / "scenario.toml")
    return str(folder.relative_to(out))


def command_of(case: str, puller: str, seed: str) -> str:
    """The command that judges this case again, on the same content."""
    return f"pullproof run --puller {puller} --case {case} --seed {seed}"


def _json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
