"""Real clients push to the registry and pull the same bytes back: skopeo and crane.

Where one isn't installed its test is skipped, unless PULLPROOF_REQUIRE_CLIENTS is set.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from test_layouts import NAME, laid_out

from fakeregistry import ImageSpec, IndexSpec, Registry, an_image, an_index, basic, bearer

PULLERS = Path(__file__).parents[2] / "build" / "pullers"


def client(name: str) -> str:
    """The path of a client: of the system, or built by `python -m conformance.install`."""
    built = PULLERS / name / name
    found = shutil.which(name) or (str(built) if built.is_file() else None)
    if found is None:
        if os.environ.get("PULLPROOF_REQUIRE_CLIENTS"):
            pytest.fail(f"{name} is neither installed nor in build/pullers")
        pytest.skip(f"{name} isn't installed")
    return found


def run(folder: Path, ca: Path | None, *command: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    if ca is not None:
        environment["SSL_CERT_FILE"] = str(ca)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def blobs(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.glob("blobs/*/*")}


def contents(spec: ImageSpec | IndexSpec) -> dict[str, bytes]:
    return {thing.digest.partition(":")[2]: bytes(thing.data) for thing in spec.objects()}


IMAGE = an_image(3)
INDEX = an_index(an_image(2), an_image(2, platform="linux/arm64", salt="arm"))
GUARDED = pytest.mark.parametrize("guard", ["open", "basic", "bearer"])


def guarded(registry: Registry, guard: str, *, tls: bool) -> str | None:
    """Guard a registry; return `user:password`, or None."""
    registry.tls = registry.topology.certificates.valid() if tls else None
    if guard == "open":
        return None
    registry.auth = basic("alice") if guard == "basic" else bearer("alice")
    given = registry.auth.credentials
    return f"{given.username}:{given.password}"


@GUARDED
@pytest.mark.parametrize("spec", [IMAGE, INDEX], ids=["image", "index"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_skopeo_pushes_and_pulls(
    tmp_path: Path, registry: Registry, spec: ImageSpec | IndexSpec, guard: str, tls: bool
) -> None:
    skopeo = client("skopeo")
    laid_out(tmp_path / "there", (spec, {NAME: "v1"}))
    user = guarded(registry, guard, tls=tls)
    ca = registry.topology.certificates.ca_file(tmp_path) if tls else None
    place = f"docker://{registry.host}/app/pushed:v1"
    for source, target, side in (
        ("oci:there:v1", place, "dest"),
        (place, "oci:back:v1", "src"),
    ):
        options = [f"--{side}-tls-verify={str(tls).lower()}", "--all"]
        options += ["--preserve-digests"] if side == "dest" else []
        options += [f"--{side}-creds", user] if user else []
        run(tmp_path, ca, skopeo, "--insecure-policy", "copy", *options, source, target)

    assert blobs(tmp_path / "back") == contents(spec)
    held = registry.storage.manifest("app/pushed", "v1")
    assert held is not None
    assert (held.data, held.media_type) == (spec.manifest, spec.media_type)


@GUARDED
@pytest.mark.parametrize("spec", [IMAGE, INDEX], ids=["image", "index"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_crane_pushes_and_pulls(
    tmp_path: Path, registry: Registry, spec: ImageSpec | IndexSpec, guard: str, tls: bool
) -> None:
    crane = client("crane")
    laid_out(tmp_path / "there", *[(one, {}) for one in images_of(spec)])
    user = guarded(registry, guard, tls=tls)
    ca = registry.topology.certificates.ca_file(tmp_path) if tls else None
    insecure = [] if tls else ["--insecure"]
    if user:
        name, _, password = user.partition(":")
        login = [crane, "auth", "login", registry.host, "-u", name, "-p", password, *insecure]
        run(tmp_path, ca, *login)
    reference = f"{registry.host}/app/pushed:v1"
    whole = ["--index"] if isinstance(spec, IndexSpec) else []

    run(tmp_path, ca, crane, "push", "there", reference, *whole, *insecure)
    run(tmp_path, ca, crane, "pull", "--format", "oci", reference, "back", *insecure)

    back = blobs(tmp_path / "back")
    expected = {key: data for one in images_of(spec) for key, data in contents(one).items()}
    assert expected.items() <= back.items()
    pushed = registry.storage.manifest("app/pushed", "v1")
    assert pushed is not None
    assert back[pushed.digest.partition(":")[2]] == pushed.data


def images_of(spec: ImageSpec | IndexSpec) -> list[ImageSpec]:
    return list(spec.images) if isinstance(spec, IndexSpec) else [spec]


def test_a_second_push_mounts_or_skips_what_is_there(tmp_path: Path, registry: Registry) -> None:
    skopeo = client("skopeo")
    laid_out(tmp_path / "there", (IMAGE, {NAME: "v1"}))
    copy = [skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:there:v1"]
    run(tmp_path, None, *copy, f"docker://{registry.host}/a:v1")
    before = len(registry.requests(method="PATCH"))

    run(tmp_path, None, *copy, f"docker://{registry.host}/a:v2")

    assert before > 0
    assert len(registry.requests(method="PATCH")) == before
