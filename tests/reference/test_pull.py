"""The whole puller against a registry that can be told to misbehave."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

import pytest

from fakeregistry import (
    File,
    Image,
    Layer,
    Registries,
    Registry,
    a_document,
    a_schema1_image,
    an_artifact,
    an_image,
    an_index,
    basic,
    bearer,
    blob,
    config,
    manifest,
)
from reference.config import AuthConfig, Config, Request, TLSConfig
from reference.descriptors import Descriptor
from reference.errors import (
    AmbiguousManifest,
    AuthorizationFailed,
    Cancelled,
    DiffIDMismatch,
    DigestMismatch,
    InvalidReference,
    LayerError,
    ManifestError,
    NoMatchingPlatform,
    NotFound,
    ProgressTimeout,
    PullError,
    SizeMismatch,
    StoreError,
    TLSError,
    UnsupportedMediaType,
)
from reference.fetch import Fetcher
from reference.layers import LayerApplier
from reference.progress import Cancellation
from reference.pull import Pulled, Puller
from reference.tar import Entry

AMD64, ARM64 = "linux/amd64", "linux/arm64"


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries("reference") as made:
        yield made


@pytest.fixture
def registry(registries: Registries) -> Registry:
    return registries.registry()


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(Config(platform=AMD64, trust_env=False), tmp_path / "root")


def noting(layers: type[LayerApplier], tmp_path: Path) -> Puller:
    """A puller that applies layers by that class."""
    by = type("Noting", (Puller,), {"layers": layers})
    return cast("Puller", by(Config(platform=AMD64, trust_env=False), tmp_path / "root"))


class Refusing(LayerApplier):
    """Applies no layer."""

    def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
        raise LayerError("not this one")


def pull(puller: Puller, image: Image, **options: object) -> Pulled:
    return puller.pull(Request(image.reference, **options))  # type: ignore[arg-type]


def refused(puller: Puller, image: Image, kind: type[PullError], **options: object) -> PullError:
    """The error of a pull that fails, after which the image isn't there."""
    with pytest.raises(kind) as caught:
        pull(puller, image, **options)
    assert puller.status(image.reference) is None
    assert "\n" not in str(caught.value)
    return caught.value


def kinds(registry: Registry) -> list[str]:
    return [f"{exchange.method} {exchange.kind}" for exchange in registry.requests()]


# Good images


def test_an_image_arrives_with_its_records_and_files(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image([Layer((File("etc/motd", "hello"),))]))

    pulled = pull(puller, image)

    assert pulled.image_id == image.config.digest  # IMG-01
    assert pulled.digest == image.digest
    assert pulled.repo_tag == image.reference
    assert pulled.repo_digest == image.by_digest  # IMG-04
    assert {record.name for record in puller.records.list()} == {
        pulled.image_id,
        image.reference,
        image.by_digest,
    }  # IMG-02
    assert puller.status(image.reference).labels == {"io.cri-containerd.image": "managed"}  # type: ignore[union-attr]
    assert pulled.rootfs is not None
    assert (pulled.rootfs / "etc/motd").read_text() == "hello"


def test_the_requests_of_a_pull(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=2))
    pull(puller, image)
    assert kinds(registry)[:2] == ["HEAD tag_manifest", "GET manifest"]  # MAN-01
    # No `/v2/` (MAN-32), and nothing about referrers, by either way (MISC-14, MISC-15).
    assert sorted(kinds(registry)[2:]) == ["GET blob", "GET blob", "GET config"]
    pull(puller, image)
    assert kinds(registry)[5:] == ["HEAD tag_manifest"]  # MAN-33, MISC-13


@pytest.mark.parametrize("delta", [200, -200])
def test_a_head_that_counts_wrong_is_not_believed(
    registry: Registry, puller: Puller, delta: int
) -> None:
    image = registry.add(an_image())
    registry.on(manifest(image), method="HEAD").head_content_length(delta)
    pull(puller, image)
    begun = kinds(registry)[:3]
    assert begun == ["HEAD tag_manifest", "GET manifest", "GET tag_manifest"]  # incident C02


def test_a_pull_by_digest_has_no_tag(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image())
    pulled = puller.pull(Request(image.by_digest))
    assert (pulled.repo_tag, pulled.repo_digest) == ("", image.by_digest)  # IMG-03
    assert puller.status(image.reference) is None


def test_docker_types_and_layers_of_all_kinds(registry: Registry, puller: Puller) -> None:
    layers = [
        Layer((File("a", "1"),), compression="none"),
        Layer((File("b", "2"),), compression="gzip"),
    ]
    pulled = pull(puller, registry.add(an_image(layers, docker=True)))
    assert pulled.rootfs is not None
    assert sorted(path.name for path in pulled.rootfs.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("docker", [False, True])
def test_the_platforms_image_of_an_index(registry: Registry, puller: Puller, docker: bool) -> None:
    arm, amd = an_image(platform=ARM64, docker=docker), an_image(platform=AMD64, docker=docker)
    image = registry.add(an_index(arm, amd, docker=docker))

    pulled = pull(puller, image)

    spec = image.spec.image(AMD64)  # type: ignore[union-attr]
    assert pulled.image_id == spec.config_descriptor.digest
    assert pulled.digest == image.digest  # IDX-18
    assert kinds(registry).count("GET manifest") == 2  # IDX-01
    other = pull(puller, image, platform=ARM64)
    assert other.image_id != pulled.image_id


def test_an_index_within_an_index(registry: Registry, puller: Puller) -> None:
    index = an_index(an_image(platform=AMD64))
    assert pull(puller, registry.add(an_index(index))).image_id  # IDX-10
    for _ in range(5):
        index = an_index(index)
    refused(puller, registry.add(index, tag="deep"), ManifestError)  # IDX-11


def test_no_image_for_the_platform(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_index(an_image(platform="linux/s390x")))
    refused(puller, image, NoMatchingPlatform)  # IDX-02


def test_a_lone_manifest_is_pulled_whatever_it_is_for(registry: Registry, puller: Puller) -> None:
    assert pull(puller, registry.add(an_image(platform="linux/s390x"))).image_id  # IDX-17


def test_schema_1_is_converted(registry: Registry, puller: Puller) -> None:
    image = registry.add(a_schema1_image())

    pulled = pull(puller, image)

    assert pulled.repo_tag == image.reference
    assert pulled.repo_digest == ""  # S1-20
    assert pulled.rootfs is not None
    assert any(pulled.rootfs.iterdir())
    document = json.loads(puller.content.read(pulled.image_id))
    assert document["rootfs"]["type"] == "layers"
    by_digest = puller.pull(Request(image.by_digest))
    assert (by_digest.repo_digest, by_digest.image_id) == (image.by_digest, pulled.image_id)
    # S1-19, though nothing is remembered of the first conversion: what is here is looked into anew.
    assert [kind for kind in kinds(registry) if kind.endswith("blob")].count("GET blob") == 2
    assert puller.collect().blobs == 0  # S1-22
    assert puller.check() == []


def test_a_schema_1_image_that_cannot_be_unpacked_has_no_record(
    registry: Registry, tmp_path: Path
) -> None:
    """S1-21"""
    refused(noting(Refusing, tmp_path), registry.add(a_schema1_image()), LayerError)


def test_an_artifact_in_an_index_is_no_image(registry: Registry, puller: Puller) -> None:
    """IDX-21: an entry without a platform may be chosen, and what it leads to is looked at."""

    def without_platform(index: dict[str, Any]) -> None:
        del index["manifests"][0]["platform"]

    sbom = an_artifact("application/vnd.example.sbom.v1", [a_document("{}", "text/plain")])
    refused(puller, registry.add(an_index(sbom, edit=without_platform)), UnsupportedMediaType)


def test_a_moved_tag_is_followed(registry: Registry, puller: Puller) -> None:
    first = pull(puller, registry.add(an_image(salt="one")))
    image = registry.add(an_image(salt="two"))
    second = pull(puller, image)
    assert second.image_id != first.image_id
    assert puller.status(image.reference).target.digest == second.digest  # type: ignore[union-attr]
    assert puller.status(first.image_id) is not None  # IMG-08


def test_content_that_is_here_is_not_fetched_again(registry: Registry, puller: Puller) -> None:
    shared = Layer((File("shared", "x"),))
    pull(puller, registry.add(an_image([shared]), tag="a"))
    image = registry.add(an_image([shared, Layer((File("own", "y"),))]), tag="b")
    pull(puller, image)
    shared_now = image.layers[0]
    assert len(registry.requests(blob(shared_now))) == 1  # BLOB-23


def test_a_pull_without_unpacking(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image())
    assert pull(puller, image, unpack=False).rootfs is None
    assert puller.status(image.reference) is not None


def test_two_pulls_at_a_time(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=3))
    pulled: list[Pulled] = []
    threads = [
        threading.Thread(target=lambda: pulled.append(pull(puller, image))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({each.image_id for each in pulled}) == 1
    assert len(pulled) == 3  # CONC-08
    assert all(len(registry.requests(blob(layer))) == 1 for layer in image.layers)  # BLOB-25


def test_what_several_pulls_want_is_unpacked_by_one(registry: Registry, tmp_path: Path) -> None:
    """CONC-07: the others wait; where it fails, the next one does it."""
    image = registry.add(an_image(layers=2))
    begun: list[bool] = []

    class Counting(LayerApplier):
        def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
            begun.append(True)
            if len(begun) == 1:
                raise LayerError("not this time")
            return super().apply(blob, media_type, diff_id)

    puller = noting(Counting, tmp_path)
    failed: list[PullError] = []

    def work() -> None:
        try:
            pull(puller, image)
        except LayerError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(failed), len(begun)) == (1, 3)


def test_two_tags_of_one_image_at_a_time(registry: Registry, puller: Puller) -> None:
    """CONC-09"""
    spec = an_image(layers=2)
    tags = [registry.add(spec, tag=tag) for tag in ("a", "b")]
    threads = [threading.Thread(target=pull, args=[puller, image]) for image in tags]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {puller.status(image.reference).target.digest for image in tags} == {tags[0].digest}  # type: ignore[union-attr]


# Names, auth, TLS


def test_what_is_wrong_is_told_in_one_order_and_nobody_is_asked(
    registry: Registry, tmp_path: Path
) -> None:
    """The name (REF-18), then the runtime's snapshotter (MISC-05), then the hosts (Q-17)."""
    config = Config(mirrors={registry.host: ["http://[bad"]}, trust_env=False)
    good = f"{registry.host}/app/web:v1"
    for image, runtime, said in (
        (f"{good}:x", "none", "failed to parse image reference"),
        (good, "none", "no runtime is called 'none'"),
        (good, "", "can't parse endpoint"),
    ):
        with pytest.raises(PullError, match=said):
            Puller(config, tmp_path / "root").pull(Request(image, runtime_handler=runtime))
    assert registry.requests() == []


def test_a_name_that_is_none_asks_nobody(registry: Registry, puller: Puller) -> None:
    with pytest.raises(InvalidReference):
        puller.pull(Request(f"{registry.host}/Upper:v1"))
    assert registry.requests() == []


def test_a_token_is_fetched_with_the_credentials(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=3))
    registry.auth = bearer(user="bob")
    known = registry.auth.credentials
    assert known is not None
    auth = AuthConfig(username=known.username, password=known.password)
    assert pull(puller, image, auth=auth).image_id
    assert kinds(registry).count("POST token") == 1  # AUTH-28: manifest and blobs share it
    refused(puller, registry.add(an_image(), tag="x"), AuthorizationFailed)
    wrong = replace(auth, password="wrong-password")
    error = refused(puller, registry.add(an_image(), tag="y"), AuthorizationFailed, auth=wrong)
    assert "wrong-password" not in str(error)


def test_basic_authentication(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image())
    registry.auth = basic("bob")
    known = registry.auth.credentials
    assert known is not None
    auth = AuthConfig(username=known.username, password=known.password)
    assert pull(puller, image, auth=auth).image_id


@pytest.mark.parametrize("fault", ["expired", "not_yet_valid", "wrong_host", "unknown_ca"])
def test_a_server_that_cannot_be_trusted_is_not_asked(
    registries: Registries, tmp_path: Path, fault: str
) -> None:
    registry = registries.registry()
    registry.tls = registries.certificates.valid()
    image = registry.add(an_image())
    trust = TLSConfig(ca_file=Path(registries.certificates.ca_file(tmp_path)))
    puller = Puller(Config(tls=trust, trust_env=False), tmp_path / "root")
    assert pull(puller, image, platform=AMD64).image_id

    registry.tls = getattr(registries.certificates, fault)()
    asked = len(registry.requests())
    with pytest.raises(TLSError):
        puller.pull(Request(f"{registry.host}/app/web:v1"))
    assert len(registry.requests()) == asked  # TLS-01, TLS-02


# Faults of content


def corrupt(registry: Registry, image: Image) -> None:
    registry.on(blob(image.layers[1])).always().flip_byte(20)


def cut_short(registry: Registry, image: Image) -> None:
    registry.on(blob(image.layers[1])).always().truncate_after(0)


def missing(registry: Registry, image: Image) -> None:
    registry.on(blob(image.layers[1])).always().status(404)


def too_long(registry: Registry, image: Image) -> None:
    registry.on(blob(image.layers[1])).always().append(10)


def no_type(registry: Registry, image: Image) -> None:
    registry.on(manifest(image)).always().content_type(None)


def empty(registry: Registry, image: Image) -> None:
    registry.on(manifest(image)).always().body(b"", "application/vnd.oci.image.manifest.v1+json")


def only_its_head(registry: Registry, image: Image) -> None:
    registry.on(manifest(image), method="GET").always().status(404)


def wrong_type(registry: Registry, image: Image) -> None:
    registry.on(manifest(image)).always().content_type("application/vnd.oci.image.index.v1+json")


def bad_config(registry: Registry, image: Image) -> None:
    registry.on(config(image)).always().flip_byte(5)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (corrupt, DigestMismatch),
        (cut_short, PullError),
        (missing, NotFound),
        (too_long, SizeMismatch),
        (no_type, UnsupportedMediaType),
        (empty, PullError),  # MAN-23
        (only_its_head, NotFound),  # MAN-27
        (wrong_type, AmbiguousManifest),
        (bad_config, DigestMismatch),
    ],
)
def test_a_lie_about_content_is_refused_and_forgotten(
    registry: Registry,
    puller: Puller,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Registry, Image], None],
    kind: type[PullError],
) -> None:
    image = registry.add(an_image(layers=2))
    fault(registry, image)

    refused(puller, image, kind)

    assert list((puller.root / "snapshots").iterdir()) == []
    registry.rules.clear()
    assert pull(puller, image).image_id == image.config.digest  # BLOB-28


def test_an_image_that_was_there_stays_when_the_next_is_refused(
    registry: Registry, puller: Puller
) -> None:
    before = pull(puller, registry.add(an_image(salt="one")))
    image = registry.add(an_image(layers=2, salt="two"))
    corrupt(registry, image)
    with pytest.raises(DigestMismatch):
        pull(puller, image)
    assert puller.status(image.reference).target.digest == before.digest  # type: ignore[union-attr]


def test_a_layer_with_another_diff_id_is_refused(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image([Layer((File("a", "1"),))], diff_ids=("sha256:" + "0" * 64,)))
    refused(puller, image, DiffIDMismatch)
    assert list((puller.root / "snapshots").iterdir()) == []  # CONC-12


def test_broken_downloads_are_resumed(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[0])).first(1).truncate_after(100)
    registry.on(blob(image.layers[1])).first(1).reset_after(100)
    pull(puller, image)
    asked = [dict(each.request_headers).get("Range") for each in registry.requests()]
    assert len([each for each in asked if each]) == 2  # BLOB-05, BLOB-12


def test_a_redirect_to_another_host_takes_no_credentials_along(
    registries: Registries, registry: Registry, puller: Puller
) -> None:
    image = registry.add(an_image(layers=2))
    cdn = registries.registry("cdn")
    registry.auth = basic("bob")
    known = registry.auth.credentials
    assert known is not None
    registry.on(blob(image.layers[0])).always().redirect(to=cdn)

    pull(puller, image, auth=AuthConfig(username=known.username, password=known.password))

    (redirected,) = cdn.requests()
    assert "authorization" not in {name.lower() for name, _ in redirected.request_headers}
    assert redirected.secrets == []


def test_a_registry_that_is_busy_is_asked_again(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=1))
    registry.on(blob(image.layers[0])).first(1).too_many_requests(retry_after=0)
    assert pull(puller, image).image_id  # NET-09


# Stopping


def stalling(tmp_path: Path, **options: float) -> Puller:
    timeouts = {"progress_timeout": 0.2, "progress_interval_floor": 0.02, **options}
    return Puller(Config(platform=AMD64, trust_env=False, **timeouts), tmp_path / "root")  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["body", "headers", "manifest", "token"])
def test_a_stall_anywhere_ends_with_the_progress_timeout(
    registry: Registry, tmp_path: Path, where: str
) -> None:
    from fakeregistry import token

    image = registry.add(an_image(layers=2))
    if where == "body":
        registry.on(blob(image.layers[1])).always().stall_after(10)  # PROG-01
    elif where == "headers":
        registry.on(blob(image.layers[1])).always().delay_headers(None)  # PROG-08
    elif where == "manifest":
        registry.on(manifest(image)).always().delay_headers(None)  # PROG-10
    else:
        registry.auth = bearer()
        registry.on(token()).always().delay_headers(None)  # PROG-09
    started = time.monotonic()

    error = refused(stalling(tmp_path), image, ProgressTimeout)

    assert "no progress in 0.2s" in str(error)  # CANC-08; PROG-20: before any byte too
    assert time.monotonic() - started < 10


def test_the_whole_pull_can_have_a_limit(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image(layers=1))
    registry.on(blob(image.layers[0])).always().stall_after(10)
    error = refused(stalling(tmp_path, progress_timeout=60, timeout=0.2), image, Cancelled)
    assert "timeout of 0.2s" in str(error)  # CANC-04


def test_a_pull_can_be_cancelled_and_begun_anew(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=2))
    stall = registry.on(blob(image.layers[1])).always().stall_after(10)
    switch = Cancellation()
    threads = threading.active_count()

    def cancel() -> None:
        assert stall.wait_fired(10)
        switch.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled):
        puller.pull(Request(image.reference), cancellation=switch)  # CANC-01

    canceller.join(10)
    assert puller.status(image.reference) is None  # CANC-02
    registry.rules.clear()
    assert pull(puller, image).image_id  # CANC-03
    assert threading.active_count() <= threads + 4  # only the registry's own threads are new


def test_a_pull_that_is_cancelled_in_unpacking_leaves_no_folder(
    registry: Registry, tmp_path: Path
) -> None:
    """CANC-06"""
    switch = Cancellation()

    class Cancelling(LayerApplier):
        def apply_entry(self, entry: Entry, body: Iterator[memoryview]) -> None:
            super().apply_entry(entry, body)
            switch.cancel()

    puller = noting(Cancelling, tmp_path)
    with pytest.raises(Cancelled):
        puller.pull(Request(registry.add(an_image()).reference), cancellation=switch)
    assert list((puller.root / "snapshots").iterdir()) == []


def test_one_failure_stops_the_other_downloads(registry: Registry, puller: Puller) -> None:
    image = registry.add(an_image(layers=2))
    stall = registry.on(blob(image.layers[0])).always().stall_after(10)
    registry.on(blob(image.layers[1])).always().status(404)
    started = time.monotonic()
    refused(puller, image, NotFound)  # BLOB-43
    assert time.monotonic() - started < 10
    assert stall.fired <= 1


def test_no_more_downloads_at_a_time_than_allowed(registry: Registry, tmp_path: Path) -> None:
    image = registry.add(an_image(layers=6))
    for layer in image.layers:
        registry.on(blob(layer)).always().delay_headers(0.05)
    puller = Puller(
        Config(platform=AMD64, trust_env=False, max_concurrent_downloads=2), tmp_path / "root"
    )
    pull(puller, image)
    spans = [
        (exchange.times.opened, exchange.times.ended)
        for layer in image.layers
        for exchange in registry.requests(blob(layer))
    ]
    most = max(sum(a <= start < b for a, b in spans) for start, _ in spans)
    assert most <= 2  # CONC-01


def test_the_limit_is_each_pulls_own(registry: Registry, tmp_path: Path) -> None:
    """CONC-02: another image isn't kept waiting by one that stalls."""
    images = [registry.add(an_image(layers=1, salt=name), tag=name) for name in "ab"]
    held = [registry.on(blob(image.layers[0])).always().stall_after(10) for image in images]
    puller = Puller(
        Config(platform=AMD64, trust_env=False, max_concurrent_downloads=1), tmp_path / "root"
    )
    threads = [threading.Thread(target=pull, args=[puller, image]) for image in images]
    for thread in threads:
        thread.start()
    assert all(rule.wait_holding() for rule in held)
    for rule in held:
        rule.release()
    for thread in threads:
        thread.join(20)
    assert all(puller.status(image.reference) for image in images)


def test_layers_are_applied_from_below_while_others_come(
    registry: Registry, tmp_path: Path
) -> None:
    """CONC-05, and never two at a time (CONC-11); what came first changes nothing (IMG-19)."""
    spec = an_image(layers=3)
    image, diff_ids = registry.add(spec), json.loads(spec.config)["rootfs"]["diff_ids"]
    held = registry.on(blob(image.layers[1])).stall_after(10)
    done: SimpleQueue[str] = SimpleQueue()

    class Applying(LayerApplier):
        def apply(self, blob: BinaryIO | Path, media_type: str, diff_id: str | None = None) -> str:
            done.put("began")
            found = super().apply(blob, media_type, diff_id)
            done.put(found)
            return found

    class Fetching(Fetcher):
        def fetch(self, descriptor: Descriptor) -> None:
            super().fetch(descriptor)
            if descriptor.digest == image.layers[2].digest:
                done.put("the last one is here")

    puller = noting(Applying, tmp_path)
    puller.fetcher = Fetching
    pulling = threading.Thread(target=pull, args=[puller, image])
    pulling.start()
    before = [done.get(timeout=10) for _ in range(3)]
    assert sorted(before) == sorted(["began", diff_ids[0], "the last one is here"])
    held.release()
    after = [done.get(timeout=10) for _ in range(4)]
    assert after == ["began", diff_ids[1], "began", diff_ids[2]]
    pulling.join(10)
    assert puller.status(image.image_id) is not None


# What is here


def test_an_image_can_be_unpacked_exported_and_removed(
    registry: Registry, puller: Puller, tmp_path: Path
) -> None:
    image = registry.add(an_image([Layer((File("x", "1"),))]))
    pulled = pull(puller, image, unpack=False)

    puller.unpack(image.reference, tmp_path / "files")
    layout = puller.export_layout(image.reference, tmp_path / "layout")

    assert (tmp_path / "files/x").read_text() == "1"
    index = json.loads((layout / "index.json").read_text())
    assert index["manifests"][0]["digest"] == image.digest
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert len(list((layout / "blobs/sha256").iterdir())) == 3
    assert puller.status(pulled.image_id.removeprefix("sha256:")) is not None
    assert puller.remove(image.reference)
    assert not puller.remove(image.reference)
    with pytest.raises(StoreError, match="no image"):
        puller.unpack(image.reference, tmp_path / "again")
