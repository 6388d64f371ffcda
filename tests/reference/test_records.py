"""The records that pulls leave: which names, with what target and labels, and who else may add."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeregistry import Registries, Registry, an_image, an_index, blob, config
from reference.config import Config, Request
from reference.errors import PullError
from reference.images import MANAGED, PINNED, Image
from reference.platforms import Platform
from reference.pull import Puller
from reference.settings import load_config
from reference.store import Store

MACHINE = str(Platform.here())


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("records") as registries:
        yield registries.registry()


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(Config(trust_env=False), tmp_path / "store")


def by_name(puller: Puller) -> dict[str, Image]:
    return {record.name: record for record in puller.records.list()}


def test_a_tag_leaves_three_records_of_what_it_resolved_to(
    registry: Registry, puller: Puller
) -> None:
    """IMG-01, IMG-02, IMG-04: the index is the target, the config's digest the id."""
    image = an_image(1, platform=MACHINE)
    index = registry.add(an_index(image, an_image(1, platform="linux/s390x")))
    pulled = puller.pull(Request(index.reference))
    assert pulled.image_id == image.image_id
    by_digest = f"{index.name}@{index.digest}"
    found = by_name(puller)
    assert found.keys() == {image.image_id, index.reference, by_digest}
    assert {record.target.digest for record in found.values()} == {index.digest}
    assert {tuple(record.labels.items()) for record in found.values()} == {tuple(MANAGED.items())}
    # IMG-20: what was recorded by digest can be pulled so, and is the same image.
    assert puller.pull(Request(by_digest)).image_id == image.image_id


def test_a_digest_leaves_two_records(registry: Registry, puller: Puller) -> None:
    """IMG-03."""
    image = registry.add(an_image(1, platform=MACHINE))
    name = f"{image.name}@{image.digest}"
    assert puller.pull(Request(name)).repo_digest == name
    assert by_name(puller).keys() == {name, image.image_id}


def test_a_tag_that_moved_leaves_the_old_image_its_other_names(
    registry: Registry, puller: Puller
) -> None:
    """IMG-08."""
    old = registry.add(an_image(1, platform=MACHINE), "app/web", tag="v1")
    puller.pull(Request(old.reference))
    new = registry.add(an_image(2, platform=MACHINE), "app/web", tag="v1")
    puller.pull(Request(new.reference))
    found = by_name(puller)
    assert found[new.reference].target.digest == new.digest
    assert found[old.image_id].target.digest == old.digest
    assert found[f"{old.name}@{old.digest}"].target.digest == old.digest
    assert len(found) == 5


def test_a_failed_pull_leaves_no_record(registry: Registry, puller: Puller) -> None:
    """IMG-09, also for the images where containerd records first: those that have no layers."""
    image = registry.add(an_image(2, platform=MACHINE))
    registry.on(blob(image.layers[1])).status(404)
    empty = registry.add(an_image(0, platform=MACHINE), "app/empty")
    registry.on(config(empty)).status(404)
    for name in (image.reference, empty.reference):
        with pytest.raises(PullError):
            puller.pull(Request(name))
    assert by_name(puller) == {}


def test_the_name_that_is_pulled_loses_foreign_labels_and_the_others_keep_them(
    registry: Registry, puller: Puller
) -> None:
    """IMG-05, IMG-06, IMG-07: and what doesn't change keeps its time."""
    image = registry.add(an_image(1, platform=MACHINE))
    puller.pull(Request(image.reference))
    target = by_name(puller)[image.image_id].target
    for name in (image.image_id, image.reference):
        puller.records.put(name, target, {"mine": "x"})
    before = by_name(puller)
    puller.pull(Request(image.reference))
    after = by_name(puller)
    assert after[image.reference].labels == MANAGED
    assert after[image.image_id].labels == {**MANAGED, "mine": "x"}
    assert after[image.image_id] == before[image.image_id]
    assert after[image.reference].created == before[image.reference].created


def test_a_pinned_image_says_so_under_each_name(registry: Registry, tmp_path: Path) -> None:
    """IMG-12: the normalised name has to be the configured one."""
    image = registry.add(an_image(1, platform=MACHINE))
    other = registry.add(an_image(2, platform=MACHINE), "app/other")
    file = tmp_path / "config.toml"
    plugin = 'plugins."io.containerd.cri.v1.images"'
    file.write_text(f'[{plugin}.pinned_images]\nsandbox = "{image.reference}"\n')
    puller = Puller(load_config(file, Config(trust_env=False)), tmp_path / "store")
    for name in (image.reference, other.reference):
        puller.pull(Request(name))
    pinned = {
        name for name, record in by_name(puller).items() if PINNED.items() <= record.labels.items()
    }
    assert pinned == {image.reference, f"{image.name}@{image.digest}", image.image_id}


def test_what_somebody_else_recorded_gets_an_id_and_the_label(
    registry: Registry, puller: Puller
) -> None:
    """IMG-11: the seed's updateImage; a record without content is left as it is."""
    image = registry.add(an_image(1, platform=MACHINE))
    puller.pull(Request(image.reference))
    target = by_name(puller)[image.reference].target
    for name in by_name(puller):
        puller.records.remove(name)
    puller.records.put("example.com/mine:1", target, {"mine": "x"})
    puller.records.put("example.com/gone:1", target.of(target.media_type, b"never stored"), {})
    puller.reload()
    found = by_name(puller)
    assert found.keys() == {"example.com/mine:1", "example.com/gone:1", image.image_id}
    assert found["example.com/mine:1"].labels == {**MANAGED, "mine": "x"}
    assert found[image.image_id].labels == MANAGED
    assert found["example.com/gone:1"].labels == {}
    puller.reload()
    assert by_name(puller) == found


def test_each_document_is_read_once_however_many_images_there_are(
    registry: Registry, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        image = registry.add(an_image(number + 1, platform=MACHINE), f"app/n{number}")
        puller.pull(Request(image.reference))
    puller.records.put("example.com/again:1", by_name(puller)[image.reference].target)
    read: list[str] = []
    store_read = Store.read

    def counted(store: Store, digest: str, limit: int | None = None) -> bytes:
        read.append(digest)
        return store_read(store, digest, limit)

    monkeypatch.setattr(Store, "read", counted)
    images = puller.held()
    assert len(images) == len(read) == 5
    assert len(images[image.image_id].records) == 4


def test_the_order_in_which_content_comes_doesnt_matter(registry: Registry, puller: Puller) -> None:
    """IMG-19: the lowest layer comes last, and the image is the same."""
    image = registry.add(an_image(3, platform=MACHINE))
    last = registry.on(blob(image.layers[2])).observe()
    registry.on(blob(image.layers[0])).wait_for(last)
    assert puller.pull(Request(image.reference)).image_id == image.image_id
    assert puller.check() == []
