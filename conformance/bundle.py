"""Bundles: one folder per case that did not pass, for a bug report that others can follow.

What is in it says all that happened, and holds no secret and no path of the machine that judged:

- ``README.md``: the case, its world and lies in words, what happened, and how to see it again;
- ``case.json``: the record; ``argv.json``: how the puller was called; ``stderr.txt``;
- ``exchanges.har``: every request and answer, for any HAR viewer;
- ``scenario.toml``, where the case is one: `fakeregistry serve` plays it without the suite;
- ``case.py`` where it is code: the source of the case, for reading. It can't be a scenario, because
  it says what a table can't (several pulls, a barrier, a lie in the content); the suite plays it.
"""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.case import Case

if TYPE_CHECKING:
    from conformance.judge import Judged
    from conformance.plan import Plan

__all__ = ["write_bundle"]

_NAMES = "`origin` and other names stand for the registries' hosts, `DIR` for a folder of the run."
_ALONE = """\
With the fake registry alone (`pip install pullproof`), which prints the origin's host:

```
fakeregistry serve scenario.toml
```

then the puller as in `argv.json`, with that host for `origin` and any folder for `DIR`.
"""
_CODE = """\
This case is code (`case.py`, for reading) and no scenario file, so it takes the suite, too
(`pip install pullproof`); it needs no network, no container engine and no root.
"""


def write_bundle(judged: Judged, out: Path, plan: Plan, case: Case) -> str:
    """Write the bundle below `out`; returns its path relative to `out`."""
    record, lying = judged.record, judged.lying
    assert lying is not None
    folder = out / "bundles" / record.case.replace("/", "--")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    _json(folder / "case.json", record.to_json())
    _json(folder / "exchanges.har", lying.har)
    _json(folder / "argv.json", [pull.get("argv", []) for pull in record.pulls])
    stderr = [pull.get("stderr", "") for pull in record.pulls]
    (folder / "stderr.txt").write_text("\n--- next pull ---\n".join(stderr), "utf-8")
    if case.scenario is not None:
        shutil.copyfile(case.scenario, folder / "scenario.toml")
    else:
        (folder / "case.py").write_text(_source(case), "utf-8")
    lies = "\n".join(f"- {words}" for words in record.lies) or "- nothing"
    sections = [
        f"# {record.case}",
        record.expected,
        f"{record.level} by {record.authority}: requirement {record.requirement}",
        "## The world",
        _NAMES,
        f"```\n{lying.world.describe()}\n```",
        "## What was false in it",
        lies,
        "## What happened",
        f"```\n{record.actual or record.note}\n```",
        "## Again",
        f"The same bytes, judged:\n\n```\n{plan.again(record.case)}\n```",
        _CODE if case.scenario is None else _ALONE,
    ]
    (folder / "README.md").write_text("\n\n".join(sections), "utf-8")
    return str(folder.relative_to(out))


def _source(case: Case) -> str:
    try:
        return inspect.getsource(case.function)
    except (OSError, TypeError):
        return f"# {case.function.__module__}: its source isn't here\n"


def _json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
