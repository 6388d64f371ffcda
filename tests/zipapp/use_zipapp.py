"""Uses a built zipapp as somebody who has nothing else: an empty environment, an empty folder.

`python use_zipapp.py dist/fakeregistry.pyz`; says what it did, and ends with 1 where it failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import venv
from pathlib import Path

WORLD = """
[[registry]]
tls = true
[[registry]]
name = "plain"
[[image]]
registry = ["origin", "plain"]
[[image.layer]]
compression = "zstd"
[[rule]]
registry = "plain"
on = "manifest"
first = 1
status = 503
"""
PATIENCE = 120


def main(zipapp: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "empty", with_pip=False)
        # Nothing of this machine's Python: no path, no site, no home.
        surroundings = {"HOME": folder, "PATH": os.defpath}
        command = [str(home / "empty" / "bin" / "python"), str(zipapp)]
        work = home / "work"
        work.mkdir()
        (work / "world.toml").write_text(WORLD)

        def run(*words: str) -> str:
            done = subprocess.run(
                [*command, *words],
                cwd=work,
                env=surroundings,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
            return done.stdout

        print(run("--version").strip())
        assert "blob-stalls" in run("list")
        assert run("check", "world.toml", "blob-stalls").count(": ok") == 2
        assert json.loads(run("schema"))["title"]
        serve(command, work, surroundings)
    print(f"{zipapp.name}: {zipapp.stat().st_size / 1e6:.1f} MB, works by itself")


def serve(command: list[str], work: Path, surroundings: dict[str, str]) -> None:
    words = ["serve", "world.toml", "--json", "--ready-file", "ready.json"]
    with subprocess.Popen(
        [*command, *words], cwd=work, env=surroundings, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            assert json.loads((work / "ready.json").read_text()) == ready
            manifest = f"{ready['registries']['plain']['url']}/v2/app/web/manifests/v1"
            assert asked(manifest)[0] == 503
            status, body = asked(manifest)
            assert status == 200
            assert json.loads(body)["layers"][0]["mediaType"].endswith("+zstd")
            stop = urllib.request.Request(
                f"{ready['control']['url']}/stop",
                method="POST",
                headers={"Authorization": f"Bearer {ready['control']['token']}"},
            )
            urllib.request.urlopen(stop, timeout=PATIENCE).close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def asked(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
