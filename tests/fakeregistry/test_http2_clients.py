"""Real clients at a registry that offers HTTP/2: crane speaks it, and goes on after what it can do.

skopeo 1.9.3 doesn't: containers/image sets its own DialContext and not ForceAttemptHTTP2, and so
does containerd, in every version so far; Go's net/http then keeps to HTTP/1.1.

Where one isn't installed its test is skipped, unless PULLPROOF_REQUIRE_CLIENTS is set.
"""

import json
from pathlib import Path

import pytest
from test_clients import GUARDED, blobs, client, contents, guarded, run
from test_layouts import NAME, laid_out

from fakeregistry import Registry, a_layer, an_image, blob, connection, manifest

IMAGE = an_image(layers=[a_layer(size=300_000 + number) for number in range(4)])


def h2_only(registry: Registry) -> bool:
    return {one.connection.alpn for one in registry.journal} == {"h2"}


@GUARDED
def test_skopeo_is_served_whatever_it_speaks(
    tmp_path: Path, registry: Registry, guard: str
) -> None:
    skopeo = client("skopeo")
    laid_out(tmp_path / "there", (IMAGE, {NAME: "v1"}))
    user = guarded(registry, guard, tls=True)
    registry.http2 = True
    ca = registry.topology.certificates.ca_file(tmp_path)
    place = f"docker://{registry.host}/app/pushed:v1"
    for source, target, side in (("oci:there:v1", place, "dest"), (place, "oci:back:v1", "src")):
        options = [f"--{side}-creds", user] if user else []
        options += ["--preserve-digests"] if side == "dest" else []
        run(tmp_path, ca, skopeo, "--insecure-policy", "copy", *options, source, target)

    assert blobs(tmp_path / "back") == contents(IMAGE)


def crane_pulls(folder: Path, registry: Registry) -> None:
    crane = client("crane")
    registry.tls, registry.http2 = registry.topology.certificates.valid(), True
    image = registry.add(IMAGE)
    ca = registry.topology.certificates.ca_file(folder)
    run(folder, ca, crane, "pull", "--format", "oci", image.reference, "back")
    index = json.loads((folder / "back" / "index.json").read_text())
    assert [one["digest"] for one in index["manifests"]] == [IMAGE.digest]
    assert contents(IMAGE).items() <= blobs(folder / "back").items()
    assert h2_only(registry)


def test_crane(tmp_path: Path, registry: Registry) -> None:
    crane_pulls(tmp_path, registry)
    assert len(registry.journal.connections) <= 2


def test_crane_pushes(tmp_path: Path, registry: Registry) -> None:
    crane = client("crane")
    laid_out(tmp_path / "there", (IMAGE, {}))
    registry.tls, registry.http2 = registry.topology.certificates.valid(), True
    ca = registry.topology.certificates.ca_file(tmp_path)
    run(tmp_path, ca, crane, "push", "there", f"{registry.host}/app/pushed:v1")
    held = registry.storage.manifest("app/pushed", "v1")

    assert held is not None
    assert held.data == IMAGE.manifest
    assert h2_only(registry)


@pytest.mark.parametrize("n", [1, 2])
def test_go_waits_for_a_stream_where_few_are_allowed(tmp_path, registry: Registry, n: int) -> None:
    few = registry.on(connection()).max_concurrent_streams(n)
    crane_pulls(tmp_path, registry)
    assert few.fired


def test_go_asks_again_for_a_refused_stream(tmp_path: Path, registry: Registry) -> None:
    refused = registry.on(blob()).first(2).refused_stream()
    crane_pulls(tmp_path, registry)
    assert refused.fired == 2


def test_go_asks_again_for_what_goaway_did_not_take(tmp_path: Path, registry: Registry) -> None:
    goaway = registry.on(manifest(), method="GET").once().goaway(last_id="none")
    crane_pulls(tmp_path, registry)
    assert goaway.fired == 1


def test_go_finishes_what_a_graceful_goaway_took(tmp_path: Path, registry: Registry) -> None:
    goaway = registry.on(blob(), method="GET").once().goaway(after=100_000, then="finish")
    crane_pulls(tmp_path, registry)
    assert goaway.fired == 1
    assert "complete" in {one.ended for one in registry.journal if one.rules}
