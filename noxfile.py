"""The commands of the project: `nox -l` lists them, `nox -s NAME -- ARGUMENTS` runs one."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["conformance"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
SUITE = ("-e", ".[cri,encrypted,fast,tracing]")
ZIPAPP_PARTS = ("fakeregistry/", "pullproof-")
"""What of the wheel goes into the zipapp: the package with its scenarios, and the version."""
ZIPAPP_LACKS = ("httpx", "pytest", "pytest-xdist")
"""The requirements that the registry alone doesn't import: they stay out of its zipapp."""
OCI_SUITE = "github.com/opencontainers/distribution-spec/conformance"
CRI_TOOLS = "sigs.k8s.io/cri-tools"
CRI_TOOLS_VERSION = "v1.34.0"
OCI_SUITE_VERSION = "v0.0.0-20260831232431-97274622c111"


def group(name: str) -> list[str]:
    """The requirements of one dependency group of pyproject.toml."""
    return nox.project.dependency_groups(PYPROJECT, name)


@nox.session(tags=["main"])
def conformance(session: nox.Session) -> None:
    """Judge a puller (the reference, unless `-- --puller NAME|FILE`) by the whole suite."""
    session.install(*SUITE)
    session.run("pullproof", "run", *session.posargs)


@nox.session(tags=["ci"])
def tests(session: nox.Session) -> None:
    """Test the project itself: registry, reference and suite."""
    session.install(*SUITE, *group("test"))
    session.run("pytest", *(session.posargs or ["-n", "2"]))


@nox.session(tags=["ci"])
def lint(session: nox.Session) -> None:
    """Check style, formatting and the directions of import."""
    session.install(*SUITE, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session(tags=["ci"])
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install(*SUITE, *group("types"), *group("test"))
    session.run("mypy")


@nox.session(tags=["ci"], reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Build the wheel and use it in an empty environment, from an empty folder."""
    built = Path(session.create_tmp()) / "wheel"
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), ".")
    session.install(str(next(built.glob("pullproof-*.whl"))))
    with tempfile.TemporaryDirectory() as empty, session.chdir(empty):
        for command in ("pullproof", "fakeregistry", "refpull"):
            session.run(command, "--version")
        session.run(
            "python", "-c", "import importlib.util as u; assert not u.find_spec('fixtures')"
        )
        session.run("fakeregistry", "list", silent=True)
        session.run("pullproof", "run", "--case", "blob/*", "--case", "incident/*")


@nox.session(tags=["ci"])
def zipapp(session: nox.Session) -> None:
    """Build the registry as one file, dist/fakeregistry.pyz, and use it where nothing else is.

    It runs on the system, machine and version of Python that it was built by: cryptography and
    zstd bring compiled code along.
    """
    session.install(*group("zipapp"))
    target = Path("dist", "fakeregistry.pyz").resolve()
    needs: list[str] = PYPROJECT["project"]["dependencies"]
    with tempfile.TemporaryDirectory() as folder:
        session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".")
        with zipfile.ZipFile(next(Path(folder).glob("pullproof-*.whl"))) as wheel:
            inside = [name for name in wheel.namelist() if name.startswith(ZIPAPP_PARTS)]
            wheel.extractall(Path(folder, "code"), inside)
        session.run(
            "pex",
            *(line for line in needs if re.split(r"[^\w-]", line)[0] not in ZIPAPP_LACKS),
            *("--sources-directory", str(Path(folder, "code"))),
            *("--entry-point", "fakeregistry.serve.cli:main", "--output-file", str(target)),
            *("--venv", "--python-shebang", "/usr/bin/env python3"),
        )
    session.run("python", "tests/zipapp/use_zipapp.py", str(target))


@nox.session(tags=["ci"])
def mutants(session: nox.Session) -> None:
    """Prove that every case can fail: each against pullers broken in just that way."""
    session.install(*SUITE)
    session.run("pullproof", "mutants", *session.posargs)


@nox.session(tags=["ci"])
def pullers(session: nox.Session) -> None:
    """Judge the real pullers that are installed; `-- --install` gets them first."""
    session.install(*SUITE)
    arguments = [argument for argument in session.posargs if argument != "--install"]
    if "--install" in session.posargs:
        session.run("python", "-m", "conformance.install")
    session.run("pullproof", "pullers", *arguments)


@nox.session(tags=["ci"])
def registry(session: nox.Session) -> None:
    """Prove the registry honest: the OCI's suite, skopeo and crane; `-- --install` gets these."""
    session.install(*SUITE, *group("test"))
    arguments = [argument for argument in session.posargs if argument != "--install"]
    if "--install" in session.posargs:
        session.run("python", "-m", "conformance.install")
    folder = Path("build", "conformance-suite").resolve()
    session.run(
        "go",
        "install",
        f"{OCI_SUITE}@{OCI_SUITE_VERSION}",
        env={"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"},
        external=True,
    )
    session.run(
        "pytest",
        *(arguments or ["-n", "2"]),
        "tests/fakeregistry/test_oci_suite.py",
        "tests/fakeregistry/test_clients.py",
        "tests/fakeregistry/test_content_clients.py",
        env={"PULLPROOF_REQUIRE_CLIENTS": "1"},
    )


@nox.session(tags=["ci"])
def cri(session: nox.Session) -> None:
    """Hold `refpull serve` to the CRI's own validation suite, and to `crictl`."""
    session.install(*SUITE, *group("test"))
    folder = Path("build", "cri-suite").resolve()
    with tempfile.TemporaryDirectory() as module, session.chdir(module):
        # The suite is a test binary, which `go install` doesn't make.
        for command in (
            ("mod", "init", "suite"),
            ("get", f"{CRI_TOOLS}@{CRI_TOOLS_VERSION}"),
            ("build", "-o", str(folder / "crictl"), f"{CRI_TOOLS}/cmd/crictl"),
            ("test", "-c", "-o", str(folder / "critest"), f"{CRI_TOOLS}/cmd/critest"),
        ):
            session.run("go", *command, env={"GOFLAGS": "-mod=mod"}, external=True)
    session.run(
        "pytest",
        *(session.posargs or ["-n", "2"]),
        "tests/reference/test_cri_suite.py",
        env={"PULLPROOF_REQUIRE_CLIENTS": "1"},
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure how fast registry and reference are, beside real ones; `-- --list`."""
    session.install(*SUITE)
    session.run("python", "tests/bench", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw broken input at registry and reference; `-- N [PARSER ...]`: N of each (20,000)."""
    session.install(*SUITE, *group("test"), *group("fuzz"))
    number, *parsers = session.posargs or ["20000"]
    if not parsers:
        session.run("pytest", "tests/fakeregistry/test_fuzz.py", env={"PULLPROOF_FUZZ": number})
        parsers = [path.stem[5:] for path in sorted(Path("tests/fuzz").glob("fuzz_*.py"))]
    for parser in parsers:
        session.run("python", "tests/fuzz/guided.py", parser, number)
