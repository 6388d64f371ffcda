"""Each switch for manifests, content, layers, records and progress, both ways."""

import io
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from scripted import Broken, ScriptedTransport, fetcher_at

from fakeregistry import (
    File,
    Image,
    Layer,
    Registries,
    Registry,
    a_schema1_image,
    an_image,
    an_index,
    blob,
    manifest,
)
from reference.compat import Quirks, switched
from reference.config import Config, Request
from reference.descriptors import DOCKER_MANIFEST, OCI_LAYER, OCTET_STREAM, Descriptor
from reference.errors import (
    AmbiguousManifest,
    AuthorizationFailed,
    BodyError,
    DigestMismatch,
    ManifestError,
    NoMatchingPlatform,
    NotFound,
    PullError,
    SizeMismatch,
    StoreError,
    UnsupportedMediaType,
)
from reference.layers import LayerApplier
from reference.progress import Cancellation, ProgressReporter
from reference.pull import Pulled, Puller
from reference.store import Ingest

SIZE = 64 * 1024
ODD = {"mediaType": "application/x-mine"}


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries("compat") as made:
        yield made


@pytest.fixture
def registry(registries: Registries) -> Registry:
    return registries.registry()


def a_puller(folder: Path, *quirks: str) -> Puller:
    """A puller with these switches on, and a root of its own."""
    config = Config(platform="linux/amd64", trust_env=False, quirks=Quirks().on(quirks))
    return Puller(config, folder / f"root-{'-'.join(quirks) or 'none'}")


def pull(folder: Path, image: Image | str, *quirks: str) -> Pulled:
    name = image if isinstance(image, str) else image.reference
    return a_puller(folder, *quirks).pull(Request(name))


def refused(folder: Path, image: Image | str, kind: type[PullError], *quirks: str) -> PullError:
    """The error of a pull that fails."""
    with pytest.raises(kind) as caught:
        pull(folder, image, *quirks)
    return caught.value


def asked(registry: Registry) -> list[str]:
    """What was asked so far; forgotten afterwards."""
    return [f"{exchange.method} {exchange.kind}" for exchange in registry.requests()]


def test_none_is_on_unless_asked_for() -> None:
    assert not any(vars(Config().quirks).values())
    assert all(vars(Config(compat="containerd").quirks).values())
    assert switched(LayerApplier, Quirks()) is LayerApplier


# Manifests and indexes


@pytest.mark.parametrize(
    "told", ["APPLICATION/VND.OCI.IMAGE.MANIFEST.V1+JSON", "{} ; charset=utf-8"]
)
def test_literal_content_types(registry: Registry, tmp_path: Path, told: str) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image)).content_type(told.format(image.spec.media_type))
    assert pull(tmp_path, image).digest == image.digest  # MAN-12
    refused(tmp_path, image, UnsupportedMediaType, "literal_content_types")  # MAN-13


def test_literal_content_types_leave_parameters_out(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image)).content_type(f"{image.spec.media_type}; charset=utf-8")
    assert pull(tmp_path, image, "literal_content_types").image_id == image.image_id


@pytest.mark.parametrize("length", ["0", "300"])
def test_head_length_is_final(registry: Registry, tmp_path: Path, length: str) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image), method="HEAD").content_length_text(length)
    assert pull(tmp_path, image).image_id == image.image_id  # MAN-24
    quirks = "head_length_is_final", "empty_content_refused"
    refused(tmp_path, image, SizeMismatch, *quirks)  # MAN-23


def test_get_digest_header_ignored(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image), method="HEAD").digest_header(None)
    registry.on(manifest(image), method="GET").digest_header("sha256:" + "1" * 64)
    refused(tmp_path, image, DigestMismatch)  # MAN-07
    assert pull(tmp_path, image, "get_digest_header_ignored").digest == image.digest


def test_manifests_as_blobs(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image), method="HEAD").status(404)
    registry.on(blob(image.digest), method="HEAD").status(200).body(
        image.manifest, image.spec.media_type
    )
    refused(tmp_path, image.by_digest, NotFound)  # MAN-05
    found = pull(tmp_path, image.by_digest, "manifests_as_blobs")
    assert found.digest == image.digest  # MAN-10, MAN-11
    refused(tmp_path, image, NotFound, "manifests_as_blobs")  # never by tag


def test_manifests_as_blobs_tells_the_first_failure(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image)).status(403)
    error = refused(tmp_path, image.by_digest, PullError, "manifests_as_blobs")
    assert "403" in str(error)
    assert registry.requests(blob(), method="HEAD")


@pytest.mark.parametrize("size", [4 * 1024 * 1024, 4 * 1048 * 1048, 4 * 1048 * 1048 + 1])
def test_mistyped_manifest_limit(registry: Registry, tmp_path: Path, size: int) -> None:
    image = registry.add(an_image(manifest_size=size))
    for limit, quirks in (4 * 1024 * 1024, ()), (4 * 1048 * 1048, ("mistyped_manifest_limit",)):
        if size <= limit:
            assert pull(tmp_path, image, *quirks).digest == image.digest  # MAN-22
        else:
            refused(tmp_path, image, ManifestError, *quirks)  # MAN-21


def test_inner_types_ignored(registry: Registry, tmp_path: Path) -> None:
    docker = registry.add(an_image(edit=lambda it: it | {"mediaType": DOCKER_MANIFEST}))
    three = registry.add(an_image(edit=lambda it: it | {"schemaVersion": 3}), tag="three")
    refused(tmp_path, docker, AmbiguousManifest)  # MAN-17
    refused(tmp_path, three, ManifestError)
    assert pull(tmp_path, docker, "inner_types_ignored").digest == docker.digest
    assert pull(tmp_path, three, "inner_types_ignored").digest == three.digest


def test_inner_types_still_tell_an_image_from_an_index(registry: Registry, tmp_path: Path) -> None:
    odd = {"mediaType": "application/vnd.oci.image.index.v1+json"}
    image = registry.add(an_image(edit=lambda it: it | odd))
    refused(tmp_path, image, AmbiguousManifest, "inner_types_ignored")  # MAN-18


def test_unknown_index_entries(registry: Registry, tmp_path: Path) -> None:
    odd = replace(an_image(salt="odd"), declared=ODD)
    image = registry.add(an_index(odd, an_image()))
    assert pull(tmp_path, image).image_id  # IDX-09
    refused(tmp_path, image, UnsupportedMediaType, "unknown_index_entries")


def test_os_features_ignored(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_index(an_image(os_features=("x",))))
    refused(tmp_path, image, NoMatchingPlatform)  # IDX-14
    assert pull(tmp_path, image, "os_features_ignored").digest == image.digest


def test_octet_stream_configs_refused(registry: Registry, tmp_path: Path) -> None:
    octet = {"mediaType": OCTET_STREAM}
    image = registry.add(an_image(docker=True, config_declared=octet))
    assert pull(tmp_path, image).repo_digest == image.by_digest  # MAN-34: not rewritten
    refused(tmp_path, image, UnsupportedMediaType, "octet_stream_configs_refused")


def test_unknown_layers_passed_over(registry: Registry, tmp_path: Path) -> None:
    odd = Layer((File("odd", "x"),), declared=ODD, counted=False)
    plain = Layer((File("plain", "x"),))
    image = registry.add(an_image([odd, plain]))
    counted = registry.add(an_image([replace(odd, counted=True), plain]), tag="counted")
    refused(tmp_path, image, UnsupportedMediaType)  # LAYER-10
    puller = a_puller(tmp_path, "unknown_layers_passed_over")

    pulled = puller.pull(Request(image.reference))

    assert pulled.rootfs is not None
    assert [path.name for path in pulled.rootfs.iterdir()] == ["plain"]
    Puller(Config(trust_env=False), puller.root).collect()  # whoever collects has no switch on
    assert puller.content.has(image.layers[0].digest)  # stored with the image, though not applied
    assert puller.check() == []
    puller.export_layout(image.reference, tmp_path / "layout")
    with pytest.raises(ManifestError):
        puller.pull(Request(counted.reference))  # LAYER-09


def test_rootfs_types_ignored(registry: Registry, tmp_path: Path) -> None:
    def edit(document: dict[str, object]) -> dict[str, object]:
        rootfs = document["rootfs"]
        assert isinstance(rootfs, dict)
        return document | {"rootfs": rootfs | {"type": "odd"}}

    image = registry.add(an_image(config_edit=edit))
    refused(tmp_path, image, ManifestError)  # LAYER-34
    assert pull(tmp_path, image, "rootfs_types_ignored").image_id == image.image_id


def test_unsigned_schema1_refused(registry: Registry, tmp_path: Path) -> None:
    signed = registry.add(a_schema1_image())
    unsigned = registry.add(a_schema1_image(signature="none"), tag="unsigned")
    assert pull(tmp_path, unsigned).image_id
    refused(tmp_path, unsigned, UnsupportedMediaType, "unsigned_schema1_refused")  # S1-03
    assert pull(tmp_path, signed, "unsigned_schema1_refused").image_id  # S1-02


# Content


def test_empty_content_refused(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image([Layer(raw_blob=b"", raw_tar=b"")]))
    assert pull(tmp_path, image).image_id == image.image_id
    refused(tmp_path, image, SizeMismatch, "empty_content_refused")  # BLOB-29


def test_embedded_data_ignored(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image([Layer((File("a", "x"),), embed=True)]))
    pull(tmp_path, image)
    assert not registry.requests(blob(image.layers[0]))  # BLOB-35
    pull(tmp_path, image, "embedded_data_ignored")
    assert registry.requests(blob(image.layers[0]))


def test_sha256_only(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image([Layer((File("a", "x"),), algorithm="sha512")]))
    assert pull(tmp_path, image).image_id == image.image_id  # BLOB-36
    refused(tmp_path, image, DigestMismatch, "sha256_only")


DATA = bytes(range(256)) * 4
ELSEWHERE = "https://elsewhere.test/it"
ORDINARY = Descriptor.of(OCI_LAYER, DATA)
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def hosts_asked(folder: Path, media_type: str, *quirks: str, lacking: str = "") -> list[str]:
    """The hosts that a fetch asks, of which one may not have the content."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == lacking:
            return httpx.Response(404)
        return httpx.Response(200, content=DATA)

    transport = ScriptedTransport(handler, Config(quirks=Quirks().on(quirks)))
    layer = replace(ORDINARY, media_type=media_type, urls=(ELSEWHERE, "ftp://elsewhere.test/it"))
    fetcher_at(transport, folder / "-".join(("s", *quirks))).fetch(layer)
    return [request.url.host for request in transport.asked]


def test_urls_first(tmp_path: Path) -> None:
    assert hosts_asked(tmp_path / "1", FOREIGN) == ["registry.test"]
    assert hosts_asked(tmp_path / "2", FOREIGN, "urls_first") == ["elsewhere.test"]  # BLOB-31
    found = hosts_asked(tmp_path / "3", FOREIGN, "urls_first", lacking="elsewhere.test")
    assert found == ["elsewhere.test", "registry.test"]
    assert hosts_asked(tmp_path / "4", OCI_LAYER, "urls_first") == ["registry.test"]


def test_urls_of_anything(tmp_path: Path) -> None:
    lacking = "registry.test"
    with pytest.raises(NotFound):
        hosts_asked(tmp_path / "1", OCI_LAYER, lacking=lacking)
    found = hosts_asked(tmp_path / "2", OCI_LAYER, "urls_of_anything", lacking=lacking)
    assert found == ["registry.test", "elsewhere.test"]


def fetched(folder: Path, answers: list[httpx.Response], *quirks: str, budget: int = 100) -> int:
    """How many requests it took to fetch the layer."""
    config = Config(quirks=Quirks().on(quirks), resume_budget=budget)
    transport = ScriptedTransport(lambda request: answers.pop(0), config)
    fetcher_at(transport, folder).fetch(ORDINARY)
    return len(transport.asked)


def cut(start: int, count: int, error: Exception | None = None) -> httpx.Response:
    """So many bytes from `start` on of what should be the rest; then the connection is lost."""
    headers = {"content-length": str(len(DATA) - start)}
    if start:
        headers["content-range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    body = Broken(DATA[start : start + count], error)
    return httpx.Response(206 if start else 200, headers=headers, stream=body)


def rest(start: int, said: int | None = None) -> httpx.Response:
    said = start if said is None else said
    headers = {"content-range": f"bytes {said}-{len(DATA) - 1}/{len(DATA)}"}
    return httpx.Response(206, headers=headers, content=DATA[start:])


def test_unlimited_resumes(tmp_path: Path) -> None:
    def pieces() -> list[httpx.Response]:
        return [*(cut(start, 100) for start in range(0, 1000, 100)), rest(1000)]

    with pytest.raises(BodyError):
        fetched(tmp_path / "1", pieces(), budget=5)
    assert fetched(tmp_path / "2", pieces(), "unlimited_resumes", budget=5) == 11  # BLOB-06
    with pytest.raises(BodyError):  # but not without a byte in between
        fetched(tmp_path / "3", [cut(0, 0) for _ in range(4)], "unlimited_resumes")


@pytest.mark.parametrize("status", [400, 416])
def test_refused_resume_is_the_end(tmp_path: Path, status: int) -> None:
    def answers() -> list[httpx.Response]:
        return [cut(0, 100), httpx.Response(status), httpx.Response(200, content=DATA)]

    assert fetched(tmp_path / "1", answers()) == 3
    with pytest.raises(BodyError, match="broke off"):  # BLOB-10
        fetched(tmp_path / "2", answers(), "refused_resume_is_the_end")


@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_resume_hides_its_reason(tmp_path: Path, status: int) -> None:
    def answers() -> list[httpx.Response]:
        return [cut(0, 100), httpx.Response(status)]

    with pytest.raises((NotFound, AuthorizationFailed)):
        fetched(tmp_path / "1", answers())
    with pytest.raises(BodyError, match="broke off"):  # BLOB-10
        fetched(tmp_path / "2", answers(), "refused_resume_is_the_end")


def test_a_wrong_part_is_the_end(tmp_path: Path) -> None:
    def answers() -> list[httpx.Response]:
        return [cut(0, 100), rest(50, said=50), httpx.Response(200, content=DATA)]

    assert fetched(tmp_path / "1", answers()) == 3
    with pytest.raises(BodyError, match="broke off"):  # BLOB-08
        fetched(tmp_path / "2", answers(), "refused_resume_is_the_end")
    good = [cut(0, 100), rest(100)]
    assert fetched(tmp_path / "3", good, "refused_resume_is_the_end") == 2  # BLOB-05


def test_resets_are_the_end(tmp_path: Path) -> None:
    def answers() -> list[httpx.Response]:
        return [cut(0, 100, httpx.ReadError("connection reset by peer")), rest(100)]

    assert fetched(tmp_path / "1", answers()) == 2  # BLOB-12
    with pytest.raises(BodyError):
        fetched(tmp_path / "2", answers(), "resets_are_the_end")
    assert fetched(tmp_path / "3", [cut(0, 100), rest(100)], "resets_are_the_end") == 2


def test_bad_downloads_kept(registry: Registry, tmp_path: Path) -> None:
    def requests() -> int:
        return len(registry.requests(blob(image.layers[1])))

    image = registry.add(an_image(size=SIZE))
    registry.on(blob(image.layers[1])).first(1).flip_byte(100)
    refused(tmp_path, image, DigestMismatch)
    assert pull(tmp_path, image).image_id  # BLOB-28
    assert requests() == 2
    registry.on(blob(image.layers[1])).first(1).flip_byte(100)
    for _ in range(2):
        refused(tmp_path, image, DigestMismatch, "bad_downloads_kept")
    assert requests() == 3  # the one that was bad: nobody was asked again
    assert pull(tmp_path, image, "bad_downloads_kept").image_id


# Layers


def layer_of(*names: str) -> bytes:
    """A tar of files that contain their own names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


def unpacked(folder: Path, *layers: bytes, quirk: str = "") -> list[str]:
    """The files of the layers, with a switch on."""
    folder.mkdir()
    part = switched(LayerApplier, Quirks().on([quirk] if quirk else []))
    applier = part(folder)
    for layer in layers:
        applier.apply(io.BytesIO(layer), OCI_LAYER)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_whiteouts_hide_own_files(tmp_path: Path) -> None:
    quirk = "whiteouts_hide_own_files"
    layer = layer_of("d/own", "d/.wh.own", "e/x", ".wh.e", "e/late", "f/.wh.later", "f/later")
    assert unpacked(tmp_path / "1", layer) == ["d/own", "e/late", "e/x", "f/later"]  # LAYER-14
    assert unpacked(tmp_path / "2", layer, quirk=quirk) == ["e/late", "f/later"]
    opaque = layer_of("d/own", "d/.wh..wh..opq")
    lower = layer_of("d/lower")
    assert unpacked(tmp_path / "3", lower, opaque, quirk=quirk) == ["d/own"]  # LAYER-13


def test_whiteouts_hide_each_time(tmp_path: Path) -> None:
    layer = layer_of("own", ".wh.own", "own", ".wh.own")
    assert unpacked(tmp_path / "1", layer) == ["own"]
    assert unpacked(tmp_path / "2", layer, quirk="whiteouts_hide_own_files") == []


def test_aufs_names_unpacked(tmp_path: Path) -> None:
    layer = layer_of("d/x", ".wh..wh.plnk/1.2", ".wh..wh.aufs")
    assert unpacked(tmp_path / "1", layer) == ["d/x"]  # LAYER-37
    found = unpacked(tmp_path / "2", layer, quirk="aufs_names_unpacked")
    assert found == [".wh..wh.plnk/1.2", "d/x"]


# Records


def test_records_rewritten(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image())

    def times(*quirks: str) -> list[list[tuple[datetime, datetime]]]:
        puller = a_puller(tmp_path, *quirks)
        found = []
        for _ in range(2):
            puller.pull(Request(image.reference))
            found.append([(each.created, each.updated) for each in puller.records.list()])
        return found

    first, second = times()
    assert first == second  # IMG-07
    first, second = times("records_rewritten")
    assert first != second


def test_records_one_by_one(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image())

    def left(*quirks: str) -> list[str]:
        puller = a_puller(tmp_path, *quirks)
        with sqlite3.connect(puller.root / "images.db") as database:
            database.execute(
                "CREATE TRIGGER full BEFORE INSERT ON images WHEN NEW.name LIKE '%@sha256:%' "
                "BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
        database.close()
        with pytest.raises(StoreError):
            puller.pull(Request(image.reference))
        return [record.name for record in puller.records.list()]

    assert left() == []
    assert left("records_one_by_one") == [image.reference, image.image_id]  # IMG-10


# Progress


def watch(*quirks: str) -> ProgressReporter:
    config = Config(progress_timeout=10, quirks=Quirks().on(quirks))
    return ProgressReporter(config, "x", Cancellation())


def test_idle_time_counts() -> None:
    def stopped(reporter: ProgressReporter) -> bool:
        reporter.look(100.0)
        reporter.begin()
        reporter.look(110.0)  # the request may have begun just before
        return reporter.look(110.1)

    assert not stopped(watch())
    assert stopped(watch("idle_time_counts"))  # PROG-14


def test_active_until_stored(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = registry.add(an_image([Layer((File("a", "x"),))]))
    active: list[int] = []

    class Watched(ProgressReporter):
        def __enter__(self) -> ProgressReporter:
            watching.append(self)
            return super().__enter__()

    commit = Ingest.commit

    def counting(ingest: Ingest) -> None:
        active.append(watching[-1].status()[0])
        commit(ingest)

    watching: list[ProgressReporter] = []
    monkeypatch.setattr(Ingest, "commit", counting)
    monkeypatch.setattr(Puller, "progress", Watched)
    config = Config(platform="linux/amd64", trust_env=False, max_concurrent_downloads=1)
    Puller(config, tmp_path / "1").pull(Request(image.reference))
    assert active == [0, 0, 0]  # PROG-13
    active.clear()
    config = replace(config, quirks=Quirks().on(["active_until_stored"]))
    Puller(config, tmp_path / "2").pull(Request(image.reference))
    assert active == [1, 1, 1]
    assert watching[-1].status()[0] == 0  # PROG-15
