"""Pullers as the bench runs them: whole processes, and the daemons that they leave work to."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from images import Image
from processes import CRANE, DEADLINE, TICKS, NotHereError, Server, docker_registry

INSTALLED = CRANE.parent.parent
REFPULL = Path(sys.executable).with_name("refpull")
_LONGEST = 300.0


@dataclass(frozen=True)
class Spent:
    """What a run took: seconds of wall time, and of CPU."""

    seconds: float
    cpu: float

    def __add__(self, other: Spent) -> Spent:
        """One after the other."""
        return Spent(self.seconds + other.seconds, self.cpu + other.cpu)


def spend(command: list[str | Path], env: dict[str, str] | None = None) -> Spent:
    """Run a command to its end; RuntimeError when it fails or takes minutes."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=os.environ | (env or {}), stdout=subprocess.DEVNULL, stderr=said
        )
        watched = os.pidfd_open(process.pid)
        try:
            if not select.select([watched], [], [], _LONGEST)[0]:
                process.kill()
            _, status, used = os.wait4(process.pid, 0)
        finally:
            os.close(watched)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {text[-500:]}")
    return Spent(seconds, used.ru_utime + used.ru_stime)


_LAUNCH = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak(command: list[str]) -> float:
    """The most memory that a command had, in MiB.

    A new process is charged for the memory of the one that started it: so a small one does.
    """
    launched = [sys.executable, "-I", "-S", "-c", _LAUNCH, *command]
    done = subprocess.run(launched, capture_output=True, text=True, timeout=_LONGEST, check=True)
    return int(done.stdout.splitlines()[-1]) / 1024


def found(*programs: str) -> None:
    """Make sure that programs are installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise NotHereError(f"{program} isn't installed: apt install {program}")


# The registry that all of them pull from.


def stocked(folder: Path, *images: Image, tls: Path | None = None) -> Server:
    """docker-registry with images as bench/NAME:v1, their blobs in a folder on tmpfs."""
    v2 = folder / "docker-registry" / "docker" / "registry" / "v2"
    for image in images:
        links = v2 / "repositories" / "bench" / image.name / "_layers" / "sha256"
        for part in (image.document["config"], *image.document["layers"]):
            value = part["digest"].partition(":")[2]
            kept = v2 / "blobs" / "sha256" / value[:2] / value / "data"
            if not kept.exists():
                kept.parent.mkdir(parents=True)
                shutil.copyfile(image.blob(part["digest"]), kept)
            (links / value).mkdir(parents=True, exist_ok=True)
            (links / value / "link").write_text(part["digest"])
    server = docker_registry(folder, tls)
    for image in images:
        kind = image.document["mediaType"]
        path = f"/v2/bench/{image.name}/manifests/v1"
        status, _ = server.ask("PUT", path, image.manifest, Content_Type=kind)
        if status != 201:
            server.stop()
            raise RuntimeError(f"docker-registry answered {status} to the manifest")
    return server


def reference_to(server: Server, image: Image) -> str:
    """How pullers name the image."""
    return f"localhost:{server.port}/bench/{image.name}:v1"


# Pullers


@dataclass
class Puller:
    """One way to pull: `pull` into an empty folder, which is removed outside of the time."""

    name: str
    folder: Path

    def pull(self, ref: str) -> Spent:
        """Pull once, from nothing."""
        self.forget(ref)
        self.folder.mkdir(parents=True)
        return self.run(ref)

    def run(self, ref: str) -> Spent:
        """The commands themselves."""
        raise NotImplementedError

    def forget(self, ref: str) -> None:
        """Leave nothing of the pull before."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """End what was started."""
        self.forget("")


@dataclass
class Commands(Puller):
    """Commands without a daemon; {ref} and {dir} are filled in."""

    commands: list[list[str | Path]] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def run(self, ref: str) -> Spent:
        """One after the other."""
        total = Spent(0, 0)
        for command in self.filled(ref):
            total += spend([*command], self.env)
        return total

    def filled(self, ref: str) -> list[list[str]]:
        """The commands as they are run."""
        return [
            [str(part).format(ref=ref, dir=self.folder) for part in command]
            for command in self.commands
        ]


def refpull(folder: Path, *options: str | Path, name: str = "refpull") -> Commands:
    """The reference."""
    command: list[str | Path] = [REFPULL, "pull", "-q", "--root", "{dir}/store", *options, "{ref}"]
    return Commands(name, folder / name.replace(" ", "-"), [command])


def crane(folder: Path, ca: Path | None = None) -> Commands:
    """Crane, to an OCI layout."""
    if not CRANE.exists():
        raise NotHereError("crane isn't installed: nox -s pullers -- --install")
    env = {} if ca is None else {"SSL_CERT_FILE": str(ca)}
    return Commands(
        "crane", folder / "crane-out", [[CRANE, "pull", "--format=oci", "{ref}", "{dir}/out"]], env
    )


def skopeo(folder: Path, *, unpack: bool = False, ca: Path | None = None) -> Commands:
    """Skopeo, to an OCI layout; umoci unpacks it."""
    found("skopeo", *(["umoci"] if unpack else []))
    tls = ["--src-tls-verify=false"] if ca is None else ["--src-cert-dir", str(ca.parent / "certs")]
    copy: list[str | Path] = ["skopeo", "copy", "-q", *tls, "docker://{ref}", "oci:{dir}/out:v1"]
    commands = [copy]
    if unpack:
        commands.append(
            ["umoci", "--log=error", "unpack", "--image", "{dir}/out:v1", "{dir}/bundle"]
        )
    name = "skopeo+umoci" if unpack else "skopeo"
    return Commands(name, folder / f"{name}-out", commands)


_CONFIG = """
version = {version}
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{dir}/c.sock"
[ttrpc]
  address = "{dir}/c.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
"""
_NO_CRI = {
    2: ["io.containerd.grpc.v1.cri"],
    3: [
        "io.containerd.nri.v1.nri",
        "io.containerd.grpc.v1.cri",
        "io.containerd.cri.v1.images",
        "io.containerd.cri.v1.runtime",
    ],
}


class Containerd(Puller):
    """A containerd of its own, asked by ctr to pull and unpack with the overlayfs snapshotter.

    `traced` is a file: the daemon runs under strace, which writes its syncs there.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        modern: bool,
        igzip: Path | None = None,
        traced: Path | None = None,
    ) -> None:
        super().__init__(name, folder)
        binaries = INSTALLED / "containerd2" if modern else Path("/usr/bin")
        if not (binaries / "containerd").exists():
            how = "nox -s pullers -- --install" if modern else "apt install containerd"
            raise NotHereError(f"{name} isn't installed: {how}")
        folder.mkdir()
        version = 3 if modern else 2
        config = folder / "config.toml"
        config.write_text(
            _CONFIG.format(version=version, dir=folder, disabled=json.dumps(_NO_CRI[version])[1:-1])
        )
        # Both would be used where they happen to be installed: only the one that is meant shall be.
        env = os.environ | {"CONTAINERD_DISABLE_PIGZ": "1"}
        if igzip is None:
            env["CONTAINERD_DISABLE_IGZIP"] = "1"
        else:
            env["PATH"] = f"{igzip.parent}:{env['PATH']}"
            env["LD_LIBRARY_PATH"] = str(igzip.parent.parent / "lib" / "x86_64-linux-gnu")
        command: list[str | Path] = [binaries / "containerd", "-c", config]
        if traced is not None:
            command = [*strace(traced), *command]
        self._ctr: list[str | Path] = [binaries / "ctr", "-a", folder / "c.sock"]
        self._local = ["--local"] if modern else []
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            command, env=env, stdout=self._log, stderr=self._log, start_new_session=True
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + DEADLINE
        asked: list[str | Path] = [*self._ctr, "version"]
        while subprocess.run(asked, capture_output=True, timeout=DEADLINE, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} doesn't answer: {self.folder / 'log'}")
            time.sleep(0.1)

    def pull(self, ref: str) -> Spent:
        """Pull once, from nothing; the CPU is the daemon's too, and that of its children."""
        self.forget(ref)
        before = self._cpu()
        spent = self.run(ref)
        return Spent(spent.seconds, spent.cpu + self._cpu() - before)

    def run(self, ref: str) -> Spent:
        """Pull by ctr."""
        pull = ["images", "pull", *self._local, "--plain-http", "--snapshotter", "overlayfs", ref]
        return spend([*self._ctr, *pull])

    def forget(self, ref: str) -> None:
        """Have the daemon remove the image and collect what it was made of."""
        if ref:
            command: list[str | Path] = [*self._ctr, "images", "rm", "--sync", ref]
            subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / TICKS

    def stop(self) -> None:
        """End the daemon, and not the strace around it alone: that would let it go on."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        self._log.close()


def igzip() -> Path:
    """Where igzip is: installed, or unpacked with `dpkg -x` beside the other pullers."""
    unpacked = INSTALLED / "isal" / "usr" / "bin" / "igzip"
    installed = shutil.which("igzip")
    if not unpacked.exists() and installed is None:
        raise NotHereError("igzip isn't installed: apt install isal")
    return unpacked if unpacked.exists() else Path(installed or "")


def strace(output: Path) -> list[str | Path]:
    """Run what follows with each of its syncs written to a file, with the path that is synced."""
    found("strace")
    calls = "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range"
    return ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-o", output, "-e", calls]
