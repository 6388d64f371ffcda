"""Layers that want out: names, links and whiteouts that lead to a canary beside the store.

Each aims at `World.outside` alone, which belongs to the case. To refuse the layer, and to keep all
of it inside of the root, are both right; what is asserted beside that is watched in every case.
"""

from pathlib import Path

from conformance.case import case
from conformance.contract import Evidence
from conformance.pulls import CasePuller, Pulled
from conformance.world import World, WorldRegistry
from fakeregistry.content import (
    Directory,
    Entry,
    File,
    Hardlink,
    OpaqueWhiteout,
    Symlink,
    Whiteout,
    an_image,
    of_entries,
)

ROOTFS = {Evidence.ROOTFS}
_LEVELS = 32
"""More folders than any root lies deep: further ``..`` stay at the file system's root."""
_AFTER = File("after", "unpacked after what is hostile\n")


def _up(path: Path) -> str:
    """`path` by a name that first climbs out of whatever root it is in."""
    return "../" * _LEVELS + str(path).lstrip("/")


def _refused_or_inside(pulled: Pulled, puller: CasePuller) -> bool:
    """Refused, or the whole layer is unpacked and holds no content from outside of the root."""
    if pulled.refused:
        return True
    assert pulled.image is not None
    tree = puller.rootfs(pulled.image)
    return "after" in tree and not any(b"canary" in node.preview for node in tree.values())


@case("unpack/dot-dot-names-stay-inside", covers="LAYER-18", needs=ROOTFS, either=True)
def dot_dot(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A file whose name climbs out by `..` is refused, or written inside of the root."""
    name = world.lie(
        "a file's name climbs out of the root", _up(world.outside / "canary"), truth="canary"
    )
    image = registry.add(an_image([of_entries(File(name, "escaped\n"), _AFTER)]))

    assert _refused_or_inside(puller.pull(image), puller)


@case("unpack/absolute-names-stay-inside", covers="LAYER-18", needs=ROOTFS, either=True)
def absolute(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A file with an absolute name is refused, or written inside of the root."""
    name = world.lie(
        "a file's name is absolute", str(world.outside / "etc/passwd"), truth="etc/passwd"
    )
    image = registry.add(an_image([of_entries(File(name, "escaped\n"), _AFTER)]))

    assert _refused_or_inside(puller.pull(image), puller)


def _entry(world: World, words: str, false: Entry, truth: Entry) -> Entry:
    """One entry that is a lie."""
    return world.lie(words, false, truth=truth)


def _through_link(
    world: World, registry: WorldRegistry, puller: CasePuller, target: str, words: str
) -> bool:
    """Make a link, write through it in the same layer and in the next; whether all stays inside."""
    link = _entry(world, words, Symlink("link", target), Directory("link"))
    same = of_entries(link, File("link/canary", "escaped\n"), File("link/new", "escaped\n"))
    image = registry.add(an_image([same, of_entries(File("link/etc/passwd", "escaped\n"), _AFTER)]))
    return _refused_or_inside(puller.pull(image), puller)


@case("unpack/absolute-link-is-no-way-out", covers="LAYER-19", needs=ROOTFS, either=True)
def absolute_link(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Files behind an absolute symbolic link are refused, or written inside of the root."""
    words = "a symbolic link names an absolute folder, and files lie behind it"
    assert _through_link(world, registry, puller, str(world.outside), words)


@case("unpack/climbing-link-is-no-way-out", covers="LAYER-19", needs=ROOTFS, either=True)
def climbing_link(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Files behind a symbolic link that climbs out are refused, or written inside of the root."""
    words = "a symbolic link climbs out of the root, and files lie behind it"
    assert _through_link(world, registry, puller, _up(world.outside), words)


@case("unpack/chained-links-are-no-way-out", covers="LAYER-19", needs=ROOTFS, either=True)
def chained_links(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Files behind a link to a link that climbs out are refused, or written inside of the root."""
    first = _entry(
        world,
        "a link to a link climbs out of the root, and a file lies behind it",
        Symlink("d/first", f"../{_up(world.outside)}"),
        Directory("d/first"),
    )
    layer = of_entries(
        Directory("d"), first, Symlink("second", "d/first"), File("second/canary", "escaped\n")
    )
    image = registry.add(an_image([layer, of_entries(_AFTER)]))

    assert _refused_or_inside(puller.pull(image), puller)


@case("unpack/link-over-a-directory-is-no-way-out", covers="LAYER-19", needs=ROOTFS, either=True)
def link_over_directory(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A directory that becomes a link in the middle of a layer leads no file out of the root."""
    second = _entry(
        world,
        "a directory is replaced by a link that leads out, and another file follows",
        Symlink("d", str(world.outside)),
        Directory("d"),
    )
    layer = of_entries(
        Directory("d"), File("d/inside", "x\n"), second, File("d/canary", "escaped\n"), _AFTER
    )
    image = registry.add(an_image([layer]))

    assert _refused_or_inside(puller.pull(image), puller)


@case("unpack/hard-link-is-no-way-out", covers="LAYER-20", needs=ROOTFS, either=True)
def hard_link(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A hard link whose target climbs out is refused, or finds nothing but what is inside."""
    target = world.lie(
        "a hard link's target climbs out of the root", _up(world.outside / "canary"), truth="there"
    )
    image = registry.add(
        an_image(
            [
                of_entries(
                    File("there", "x\n", mode=0o777), Hardlink("link", target, mode=0o777), _AFTER
                )
            ]
        )
    )

    assert _refused_or_inside(puller.pull(image), puller)


@case("unpack/hard-link-behind-a-link-is-no-way-out", covers="LAYER-20", needs=ROOTFS, either=True)
def hard_link_behind_link(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A hard link to a file behind a symbolic link that leads out doesn't reach that file."""
    link = _entry(
        world,
        "a hard link's target lies behind a symbolic link that leads out",
        Symlink("link", str(world.outside)),
        Symlink("link", "d"),
    )
    layer = of_entries(
        File("d/canary", "x\n", mode=0o777),
        link,
        Hardlink("stolen", "link/canary", mode=0o777),
        _AFTER,
    )
    image = registry.add(an_image([layer]))

    assert _refused_or_inside(puller.pull(image), puller)


@case("unpack/whiteout-behind-a-link-is-no-way-out", covers="LAYER-17", needs=ROOTFS, either=True)
def whiteout_behind_link(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Whiteouts behind a symbolic link that leads out remove nothing there."""
    below: list[Entry] = world.lie(
        "whiteouts lie behind a symbolic link that leads out",
        [Symlink("link", str(world.outside))],
        truth=[Directory("link"), File("link/canary", "x\n"), Directory("link/etc")],
    )
    above = of_entries(Whiteout("link/canary"), OpaqueWhiteout("link/etc"), _AFTER)
    image = registry.add(an_image([of_entries(*below), above]))

    assert _refused_or_inside(puller.pull(image), puller)
