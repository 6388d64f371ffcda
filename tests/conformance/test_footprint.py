"""A run writes into its output folder and nowhere else: not home, not TMPDIR, not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name", ["reference", "skopeo", "crane", "containerd-1.6-cri", "containerd-2-ctr"]
)
@pytest.mark.parametrize("jobs", ["0", "2"])
def test_nothing_is_left_elsewhere(tmp_path: Path, name: str, jobs: str) -> None:
    home, temporary, here = (tmp_path / each for each in ("home", "tmp", "here"))
    for folder in (home, temporary, here):
        folder.mkdir()
    env = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PULLPROOF_PULLERS": os.environ.get("PULLPROOF_PULLERS", str(ROOT / "build/pullers")),
    }
    env = {key: value for key, value in env.items() if not key.startswith("XDG_")}

    done = subprocess.run(
        [
            *(sys.executable, "-m", "conformance", "run", "--puller", name, "-n", jobs),
            *("--case", "blob/c*", "--case", "incident/html*"),
        ],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    if done.returncode == 10:
        pytest.skip(done.stderr.strip())
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert list(temporary.iterdir()) == []
    assert list(home.iterdir()) == []
    outside = [name for name in files_below(here) if not name.startswith("build/conformance/")]
    assert outside == []
    assert f"build/conformance/{name}/results.json" in files_below(here)
    plain = [name for name in files_below(here / "build") if "/bundles/" not in name]
    assert plain == [f"conformance/{name}/results.json"]
