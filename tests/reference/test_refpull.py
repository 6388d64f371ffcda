"""`refpull` as a user meets it: what it writes, what it says, and how it ends."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeregistry import (
    File,
    Image,
    Layer,
    Registries,
    Registry,
    Symlink,
    an_image,
    an_index,
    basic,
    blob,
)
from reference import __version__
from reference.cli import default_root, main
from reference.descriptors import Descriptor, digest_of
from reference.progress_bar import Bar, Board, Ticks, amount, as_json, as_lines
from reference.store import Store

AMD64, ARM64 = "linux/amd64", "linux/arm64"
MACHINE = ARM64 if os.uname().machine == "aarch64" else AMD64


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("cli") as registries:
        yield registries.registry()


@pytest.fixture
def image(registry: Registry) -> Image:
    layers = [
        Layer((File("etc/motd", "hello"), Symlink("motd", "etc/motd"))),
        Layer((File("etc/other", "x"),), compression="zstd"),
    ]
    return registry.add(an_image(layers, platform=MACHINE))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REFPULL_ROOT", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("refpull: ")
    return lines[0].removeprefix("refpull: ")


def blobs_of(layout: Path) -> dict[str, bytes]:
    return {
        f"{path.parent.name}:{path.name}": path.read_bytes() for path in layout.glob("blobs/*/*")
    }


def test_a_layout_is_written(
    image: Image, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["pull", "-q", image.reference, "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert dict(line.split(": ", 1) for line in captured.out.splitlines()) == {
        "image": f"   {image.reference}",
        "image id": image.config.digest,
        "digest": f"  {image.digest}",
        "layout": f"  {out}",
    }
    blobs = blobs_of(out)
    assert all(digest_of(data) == digest for digest, data in blobs.items())
    assert blobs.keys() == {
        image.digest,
        image.config.digest,
        *(layer.digest for layer in image.layers),
    }
    (entry,) = json.loads((out / "index.json").read_text())["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "v1"
    assert sorted(os.listdir(tmp_path)) == ["out", "store"]
    assert not any((root / "snapshots").iterdir())


def test_a_root_file_system_is_unpacked_beside_a_layout(image: Image, tmp_path: Path) -> None:
    out, rootfs = tmp_path / "out", tmp_path / "rootfs"
    rootfs.mkdir()
    assert main(["pull", "-q", image.reference, "-o", str(out), "--rootfs", str(rootfs)]) == 0
    assert (rootfs / "etc/motd").read_text() == "hello"
    assert (rootfs / "motd").readlink() == Path("etc/motd")
    assert (rootfs / "etc/other").read_text() == "x"
    assert len(blobs_of(out)) == 4


def test_without_folders_it_fills_the_store(image: Image, root: Path) -> None:
    assert main(["pull", "-q", image.reference]) == 0
    (snapshot,) = (root / "snapshots").iterdir()
    assert (snapshot / "etc/motd").read_text() == "hello"


def test_root_and_platform(registry: Registry, tmp_path: Path) -> None:
    amd, arm = an_image(platform=AMD64), an_image(platform=ARM64)
    image = registry.add(an_index(amd, arm))
    placed = {spec.config_descriptor.digest for spec in (image.spec.manifests)}
    found = set()
    for platform in (AMD64, ARM64):
        out = tmp_path / platform.replace("/", "-")
        other = str(tmp_path / "other")
        command = ["pull", "-q", image.reference, "-o", str(out), "--platform", platform]
        assert main([*command, "--root", other]) == 0
        (entry,) = json.loads((out / "index.json").read_text())["manifests"]
        manifest = json.loads(blobs_of(out)[entry["digest"]])
        found.add(manifest["config"]["digest"])
    assert found == placed
    assert not (tmp_path / "store").exists()


def test_plain_lines_go_to_stderr(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", image.reference]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("downloading 3 blobs, ")
    downloaded = [line for line in lines if line.startswith("downloaded sha256:")]
    assert len(downloaded) == 3
    assert [line for line in lines if line.startswith("unpacked")] == [
        "unpacked layer 1",
        "unpacked layer 2",
    ]


def test_images_and_rm(
    image: Image, registry: Registry, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["images"]) == 0
    assert capsys.readouterr().out == ""
    assert not root.exists()
    assert main(["pull", "-q", image.reference]) == 0
    capsys.readouterr()
    assert main(["images"]) == 0
    header, by_tag, by_digest = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "IMAGE", "ID", "DIGEST"]
    assert by_tag.split() == [image.reference, image.config.digest[:19], image.digest[:19]]
    assert by_digest.split()[0] == image.by_digest
    assert main(["rm", image.reference]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(
        f"removed {name}" for name in (image.reference, image.by_digest, image.config.digest)
    )
    assert main(["images"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["rm", image.reference]) == 1
    assert "no image" in one_error(capsys)


def test_rm_of_one_of_two_tags_leaves_the_other(
    image: Image, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    second = image.reference.removesuffix("v1") + "v2"
    registry.add(image.spec, name=image.repository, tag="v2")
    for name in (image.reference, second):
        assert main(["pull", "-q", name]) == 0
    capsys.readouterr()
    assert main(["rm", image.reference]) == 0
    assert capsys.readouterr().out == f"removed {image.reference}\n"
    assert main(["rm", image.config.digest.removeprefix("sha256:")]) == 0
    assert f"removed {second}" in capsys.readouterr().out


# What goes wrong


def test_a_refused_pull_is_one_line_and_leaves_no_folder(
    image: Image, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.on(blob(image.layers[0])).flip_byte(10)
    out, rootfs = str(tmp_path / "out"), str(tmp_path / "rootfs")
    assert main(["pull", "-q", image.reference, "-o", out, "--rootfs", rootfs]) == 1
    assert "digest" in one_error(capsys)
    assert sorted(os.listdir(tmp_path)) == ["store"]


@pytest.mark.parametrize("option", ["-o", "--rootfs"])
def test_a_folder_with_something_in_it_is_not_touched(
    image: Image,
    registry: Registry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    assert main(["pull", "-q", image.reference, option, str(out)]) == 2
    assert one_error(capsys) == f"{out} exists and is not empty: name another folder"
    assert os.listdir(out) == ["mine"]
    assert registry.requests() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "u"], "--user and --password-stdin need each other"),
        (["--password-stdin"], "--user and --password-stdin need each other"),
        (["--cert", "c"], "--cert and --key need each other"),
        (["--ca", "nowhere.pem"], "--ca: there is no file nowhere.pem"),
        (["--hosts-dir", "nowhere"], "--hosts-dir: there is no folder nowhere"),
        (["-o", "x", "--rootfs", "x/y"], "must be two folders"),
        (["--user", "", "--password-stdin"], "must be a name without a colon"),
        (["--user", "a:b", "--password-stdin"], "must be a name without a colon"),
        (["-o", "s", "--root", "s"], "must be another folder than the store"),
        (["--rootfs", "s", "--root", "s/t"], "must be another folder than the store"),
        (["-o", ".", "--root", "../other"], "is the current folder, which can't be replaced"),
        (["--platform", "a/b/c/d"], "must be os/architecture"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", "x", *arguments]) == 2
    assert words in one_error(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["push"], "invalid choice: 'push'"),
        (["pull"], "IMAGE"),
        (["pull", "x", "--progress-timeout", "soon"], "invalid duration 'soon'"),
        (["pull", "x", "--max-concurrent-downloads", "-1"], "not a number of 0 or more"),
        (["pull", "x", "--password", "secret"], "unrecognized arguments"),
    ],
)
def test_wrong_grammar_exits_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [("UPPER/Case", "lowercase", 2), ("127.0.0.1:1/x", "127.0.0.1:1", 1)],
)
def test_names_and_registries_that_are_none(
    name: str, words: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", "-q", name]) == code
    assert words in one_error(capsys)


def test_a_link_to_an_empty_folder_means_that_folder(image: Image, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    assert main(["pull", "-q", image.reference, "-o", "link"]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty" / "oci-layout").exists()


def test_a_folder_that_may_not_be_looked_into_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refused)
    assert main(["pull", "x", "--hosts-dir", "closed"]) == 1
    assert one_error(capsys) == "closed: Permission denied"


def test_without_a_home_the_store_has_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("REFPULL_ROOT")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert main(["images"]) == 2
    assert "name the store with --root" in one_error(capsys)


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        (">/dev/full", 1, "refpull: cannot write to stdout: No space left on device"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("--user u --password-stdin <&-", 2, "refpull: there is no password on stdin"),
    ],
)
def test_streams_that_are_full_or_closed(
    image: Image, tmp_path: Path, redirection: str, code: int, words: str
) -> None:
    command = f"{sys.executable} -m reference pull -q {image.reference} {redirection}"
    found = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
    assert (found.returncode, found.stderr.decode().strip()) == (code, words)


def test_a_current_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    command = (
        f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -P -m reference images --root x"
    )
    found = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
    assert found.returncode == 2
    assert found.stderr == b"refpull: the current folder is gone: change to one that is there\n"


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_a_pull_unless_nohup_said_no(
    ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    def nothing(*_: object) -> None:
        return None

    mine = signal.SIG_IGN if ignored else nothing
    before = signal.signal(signal.SIGHUP, mine)
    try:
        monkeypatch.setattr("reference.cli.run", hang_up)
        assert main(["images"]) == (0 if ignored else 130)
        assert signal.getsignal(signal.SIGHUP) is mine
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupt_during_an_import_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "reference.output":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "reference.output")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert main(["images"]) == 130
    assert one_error(capsys) == "interrupted"


def test_an_unexpected_error_is_one_line_too(
    image: Image, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("reference.commands.pull", broken)
    assert main(["pull", image.reference]) == 1
    assert one_error(capsys).startswith("internal error, ZeroDivisionError: oh no")


def test_an_unwritable_store_is_one_line(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["pull", "-q", image.reference, "--root", str(tmp_path / "file")]) == 1
    assert "cannot set up the store" in one_error(capsys)


# Secrets


def with_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_password_comes_by_stdin_and_is_never_shown(
    image: Image,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.auth = basic("someone")
    known = registry.auth.credentials
    for password, code in ((known.password, 0), ("wrong-" + known.password, 1)):
        with_stdin(monkeypatch, password.encode() + b"\r\n")
        command = ["pull", "-q", image.reference, "--user", known.username, "--password-stdin"]
        assert main(command) == code
        captured = capsys.readouterr()
        assert known.password not in captured.out + captured.err


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\n", b"x" * 100_000])
def test_what_is_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    with_stdin(monkeypatch, data)
    assert main(["pull", "x", "--user", "u", "--password-stdin"]) == 2
    assert "password" in one_error(capsys)


# The process


def refpull(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reference", *arguments]


def test_version_and_help_of_the_module() -> None:
    found = subprocess.run(refpull("--version"), capture_output=True, text=True, check=True)
    assert found.stdout == f"refpull {__version__}\n"
    found = subprocess.run(refpull("pull", "--help"), capture_output=True, text=True, check=True)
    assert "--rootfs" in found.stdout


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)], ids=["INT", "TERM"]
)
def test_an_interrupt_ends_at_once_and_leaves_nothing(
    image: Image, registry: Registry, tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    stalled = registry.on(blob(image.layers[0])).stall_after(10)
    out, rootfs = tmp_path / "out", tmp_path / "rootfs"
    process = subprocess.Popen(
        refpull("pull", image.reference, "-q", "-o", str(out), "--rootfs", str(rootfs)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert stalled.wait_fired(30)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        stalled.release()
    assert (process.returncode, stdout) == (expected, b"")
    assert stderr == b"refpull: interrupted\n"
    assert sorted(os.listdir(tmp_path)) == ["store"]


def test_a_reader_that_goes_away_is_no_traceback(image: Image) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        found = subprocess.run(
            refpull("pull", "-q", image.reference),
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert (found.returncode, found.stderr) == (1, b"")


def test_a_terminal_gets_a_bar_that_goes_again(image: Image, registry: Registry) -> None:
    slow = registry.on(blob(image.layers[0])).delay_headers(0.4)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        refpull("pull", image.reference), stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # Linux says EIO when the other side is closed
        assert process.wait(30) == 0
    finally:
        os.close(ours)
        process.kill()
        process.communicate()
    assert slow.fired
    assert b"/3 blobs" in shown
    assert shown.endswith(b"\r\x1b[K")


# The bar


def test_amounts() -> None:
    sizes = [0, 999, 1000, 1_234_567, 5_000_000_000, 10**13]
    assert [amount(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "5.0 GB",
        "10000.0 GB",
    ]


def test_the_bar_is_as_wide_as_the_terminal_it_is_on() -> None:
    """Not as the one that stdout is on, which may be a file."""
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 47, 0, 0))
        with open(follower, "w", closefd=False) as stream:
            assert Bar(Board(), stream).columns() == 47
    finally:
        os.close(leader)
        os.close(follower)
    assert Bar(Board(), io.StringIO()).columns() == 80


def test_the_bar_fits_its_line(tmp_path: Path) -> None:
    data = b"x" * 1000
    one, two = Descriptor.of("a/b", data), Descriptor.of("a/b", data * 3)
    lines: list[str] = []
    board = Board(as_lines(lines.append))
    bar = Bar(board, io.StringIO())
    assert bar.text(0.0, 80) == "resolving"
    store = Store(tmp_path / "s")
    board.expect([one, two], store.has)
    with store.ingest(two) as ingest:
        board.writing(ingest)
        assert "0 B/s" in bar.text(0.0, 100)
        ingest.write(data)
        assert board.state() == (1000, 4000, 0, 2, 0)
        text = bar.text(1.0, 100)
        ingest.discard()
    assert text.startswith("[#######       ")
    assert "1.0 kB of 4.0 kB  1.0 kB/s  0/2 blobs" in text
    board.stored(one)
    board.applied()
    assert bar.text(2.0, 100).endswith("1/2 blobs  1 unpacked")
    for columns in (5, 20, 49, 50, 60, 200):
        assert len(bar.text(3.0, columns)) < columns
    assert lines == [
        "downloading 2 blobs, 4.0 kB",
        f"downloaded {one.digest}, 1.0 kB",
        "unpacked layer 1",
    ]


def test_the_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_root() == tmp_path / "store"
    monkeypatch.delenv("REFPULL_ROOT")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_root() == Path("/data/refpull")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_root() == Path.home() / ".local/share/refpull"


def test_progress_as_json_is_one_event_a_line(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["pull", "--progress", "json", image.reference, "--rootfs", out]) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    steps = [event for event in events if event["event"] != "progress"]
    assert [event["event"] for event in steps].count("downloaded") == 3
    assert {"event": "unpacked", "layer": 2} in steps
    assert steps[0]["event"] == "downloading"
    assert steps[0]["bytes"] == sum(e["bytes"] for e in steps if e["event"] == "downloaded")


def test_a_tick_says_how_far_it_is() -> None:
    lines: list[str] = []
    board = Board(as_json(lines.append))
    board.expect([Descriptor("application/x", digest_of(b"x"), 10)], lambda digest: True)
    Ticks(board).tick()
    assert json.loads(lines[-1]) == {
        "event": "progress",
        "bytes": 10,
        "bytes_in_all": 10,
        "bytes_per_second": 0,
        "blobs": 1,
        "blobs_in_all": 1,
        "unpacked": 0,
    }


@pytest.mark.parametrize(("how", "lines"), [("lines", 6), ("none", 0)])
def test_progress_is_shown_as_asked(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, lines: int
) -> None:
    out = str(tmp_path / "out")
    assert main(["pull", "--progress", how, image.reference, "--rootfs", out]) == 0
    assert len(capsys.readouterr().err.splitlines()) == lines
