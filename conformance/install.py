"""Get the real pullers: Debian's packages by apt, the others by ``go install`` at pinned versions.

``python -m conformance.install`` prints a line for each puller and ends with 1 when one couldn't
be had. What is there in the wanted version is left alone, so a second run takes no time.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from conformance.profile import pullers_dir

__all__ = ["APT", "GO", "GoTool", "main"]

APT = {"skopeo": ("skopeo",), "containerd 1.6": ("containerd",)}
"""Puller -> packages of Debian 12."""


@dataclass(frozen=True)
class GoTool:
    """Commands of one Go module, at one version, kept in ``build/pullers/<folder>``."""

    folder: str
    module: str
    version: str
    commands: tuple[str, ...]
    tags: str = ""
    flags: tuple[str, ...] = ()
    excludes: bool = False
    """Its go.mod has exclude directives: ``go install`` refuses such a module as main."""
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The programs that are made."""
        return [command.rpartition("/")[2] for command in self.commands]


_CONTAINERD_TAGS = "no_btrfs no_devmapper no_zfs"
_STATIC = {"CGO_ENABLED": "0"}

GO = (
    GoTool("crane", "github.com/google/go-containerregistry", "v0.22.1", ("cmd/crane",)),
    GoTool(
        "containerd2",
        "github.com/containerd/containerd/v2",
        "v2.4.2",
        ("cmd/containerd", "cmd/ctr"),
        tags=_CONTAINERD_TAGS,
        env=_STATIC,
    ),
    # The seed's own commit is refused by the Go proxy (403, 'module version is not available'):
    # the newest 1.7 has its progress timeout and its schema 1, and stands in for it.
    GoTool(
        "containerd17",
        "github.com/containerd/containerd",
        "v1.7.35",
        ("cmd/containerd", "cmd/ctr"),
        tags=_CONTAINERD_TAGS,
        # It reaches into the runtime by go:linkname, which newer linkers refuse unless told.
        flags=("-ldflags=-checklinkname=0",),
        excludes=True,
        env=_STATIC,
    ),
)


def _version_of(program: Path, module: str) -> str | None:
    """The version of `module` that a Go program was built from; None when it can't be told."""
    try:
        answer = subprocess.run(
            ["go", "version", "-m", str(program)], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    line = rf"^\s*(?:mod|dep)\s+{re.escape(module)}\s+(v\S+)"
    match = re.search(line, answer.stdout, re.MULTILINE)
    return match[1] if match else None


def install_go(tool: GoTool, where: Path) -> str:
    """Build what is missing of `tool` below `where`; the line that says what became of it.

    Raises RuntimeError with one line when it can't be built.
    """
    folder = where / tool.folder
    if all(_version_of(folder / name, tool.module) == tool.version for name in tool.names):
        return f"{tool.folder} {tool.version}: is there"
    if shutil.which("go") is None:
        raise RuntimeError("go is not installed; see https://go.dev/dl/")
    folder.mkdir(parents=True, exist_ok=True)
    # Beside its place and then renamed, so that an interrupted build leaves nothing half done.
    with tempfile.TemporaryDirectory(dir=where.absolute(), prefix=f".{tool.folder}-") as building:
        for command in _build(tool, Path(building).absolute()):
            built = subprocess.run(
                command,
                env={**os.environ, **tool.env, "GOBIN": building, "GOWORK": "off"},
                cwd=building,
                capture_output=True,
                text=True,
                check=False,
            )
            if built.returncode != 0:
                raise RuntimeError(_first_error(built.stderr))
        for name in tool.names:
            (Path(building) / name).replace(folder / name)
    return f"{tool.folder} {tool.version}: built"


def _build(tool: GoTool, building: Path) -> list[list[str]]:
    """The commands that make the programs of `tool` in the folder `building`."""
    options = [*(("-tags", tool.tags) if tool.tags else ()), *tool.flags]
    packages = [f"{tool.module}/{command}" for command in tool.commands]
    versioned = [f"{package}@{tool.version}" for package in packages]
    if not tool.excludes:
        return [["go", "install", *options, *versioned]]
    return [
        ["go", "mod", "init", "pullers"],
        ["go", "get", *versioned],
        ["go", "build", *options, "-o", f"{building}/", *packages],
    ]


def install_apt(name: str, packages: Sequence[str]) -> str:
    """Install what is missing of `packages`; raises RuntimeError with one line."""
    missing = [each for each in packages if not _is_installed(each)]
    if not missing:
        return f"{name}: is there"
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"no apt-get here; install {' '.join(missing)} by other means")
    if os.geteuid() != 0:
        raise RuntimeError(f"needs root: apt-get install {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # A machine that never asked for the lists doesn't know the packages.
        subprocess.run(["apt-get", "update"], env=env, capture_output=True, check=False)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(_first_error(done.stderr))
    return f"{name}: installed"


def _is_installed(package: str) -> bool:
    return shutil.which(package) is not None


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # 'go: downloading …' comes first and says nothing of the failure.
    wrong = [line for line in lines if not line.startswith("go: downloading")]
    return (wrong or lines or ["it failed without a word"])[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the real pullers; prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m conformance.install", description=main.__doc__)
    parser.add_argument("--into", type=Path, default=pullers_dir(), help="folder of built pullers")
    where: Path = parser.parse_args(arguments).into
    where.mkdir(parents=True, exist_ok=True)
    failures = 0
    jobs: list[tuple[str, Callable[[], str]]] = [
        (name, partial(install_apt, name, packages)) for name, packages in APT.items()
    ]
    jobs += [(tool.folder, partial(install_go, tool, where)) for tool in GO]
    for name, job in jobs:
        try:
            print(job(), flush=True)
        except RuntimeError as error:
            failures += 1
            print(f"{name}: not installed: {error}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
