"""The ``cri`` kind: a gRPC endpoint that serves ``runtime.v1`` ImageService.

Needs the extra ``pullproof[cri]``; without it the profile is not usable, and says so.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.contract import HarnessError, NotUsable, Outcome, PullRequest, Running, Status
from conformance.evidence import Layout
from conformance.isolation import unmount_below
from conformance.profile import Profile
from conformance.pullers.base import BaseSession
from conformance.pullers.daemon import Daemon
from conformance.pullers.hostfiles import host_of
from conformance.pullers.process import Child, environment, read_bounded
from conformance.pullers.template import Values, expand, expand_argv
from conformance.pullers.values import key_of, request_values, session_values, write_files

__all__ = ["CriSession", "own_platform", "require_grpc"]

_QUESTION_S = 20.0
_PROBE_S = 1.0
_DYING_S = 2.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def own_platform() -> str:
    """This machine's platform in an image's words: ``linux/amd64``."""
    machine = os.uname().machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def require_grpc() -> None:
    """Raise `NotUsable` where grpcio or protobuf is missing."""
    try:
        import google.protobuf
        import grpc  # noqa: F401
    except ImportError as error:
        raise NotUsable(f"{error.name} is not installed; pip install 'pullproof[cri]'") from None
    del google


class RunningRpc:
    """A PullImage on its way."""

    def __init__(self, call: Any, budget_s: float, daemon: Daemon | None) -> None:
        self._call = call
        self._budget_s = budget_s
        self._daemon = daemon
        self._started = time.monotonic()
        self._ended_by: str | None = None

    def wait(self) -> Outcome:
        """The outcome: the answer, the status of the RPC, or the death of the daemon."""
        import grpc

        try:
            answer = self._call.result(timeout=self._budget_s)
        except grpc.FutureTimeoutError:
            # Not by the RPC's own deadline: a server may answer that with any code it likes.
            self._call.cancel()
            return Outcome(
                "hung",
                f"still running after {self._budget_s:g} s",
                stderr=self._daemon.stderr() if self._daemon else "",
                seconds=time.monotonic() - self._started,
            )
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            seconds = time.monotonic() - self._started
            return self._of_error(error, seconds)
        return Outcome(
            "pulled",
            image_id=answer.image_ref or None,
            stderr=self._daemon.stderr() if self._daemon else "",
            seconds=time.monotonic() - self._started,
        )

    def _of_error(self, error: Any, seconds: float) -> Outcome:
        code = error.code().name if hasattr(error, "code") else "CANCELLED"
        words = " ".join((error.details() or "").split()) if hasattr(error, "details") else ""
        stderr = self._daemon.stderr() if self._daemon else ""
        if self._ended_by is not None:
            return Outcome(
                "failed", self._ended_by, code=self._ended_by, stderr=stderr, seconds=seconds
            )
        if self._daemon is not None and code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL"):
            # A dying daemon's connection is gone before its process is.
            crash = self._daemon.crash(_DYING_S if code == "UNAVAILABLE" else 0)
            if crash is not None:
                return Outcome("crashed", crash, code=code, stderr=stderr, seconds=seconds)
        return Outcome("failed", words or code, code=code, stderr=stderr, seconds=seconds)

    def cancel(self) -> None:
        """Cancel the RPC, as a kubelet does that loses interest."""
        self._ended_by = "cancelled"
        self._call.cancel()

    def kill(self) -> None:
        """SIGKILL to the daemon."""
        self._ended_by = "killed"
        if self._daemon is None:
            self._call.cancel()
        else:
            self._daemon.kill()


class CriSession(BaseSession):
    """One session with an endpoint; with ``[daemon]`` in the profile it has its own."""

    def __init__(self, profile: Profile, directory: Path, programs: Mapping[str, str]) -> None:
        super().__init__(profile, directory)
        require_grpc()
        self._values: Values = session_values(profile, directory, programs)
        self._daemon: Daemon | None = None
        if "daemon" in profile.tables:
            self._daemon = Daemon(profile, directory, self._values, _answers)
            self._values = self._daemon.values
        write_files(profile, self._values)
        self._socket = expand(profile.table("cri")["socket"], self._values)
        self._channel: Any = None
        self._channel_of: Child | None = None
        self._mounted: list[Path] = []

    def lacking(self, request: PullRequest) -> str | None:
        """As for everybody; but the machine's own platform the CRI pulls without being told."""
        if request.platform == own_platform():
            request = replace(request, platform=None)
        return super().lacking(request)

    def begin(self, request: PullRequest, budget_s: float) -> Running:
        """Send PullImage."""
        if self._daemon is not None:
            self._daemon.ensure(request)
        message = _pull_request(request)
        call = self._method("PullImage").future(message, timeout=request.limits.timeout_s)
        return RunningRpc(call, budget_s, self._daemon)

    def status(self, image: str, request: PullRequest) -> Status:
        """ImageStatus; an answer without an image, or with an empty id, means 'absent'."""
        answer = self._ask("ImageStatus", image, request).image
        if not answer.id:
            return Status(False)
        status = Status(
            True,
            image_id=answer.id,
            repo_tags=tuple(answer.repo_tags),
            repo_digests=tuple(answer.repo_digests),
        )
        return Status(**{**vars(status), "digest": _digest_of(image, status.repo_digests)})

    def remove(self, image: str, request: PullRequest) -> bool:
        """RemoveImage. In containerd this removes every reference to that image id."""
        self._ask("RemoveImage", image, request)
        return True

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """The content store behind the endpoint, where the profile says where it is."""
        table = self.profile.table("layout")
        status = self.status(image, request)
        if not table or not status.present:
            return None
        digest = self._target(image, request) or status.digest
        if digest is None:
            raise HarnessError(f"{image} is present, and which digest it resolves to isn't told")
        return Layout.of_store(Path(expand(table["path"], self._values)), digest)

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """Mount by the profile's command; it stays until the session closes."""
        table = self.profile.table("rootfs")
        if not table or not self.status(image, request).present:
            return None
        point = self.directory / "mnt" / key_of(f"{image} {len(self._mounted)}")
        point.mkdir(parents=True)
        self._command(table["mount"], image, request, mount=str(point))
        self._mounted.append(point)
        return point

    def close(self) -> None:
        """Close the channel, unmount, stop the daemon."""
        self._close_channel()
        self._mounted.clear()
        unmount_below(self.directory / "mnt")
        if self._daemon is not None:
            self._daemon.stop()

    def _target(self, image: str, request: PullRequest) -> str | None:
        """What the reference's record points to, by the profile's ``[status]`` command.

        The CRI only tells digests of the image id, which several references may share.
        """
        table = self.profile.table("status")
        if not table:
            return None
        match = re.search(table["digest"], self._command(table["argv"], image, request))
        return match[1] if match else None

    def _command(self, argv: list[str], image: str, request: PullRequest, **more: str) -> str:
        values = request_values(self._values, self.profile, self.directory, request)
        values = values.with_(image=image, **more)
        child = Child(
            expand_argv(argv, values, {}),
            env=environment(self.directory, {}),
            folder=self.directory,
            name=self.next_name(),
        )
        if child.wait(_QUESTION_S) != 0:
            child.kill()
            raise HarnessError(f"{' '.join(child.argv)}: {read_bounded(child.stderr).strip()}")
        return read_bounded(child.stdout)

    def _ask(self, name: str, image: str, request: PullRequest) -> Any:
        import grpc

        from conformance.pullers.cri_messages import message

        if self._daemon is not None:
            self._daemon.any(request)
        question = message(f"{name}Request")(image={"image": image})
        try:
            return self._method(name)(question, timeout=_QUESTION_S)
        except grpc.RpcError as error:
            words = f"{error.code().name}: {error.details()}"
            raise HarnessError(f"{name} of {image} failed: {words}") from None

    def _method(self, name: str) -> Any:
        """The RPC on a channel to the present daemon; made here, so in the worker's process."""
        import grpc

        from conformance.pullers.cri_messages import method

        child = self._daemon.child if self._daemon else None
        if self._channel is None or child is not self._channel_of:
            self._close_channel()
            self._channel = grpc.insecure_channel(f"unix:{self._socket}")
            self._channel_of = child
        return method(self._channel, name)

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _pull_request(request: PullRequest) -> Any:
    from conformance.pullers.cri_messages import message

    document: dict[str, Any] = {
        "image": {"image": request.image, "annotations": dict(request.annotations)}
    }
    if request.runtime_handler is not None:
        document["image"]["runtime_handler"] = request.runtime_handler
    if request.auth is not None:
        document["auth"] = request.auth.to_json()
    if request.annotations:
        document["sandbox_config"] = {
            "metadata": {"name": "pull", "uid": "pull", "namespace": "default"},
            "annotations": dict(request.annotations),
        }
    return message("PullImageRequest")(**document)


def _answers(path: str) -> None:
    """Whether the endpoint serves the CRI: 1.x accepts connections before that service is up."""
    import grpc

    from conformance.pullers.cri_messages import message, method

    if not Path(path).exists():
        raise OSError(f"{path} isn't there")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        question = message("ImageStatusRequest")(image={"image": "localhost/ready:no"})
        try:
            method(channel, "ImageStatus")(question, timeout=_PROBE_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise HarnessError("it doesn't serve the CRI's ImageService") from None
            raise OSError(f"{error.code().name}: {error.details()}") from None


def _digest_of(image: str, repo_digests: tuple[str, ...]) -> str | None:
    """The digest of this reference's repository, when the answer leaves no doubt."""
    name, at, digest = image.partition("@")
    if at:
        return digest
    host = host_of(image)
    rest = name[len(host) + 1 :] if name.startswith(host + "/") else name
    repository = rest.rpartition(":")[0] or rest
    pairs = [each.partition("@") for each in repo_digests]
    digests = {value for known, _, value in pairs if repository in known}
    return digests.pop() if len(digests) == 1 else None
