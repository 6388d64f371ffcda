"""The command ``fakeregistry``, as people and scripts use it."""

import hashlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_layouts import laid_out

from fakeregistry import an_image
from fakeregistry.scenario import shipped
from fakeregistry.serve.cli import main


@contextmanager
def serving(
    folder: Path, *arguments: str
) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """A served scenario and its ready file; the caller, or else the end, stops it."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "fakeregistry", "serve", "--ready-file", str(ready)]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = iter(process.stdout.readline, "")
        if not any(line.startswith("ready") for line in lines):
            raise AssertionError(process.stderr.read())
        yield json.loads(ready.read_text()), process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def ended(process: subprocess.Popen[str], how: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def test_serve_listens_on_loopback_alone_unless_told(tmp_path: Path) -> None:
    with serving(tmp_path) as (ready, process):
        port = int(ready["registries"]["origin"]["url"].rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            # Another address of this machine, which only a listener on all addresses answers.
            socket.create_connection(("127.0.0.2", port), 5)
        assert ended(process, signal.SIGTERM)[2] == ""
    with serving(tmp_path, "--host", "0.0.0.0") as (ready, process):
        port = int(ready["registries"]["origin"]["url"].rpartition(":")[2])
        socket.create_connection(("127.0.0.2", port), 5).close()
        err = ended(process, signal.SIGTERM)[2]
    assert err.startswith("fakeregistry: warning: listening on 0.0.0.0, not on loopback alone")
    assert len(err.splitlines()) == 1


def test_serve_keeps_the_newest_requests_and_says_so(tmp_path: Path) -> None:
    journal = tmp_path / "journal.ndjson"
    with serving(tmp_path, "--keep", "3", "--journal", str(journal)) as (ready, process):
        with httpx.Client(base_url=ready["registries"]["origin"]["url"], trust_env=False) as client:
            for number in range(5):
                client.get(f"/v2/a/tags/list?n={number}")
        code, out, _ = ended(process, signal.SIGTERM)
    assert code == 0
    assert "5 requests (the newest 3 are in the journal)" in out
    targets = [json.loads(line)["target"] for line in journal.read_text().splitlines()]
    assert targets == [f"/v2/a/tags/list?n={number}" for number in (2, 3, 4)]


def test_serve_tells_scripts_what_they_need(tmp_path: Path) -> None:
    journal = tmp_path / "journal.ndjson"

    with serving(tmp_path, "no-digest-header", "--journal", str(journal), "--seed", "7") as (
        ready,
        process,
    ):
        image = ready["images"]["app/web"]
        url = f"{ready['registries']['origin']['url']}/v2/app/web/manifests/v1"
        answer = httpx.get(url, trust_env=False)
        code, out, err = ended(process, signal.SIGTERM)

    assert (ready["version"], ready["scenario"], ready["seed"]) == (1, "no-digest-header", "7")
    assert ready["pid"] == process.pid
    assert answer.status_code == 200
    assert "Docker-Content-Digest" not in answer.headers
    assert image["reference"] == f"{ready['registries']['origin']['host']}/app/web:v1"
    assert set(image["pull"]) == {"skopeo", "crane", "curl"}
    assert (code, err) == (0, "")
    assert "1 requests" in out
    (exchange,) = map(json.loads, journal.read_text().splitlines())
    assert exchange["status"] == 200
    assert not (tmp_path / "ready.json").exists()


def test_ctrl_c_ends_a_stalled_answer_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "headers-never-come") as (ready, process):
        host, _, port = ready["registries"]["origin"]["host"].partition(":")
        blob = httpx.get(f"http://{host}:{port}/v2/app/web/manifests/v1", trust_env=False).json()[
            "layers"
        ][0]["digest"]
        with socket.create_connection((host, int(port))) as stalled:
            stalled.sendall(f"GET /v2/app/web/blobs/{blob} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            asked(ready, "GET", "/rules/1?holding=1")
            code, out, err = ended(process, signal.SIGINT)

    assert (code, err) == (0, "")
    assert "2 requests" in out


def asked(ready: dict[str, Any], method: str, path: str, body: str = "") -> httpx.Response:
    """A request to the control API of a served world."""
    headers = {"Authorization": f"Bearer {ready['control']['token']}"}
    url = ready["control"]["url"] + path
    answer = httpx.request(method, url, headers=headers, content=body, trust_env=False, timeout=20)
    return answer.raise_for_status()


def test_without_a_file_an_empty_registry_takes_pushes(tmp_path: Path) -> None:
    with serving(tmp_path) as (ready, process):
        url = f"{ready['registries']['origin']['url']}/v2/a/blobs/uploads/"
        digest = "sha256:" + hashlib.sha256(b"data").hexdigest()
        pushed = httpx.post(f"{url}?digest={digest}", content=b"data", trust_env=False)
        rule = f'on = "blob"\ndigest = "{digest}"\nstatus = 418\n'
        asked(ready, "POST", "/rules", rule)
        pulled = httpx.get(f"{url[:-8]}{digest}", trust_env=False)
        asked(ready, "POST", "/stop")
        out, err = process.communicate(timeout=20)

    assert (ready["scenario"], ready["file"], ready["images"]) == ("empty", None, {})
    assert (pushed.status_code, pulled.status_code) == (201, 418)
    assert (process.returncode, err) == (0, "")
    assert f"fired 1: origin: blob {digest[:19]}, always: status(418)" in out


def test_a_layout_is_served(tmp_path: Path) -> None:
    spec = an_image(1)
    folder = laid_out(tmp_path / "layout", (spec, {"org.opencontainers.image.ref.name": "b/c:v3"}))

    with serving(tmp_path, "--layout", str(folder)) as (ready, _):
        image = ready["images"]["b/c:v3"]
        host = ready["registries"]["origin"]["host"]
        answer = httpx.get(f"http://{host}/v2/b/c/manifests/v3", trust_env=False)

    assert (image["reference"], image["digest"]) == (f"{host}/b/c:v3", spec.digest)
    assert ready["layout"] == str(folder)
    assert answer.content == spec.manifest
    assert set(image["pull"]) == {"skopeo", "crane", "curl"}


def test_json_is_one_line_for_a_program_that_starts_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fakeregistry", "serve", "--json", "--request-cap", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        url = f"{ready['registries']['origin']['url']}/v2/"
        statuses = [httpx.get(url, trust_env=False).status_code for _ in range(2)]
        asked(ready, "POST", "/stop")
        rest, _ = process.communicate(timeout=20)

    assert statuses == [200, 503]
    assert (process.returncode, rest) == (0, "")


def test_the_ready_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert (tmp_path / "ready.json").stat().st_mode & 0o777 == 0o600


def test_a_rule_that_was_never_met_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, "storage-refuses-authorization") as (_, process):
        _, out, _ = ended(process, signal.SIGTERM)

    required, bait = [line for line in out.splitlines() if "fired" in line]
    assert required.endswith("(required, and never met)")
    assert not bait.endswith("met)")


SECURE = """
[[registry]]
tls = true
client_certificate = true
auth = { scheme = "bearer", user = "alice" }
[[registry]]
name = "open"
auth = "bearer"
[[image]]
platforms = ["linux/amd64", "linux/arm64"]
"""


def test_certificates_and_credentials_are_handed_out(tmp_path: Path) -> None:
    scenario = tmp_path / "secure.toml"
    scenario.write_text(SECURE)

    with serving(tmp_path, str(scenario)) as (ready, _):
        origin = ready["registries"]["origin"]
        context = ssl.create_default_context(cafile=ready["ca"])
        context.load_cert_chain(*ready["client_certificate"].values())
        user = (origin["auth"]["username"], origin["auth"]["password"])
        url = f"{origin['auth']['realm']}?service=x&scope=repository:app/web:pull"
        with httpx.Client(verify=context, trust_env=False) as client:
            challenge = client.get(f"{origin['url']}/v2/")
            service = challenge.headers["WWW-Authenticate"].split('service="')[1].split('"')[0]
            token = client.get(url.replace("service=x", f"service={service}"), auth=user)

        assert challenge.status_code == 401
        assert token.status_code == 200
        assert (origin["tls"], origin["client_certificate_required"]) == ("valid", True)
        assert user[0] == "alice"
        assert ready["registries"]["open"]["auth"]["scheme"] == "bearer"
        assert "password" not in ready["registries"]["open"]["auth"]
        assert ready["images"]["app/web"]["platforms"] == ["linux/amd64", "linux/arm64"]
        folder = Path(ready["ca"]).parent
    assert not folder.exists()


@pytest.mark.parametrize(
    "auth", ["", 'auth = "basic"', 'auth = { scheme = "bearer", user = "a" }', 'auth = "bearer"']
)
@pytest.mark.parametrize("client", ["curl", "skopeo"])
@pytest.mark.parametrize("tls", ["false", "true"])
def test_the_pull_lines_work(tmp_path: Path, client: str, auth: str, tls: str) -> None:
    if shutil.which(client) is None:
        pytest.skip(f"{client} isn't installed")
    scenario = tmp_path / "s.toml"
    scenario.write_text(f"[[registry]]\ntls = {tls}\n{auth}\n[[image]]\n")

    with serving(tmp_path, str(scenario)) as (ready, _):
        line = ready["images"]["app/web"]["pull"][client]
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    if client == "curl":
        assert json.loads(done.stdout)["schemaVersion"] == 2
    else:
        assert (tmp_path / "pulled" / "index.json").exists()


def test_an_honest_world_can_be_served(tmp_path: Path) -> None:
    with serving(tmp_path, "no-digest-header", "--honest") as (ready, _):
        url = f"{ready['registries']['origin']['url']}/v2/app/web/manifests/v1"
        assert "Docker-Content-Digest" in httpx.get(url, trust_env=False).headers


def errors(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, capsys.readouterr().err.splitlines()


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = errors(capsys, "serve", "blob-stalls", "--port", str(port))

    assert (code, lines) == (
        2,
        [f"fakeregistry: port {port}: Address already in use: choose another"],
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["serve", "blob-stall"],
            "fakeregistry: blob-stall: neither a file nor a shipped scenario",
        ),
        (["serve", "blob-stalls", "--port", "x"], "fakeregistry serve: argument --port: 'x' is no"),
        (
            ["serve", "blob-stalls", "--journal", "/no/j"],
            "fakeregistry: can't write /no/j: No such",
        ),
        (
            ["serve", "blob-stalls", "--ready-file", "/no/r"],
            "fakeregistry: can't write /no/r: No such",
        ),
        (["explain", "x/y.toml"], "fakeregistry: x/y.toml: there is no such file"),
        (["check"], "fakeregistry check: the following arguments are required: FILE"),
        (
            ["serve", "a.toml", "--layout", "b"],
            "fakeregistry serve: argument --layout: not allowed",
        ),
        (["serve", "--layout", "/no/l"], "fakeregistry: /no/l: can't read oci-layout: No such"),
        (["serve", "--request-cap", "0"], "fakeregistry serve: argument --request-cap: '0': a wh"),
        ([], "fakeregistry: the following arguments are required: COMMAND"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    code, lines = errors(capsys, *arguments)

    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(expected)


def test_check_names_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[[image]]\na = 1\n[[rule]]\n")

    code = main(["check", "blob-stalls", str(bad)])

    said = capsys.readouterr()
    assert code == 2
    assert said.out == "blob-stalls: ok\n"
    assert [line.partition(": ")[0] for line in said.err.splitlines()] == [
        f"{bad}:2",
        f"{bad}:3",
        f"{bad}:3",
    ]
    assert main(["check", *shipped()]) == 0


def test_list_and_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    rows = [line for line in listed.splitlines() if line.startswith("  ")]
    assert {line[7:].split()[0] for line in rows} == set(shipped())
    assert rows == sorted(rows)

    for name in shipped():
        assert main(["explain", name]) == 0
    said = capsys.readouterr().out
    assert "cdn: redirect target of layer 1 with authorization, always: status(400" in said
    assert "  a pull of app/web, progress timeout 3" in said
    assert "registry origin: http, bearer auth of alice" in said


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fakeregistry", "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    assert done.stdout.startswith("fakeregistry ")
