"""Adapters over small pullers of our own: each way to end is told apart, and nothing is left."""

from __future__ import annotations

import json
import os
import select
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.contract import (
    AuthConfig,
    HarnessError,
    HostConfig,
    NotUsable,
    PullRequest,
    Session,
    Trust,
)
from conformance.profile import load
from conformance.pullers import make_puller
from conformance.pullers.process import crash_words, read_bounded

HEAD = """
version = 1
name = "mine"
roles = ["copy"]
evidence = ["layout", "status"]
"""


class Bench:
    """One puller of a test's own, its session and its requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sessions: list[Session] = []
        for name in ("store", "out", "session"):
            (folder / name).mkdir()

    def session(self, profile: str) -> Session:
        path = self.folder / "mine.toml"
        path.write_text(HEAD + textwrap.dedent(profile))
        session = make_puller(load(str(path))).session(self.folder / "session")
        self.sessions.append(session)
        return session

    def command(self, script: str, more: str = "", options: str = "") -> Session:
        """A command puller: a Python script that is given ``{options}`` and the image."""
        program = self.folder / "puller.py"
        program.write_text(textwrap.dedent(script))
        argv = f'[{sys.executable!r}, "{program}", "{{options}}", "{{image}}"]'
        return self.session(f'kind = "command"\n{more}\n[command]\npull = {argv}\n{options}')

    def wrapper(self, script: str) -> Session:
        program = self.folder / "wrapper.py"
        program.write_text("import json, sys\nq = json.load(sys.stdin)\n" + textwrap.dedent(script))
        argv = f'[{sys.executable!r}, "{program}"]'
        return self.session(f'kind = "wrapper"\n[wrapper]\nargv = {argv}')

    def python(self, code: str, more: str = "") -> Session:
        name = f"puller_{self.folder.name}"
        (self.folder / f"{name}.py").write_text(textwrap.dedent(code))
        return self.session(f'kind = "python"\n[python]\nentry = "{name}:pull"\n{more}')

    def request(self, image: str = "registry.test/a/b:c", **more: Any) -> PullRequest:
        return PullRequest(image, self.folder / "store", self.folder / "out", **more)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.syspath_prepend(str(tmp_path))
    bench = Bench(tmp_path)
    yield bench
    for session in bench.sessions:
        session.close()


def gone(pid: int) -> bool:
    """Whether a process that was sent SIGKILL ends: the kernel may still be at it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    ended = bool(poll.poll(10_000))
    os.close(descriptor)
    return ended


# --- command ------------------------------------------------------------------------------------


def test_command_pulled(bench: Bench) -> None:
    outcome = bench.command("print('done')").pull(bench.request(), 20)
    assert outcome.kind == "pulled"
    assert outcome.exit_status == 0
    assert outcome.argv[-1] == "registry.test/a/b:c"


def test_command_refusal(bench: Bench) -> None:
    script = "import sys; print('first', file=sys.stderr); sys.exit('digest is wrong')"
    outcome = bench.command(script).pull(bench.request(), 20)
    assert (outcome.kind, outcome.error, outcome.exit_status) == ("failed", "digest is wrong", 1)
    assert outcome.stderr.startswith("first\n")


def test_command_error_of_logrus() -> None:
    from conformance.pullers.base import last_line

    line = 'time="2026-01-01T00:00:00Z" level=fatal msg="a \\"b\\" c"\n'
    assert last_line(line) == 'a "b" c'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("raise KeyError('x')", "KeyError: 'x'"),
        (
            "import sys; print('panic: boom\\n\\ngoroutine 1 [x]:', file=sys.stderr); sys.exit(2)",
            "panic: boom",
        ),
    ],
)
def test_command_crash_is_no_refusal(bench: Bench, script: str, words: str) -> None:
    outcome = bench.command(script).pull(bench.request(), 20)
    assert (outcome.kind, outcome.error) == ("crashed", words)


def test_the_word_panic_is_no_crash() -> None:
    assert crash_words("panic: not really\n") is None
    assert crash_words("Error: fatal error: x\n") is None


def test_command_hang_is_ended_with_its_children(bench: Bench) -> None:
    script = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(bench.folder / "pid")!r}, "w").write(str(child.pid))
        time.sleep(600)
    """
    running = bench.command(script).start(bench.request(), 1.5)
    outcome = running.wait()
    assert outcome.kind == "hung"
    assert 1.4 < outcome.seconds < 10
    assert gone(int((bench.folder / "pid").read_text()))


def test_command_leaves_nothing_behind(bench: Bench) -> None:
    script = f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(bench.folder / "pid")!r}, "w").write(str(child.pid))
    """
    assert bench.command(script).pull(bench.request(), 20).kind == "pulled"
    assert gone(int((bench.folder / "pid").read_text()))


@pytest.mark.parametrize("word", ["cancel", "kill"])
def test_command_ended_by_us_has_not_crashed(bench: Bench, word: str) -> None:
    running = bench.command("import time; time.sleep(600)").start(bench.request(), 30)
    getattr(running, word)()
    outcome = running.wait()
    assert outcome.kind == "failed"
    assert outcome.code == {"cancel": "cancelled", "kill": "killed"}[word]


def test_each_of_two_pulls_into_folders_shows_its_own(bench: Bench) -> None:
    program = bench.folder / "copy.py"
    program.write_text(
        "import pathlib, sys\nto = pathlib.Path(sys.argv[1])\nto.mkdir()\n"
        "(to / 'manifest.json').write_text('{\"of\": \"%s\"}' % to)\n"
    )
    argv = f'[{sys.executable!r}, "{program}", "{{output}}/image"]'
    session = bench.session(
        f'kind = "command"\n[command]\npull = {argv}\n'
        '[layout]\nform = "dir"\npath = "{output}/image"\n'
    )
    requests = []
    for name in ("one", "other"):
        (bench.folder / name).mkdir()
        requests.append(PullRequest("a.test/b:c", bench.folder / "store", bench.folder / name))
        assert session.pull(requests[-1], 20).kind == "pulled"

    layouts = [session.layout("a.test/b:c", request) for request in requests]

    assert None not in layouts
    assert len({layout.manifest_digest for layout in layouts if layout}) == 2


def test_command_options_only_when_asked(bench: Bench) -> None:
    script = "import sys, os; sys.exit(' '.join(sys.argv[1:]) + ' ' + os.environ.get('CA', '-'))"
    options = """
        [options.platform]
        argv = ["--platform", "{os}+{architecture}"]
        [options.ca]
        env = { CA = "{ca}" }
        [options.headers]
        argv = ["-H", "{header_name}: {header_value}"]
    """
    session = bench.command(script, options=textwrap.dedent(options))
    image = bench.request().image
    assert session.pull(bench.request(), 20).error == f"{image} -"
    request = bench.request(
        platform="linux/arm64", trust=Trust(ca=Path("/ca.pem")), headers={"A": "1", "B": "2"}
    )
    words = f"-H A: 1 -H B: 2 --platform linux+arm64 {image} /ca.pem"
    assert session.pull(request, 20).error == words


def test_command_without_a_template_is_unsupported(bench: Bench) -> None:
    session = bench.command("raise SystemExit('must not run')")
    outcome = session.pull(bench.request(auth=AuthConfig(username="u")), 20)
    assert (outcome.kind, outcome.feature) == ("unsupported", "auth")


def test_command_that_cannot_be_started(bench: Bench) -> None:
    session = bench.session('kind = "command"\n[command]\npull = ["/no/such/program"]')
    with pytest.raises(HarnessError, match="is not a program that can be run"):
        session.pull(bench.request(), 20)


def test_command_has_a_private_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    monkeypatch.setenv("MINE", "kept")
    script = (
        "import os, sys; sys.exit(str([os.environ.get(k) for k in ('HTTPS_PROXY','MINE','HOME')]))"
    )
    session = bench.command(script, more='pass_env = ["MINE"]')
    home = str(bench.folder / "session")
    assert session.pull(bench.request(), 20).error == str([None, "kept", home])


def test_command_status_by_its_own_words(bench: Bench) -> None:
    status = """
        [status]
        argv = ["sh", "-c", "echo is {image} sha256:12"]
        digest = '(sha256:[0-9]+)'
    """
    session = bench.command("", options=textwrap.dedent(status))
    found = session.status("x", bench.request())
    assert (found.present, found.digest) == (True, "sha256:12")
    assert session.remove("x", bench.request()) is False


def test_stderr_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "err"
    path.write_bytes(b"a" * 100_000 + b"b" * 100_000)
    text = read_bounded(path)
    assert len(text) < 70_000
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert "134464 bytes left out" in text
    assert read_bounded(tmp_path / "none") == ""


# --- wrapper ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("print(json.dumps({'version': 1, 'answer': 'pulled'}))", "pulled", ""),
        ('print(\'{"version":1,"answer":"failed","error":"no"}\')', "failed", "no"),
        ("1 / 0", "crashed", "ZeroDivisionError: division by zero"),
        ("import os; os.abort()", "crashed", "killed by signal 6"),
    ],
)
def test_wrapper_answers(bench: Bench, script: str, kind: str, words: str) -> None:
    outcome = bench.wrapper(script).pull(bench.request(), 20)
    assert (outcome.kind, outcome.error) == (kind, words)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('hello')", "wrote no JSON object but 'hello'"),
        ("print('{}')", "lacks the key 'version'"),
        ('print(\'{"version":1,"answer":"failed"}\')', "lacks the key 'error'"),
        ('print(\'{"version":1,"answer":"removed"}\')', "answered 'removed', expected"),
        ("sys.exit('no such option')", "ended with status 1 instead of an answer: no such option"),
    ],
)
def test_wrapper_without_an_answer_is_our_error(bench: Bench, script: str, words: str) -> None:
    with pytest.raises(HarnessError) as caught:
        bench.wrapper(script).pull(bench.request(), 20)
    assert words in str(caught.value)


def test_wrapper_is_asked_in_json(bench: Bench) -> None:
    script = """
        a = {"version": 1}
        if q["operation"] == "pull":
            a |= {"answer": "failed", "error": json.dumps(q, sort_keys=True)}
        elif q["operation"] == "status":
            a |= {"answer": "status", "present": True, "digest": q["image"]}
        else:
            a |= {"answer": "unsupported", "feature": q["operation"]}
        print(json.dumps(a))
    """
    session = bench.wrapper(script)
    request = bench.request(hosts=(HostConfig("http://mirror.test:1"),))
    asked = json.loads(session.pull(request, 20).error)
    hosts = Path(asked["request"].pop("hosts_dir"))
    assert asked == {"version": 1, "operation": "pull", "request": request.to_json()}
    assert (hosts / "registry.test" / "hosts.toml").is_file()
    assert session.status("sha256:0", request).digest == "sha256:0"
    assert session.remove("x", request) is False


# --- python -------------------------------------------------------------------------------------


def test_python_answers(bench: Bench) -> None:
    code = """
        def pull(request):
            if request.platform:
                return {"version": 1, "answer": "failed", "error": request.platform}
    """
    session = bench.python(code)
    assert session.pull(bench.request(), 20).kind == "pulled"
    outcome = session.pull(bench.request(platform="a/b"), 20)
    assert (outcome.kind, outcome.error) == ("failed", "a/b")
    assert session.status("x", bench.request()).present is False


def test_python_refusals_are_named(bench: Bench) -> None:
    code = """
        class Refused(Exception): ...
        class Deeper(Refused): ...
        def pull(request):
            raise (Deeper if request.plain_http else ValueError)("two\\nlines")
    """
    session = bench.python(code, f'refusals = ["puller_{bench.folder.name}:Refused"]')
    outcome = session.pull(bench.request(plain_http=True), 20)
    assert (outcome.kind, outcome.error, outcome.code) == ("failed", "two lines", "Deeper")
    outcome = session.pull(bench.request(), 20)
    assert (outcome.kind, outcome.error) == ("crashed", "ValueError: two lines")
    assert "Traceback" in outcome.stderr


def test_python_death_hang_and_cancel(bench: Bench) -> None:
    code = """
        import os, signal, time
        def pull(request):
            if request.plain_http:
                os.kill(os.getpid(), signal.SIGKILL)
            print("waiting", flush=True)
            time.sleep(600)
    """
    session = bench.python(code)
    outcome = session.pull(bench.request(plain_http=True), 20)
    assert (outcome.kind, outcome.exit_status) == ("crashed", -9)
    outcome = session.pull(bench.request(), 1)
    assert outcome.kind == "hung"
    assert outcome.stderr == "waiting\n"
    for word, code in (("cancel", "cancelled"), ("kill", "killed")):
        running = session.start(bench.request(), 30)
        getattr(running, word)()
        outcome = running.wait()
        assert (outcome.kind, outcome.code) == ("failed", code)


def test_python_names_resolve_without_a_hosts_file(bench: Bench) -> None:
    code = """
        import socket
        def pull(request):
            found = [socket.getaddrinfo(n, 80)[0][4][0] for n in ("cdn.test", "registry6.test")]
            return {"version": 1, "answer": "failed", "error": " ".join(found)}
    """
    assert bench.python(code).pull(bench.request(), 20).error == "127.0.0.1 ::1"


def test_python_children_are_processes_of_their_own(bench: Bench) -> None:
    code = """
        import os
        COUNT = []
        def pull(request):
            COUNT.append(1)
            words = f"{os.getpid()} {os.getpgrp()} {len(COUNT)}"
            return {"version": 1, "answer": "failed", "error": words}
    """
    session = bench.python(code)
    first, second = (session.pull(bench.request(), 20).error.split() for _ in range(2))
    assert first[0] == first[1] != second[0]
    assert first[2] == second[2] == "1"
    assert int(first[0]) != os.getpid()


def test_python_pulls_side_by_side(bench: Bench) -> None:
    barrier = bench.folder / "fifo"
    os.mkfifo(barrier)
    # The reader and the writer of a named pipe wait for each other: neither ends alone.
    code = f"""
        def pull(request):
            with open({str(barrier)!r}, "r" if request.plain_http else "w"):
                pass
    """
    session = bench.python(code)
    started = time.monotonic()
    both = [session.start(bench.request(plain_http=plain), 20) for plain in (True, False)]
    assert [running.wait().kind for running in both] == ["pulled", "pulled"]
    assert time.monotonic() - started < 15


def test_real_pullers_need_a_private_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULLPROOF_ISOLATION", raising=False)
    with pytest.raises(NotUsable, match=r"skopeo: pullers of kind 'command' run in a private"):
        make_puller(load("skopeo")).describe()
    assert make_puller(load("reference")).describe().name == "reference"


# --- the guide ----------------------------------------------------------------------------------


def test_every_profile_in_the_guide_is_right(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "write-a-profile.md").read_text()
    blocks = [block.partition("```")[0] for block in guide.split("```toml\n")[1:]]
    whole = [block for block in blocks if block.startswith("version = 1")]
    assert len(whole) == 1
    for number, block in enumerate(whole):
        path = tmp_path / f"{number}.toml"
        path.write_text(block)
        load(str(path))
    # The parts belong to a profile whose head the guide doesn't repeat.
    head = 'version = 1\nname = "x"\nroles = ["copy"]\nevidence = ["layout"]\n'
    ctr = head + 'kind = "command"\n[command]\npull = ["x"]\n'
    parts = {"[status]": ctr, "[daemon]": ctr + '[find]\ncontainerd = ["x"]\n'}
    parts |= {"[cri]": head + 'kind = "cri"\n', "[python]": head + 'kind = "python"\n'}
    for block in blocks:
        for word, start in parts.items():
            if block.startswith(word):
                path.write_text(start + block)
                load(str(path))
