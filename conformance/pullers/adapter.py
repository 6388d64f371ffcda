"""A profile made usable: the puller that the judge sees, whatever its kind."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from conformance.contract import (
    Description,
    Evidence,
    HarnessError,
    NotUsable,
    Outcome,
    PullRequest,
    Running,
    Session,
    Status,
)
from conformance.evidence import Layout
from conformance.isolation import current
from conformance.profile import Profile
from conformance.pullers.command import CommandSession
from conformance.pullers.cri import CriSession, require_grpc
from conformance.pullers.process import environment
from conformance.pullers.python import PythonSession
from conformance.pullers.python_child import resolve
from conformance.pullers.template import Values, expand
from conformance.pullers.wrapper import WrapperSession

__all__ = ["AdaptedPuller"]

_PROBE_S = 20.0


class AdaptedPuller:
    """See `conformance.contract.Puller`."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._programs: Mapping[str, str] | None = None

    def describe(self) -> Description:
        """Check that it can run here, and ask for its version.

        Raises `NotUsable` with one line: what is missing, and how to get it.
        """
        profile = self.profile
        if profile.kind == "cri":
            require_grpc()
        # A callable can be given names without a hosts file, and starts nothing that outlives it.
        if profile.kind != "python" and not current().private:
            raise NotUsable(
                f"{profile.name}: pullers of kind {profile.kind!r} run in a private network only: "
                f"{current().reason}"
            )
        if profile.kind == "wrapper":
            return self._described()
        if profile.kind == "python":
            self._importable()
        return Description(
            name=profile.name,
            version=self._version(),
            roles=profile.roles,
            evidence=profile.evidence,
            features=profile.capabilities,
        )

    def session(self, directory: Path) -> Session:
        """A session below `directory`."""
        if self.profile.kind == "python":
            return PythonSession(self.profile, directory)
        programs = self._found()
        if self.profile.kind == "wrapper":
            return WrapperSession(self.profile, directory, programs)

        def make(folder: Path) -> Session:
            if self.profile.kind == "cri":
                return CriSession(self.profile, folder, programs)
            return CommandSession(self.profile, folder, programs)

        # A daemon is its own store: each store that a case uses gets one.
        return _PerStore(directory, make) if "daemon" in self.profile.tables else make(directory)

    def _found(self) -> Mapping[str, str]:
        if self._programs is None:
            self._programs = self.profile.programs()
        return self._programs

    def _importable(self) -> None:
        table = self.profile.table("python")
        try:
            for target in (table["entry"], *table.get("refusals", ())):
                resolve(target)
        except (ImportError, AttributeError) as error:
            raise NotUsable(f"{self.profile.name}: {error}") from None

    def _version(self) -> str:
        probe = self.profile.table("probe")
        if not probe:
            return ""
        values = Values(self._found())
        argv = [expand(argument, values) for argument in probe["argv"]]
        try:
            # With a home of its own: even `go version` leaves something in its caller's, and may
            # do so after its end; the run removes what this can't.
            with tempfile.TemporaryDirectory(
                dir=current().run_dir or None, ignore_cleanup_errors=True
            ) as home:
                answer = subprocess.run(
                    argv,
                    capture_output=True,
                    text=True,
                    timeout=_PROBE_S,
                    check=False,
                    errors="replace",
                    env=environment(Path(home), {}, self.profile.tables.get("pass_env", ())),
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotUsable(f"{self.profile.name}: {' '.join(argv)}: {error}") from None
        match = re.search(probe["pattern"], answer.stdout + answer.stderr)
        if match is None:
            raise NotUsable(f"{self.profile.name}: {' '.join(argv)} doesn't tell a version")
        version = match[1]
        accepted = probe.get("accept")
        if accepted is not None and re.search(accepted, version) is None:
            raise NotUsable(
                f"{self.profile.name}: {argv[0]} is version {version}, not {accepted}; "
                f"to get it: {self.profile.get}"
            )
        return version

    def _described(self) -> Description:
        """Ask the wrapper itself; what it claims must be in the profile as well."""
        with tempfile.TemporaryDirectory(dir=current().run_dir or None) as folder:
            session = WrapperSession(self.profile, Path(folder), self._found())
            try:
                answer = session.ask({"operation": "describe"}, {"described"})
                session.ask({"operation": "no-such-operation"}, {"unsupported"})
            except HarnessError as error:
                raise NotUsable(f"{self.profile.name}: {error}") from None
        claimed = frozenset(map(Evidence, answer["evidence"])) | {Evidence.LOG}
        return Description(
            name=answer["name"],
            version=answer["puller_version"],
            roles=self.profile.roles & frozenset(answer["roles"]),
            evidence=self.profile.evidence & claimed,
            features=self.profile.capabilities | frozenset(answer["features"]),
        )


class _PerStore:
    """A session that keeps one inner session for each store of its requests."""

    def __init__(self, directory: Path, make: Callable[[Path], Session]) -> None:
        self._directory = directory
        self._make = make
        self._sessions: dict[Path, Session] = {}

    def _of(self, request: PullRequest) -> Session:
        if request.store not in self._sessions:
            folder = self._directory / str(len(self._sessions))
            folder.mkdir()
            self._sessions[request.store] = self._make(folder)
        return self._sessions[request.store]

    def pull(self, request: PullRequest, budget_s: float) -> Outcome:
        return self._of(request).pull(request, budget_s)

    def start(self, request: PullRequest, budget_s: float) -> Running:
        return self._of(request).start(request, budget_s)

    def status(self, image: str, request: PullRequest) -> Status:
        return self._of(request).status(image, request)

    def remove(self, image: str, request: PullRequest) -> bool:
        return self._of(request).remove(image, request)

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        return self._of(request).layout(image, request)

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        return self._of(request).rootfs(image, request)

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
