"""Layers over layers: whiteouts, opaque whiteouts, and entries in place of others."""

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry.content import (
    Directory,
    File,
    OpaqueWhiteout,
    RawEntry,
    Symlink,
    Whiteout,
    an_image,
    of_entries,
)

ROOTFS = {Evidence.ROOTFS}


@case("unpack/later-layer-wins", covers="LAYER-11", needs=ROOTFS)
def later_layer_wins(registry: WorldRegistry, puller: CasePuller) -> None:
    """Of a file that three layers have, the topmost one's content, mode and time are seen."""
    layers = [
        of_entries(File("same", f"layer {n}\n", mode=mode, mtime=n), File(f"own-{n}", "x\n"))
        for n, mode in enumerate((0o600, 0o755, 0o640))
    ]
    image = registry.add(an_image(layers))

    assert puller.pull(image).succeeded


@case("unpack/whiteout-removes-what-is-below", covers="LAYER-12", needs=ROOTFS)
def whiteout(registry: WorldRegistry, puller: CasePuller) -> None:
    """Whiteouts remove a file, a file in a directory and a whole tree, and can't be seen."""
    below = of_entries(
        File("kept", "x\n"),
        File("gone", "x\n"),
        Directory("d"),
        File("d/kept", "x\n"),
        File("d/gone", "x\n"),
        Directory("tree"),
        File("tree/deep/inside", "x\n"),
    )
    above = of_entries(Whiteout("gone"), Whiteout("d/gone"), Whiteout("tree"))
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


@case("unpack/whiteout-of-nothing", covers="LAYER-15", needs=ROOTFS)
def whiteout_of_nothing(registry: WorldRegistry, puller: CasePuller) -> None:
    """A whiteout of a name that no layer has is no error."""
    image = registry.add(
        an_image([of_entries(Directory("d")), of_entries(Whiteout("d/nothing"), Whiteout("none"))])
    )

    assert puller.pull(image).succeeded


@case("unpack/whiteout-before-its-own-file", covers="LAYER-14", needs=ROOTFS)
def whiteout_before_file(registry: WorldRegistry, puller: CasePuller) -> None:
    """A whiteout removes the lower file, and the file that follows it in its layer is there."""
    below = of_entries(File("d/file", "old\n", mode=0o600), File("d/other", "x\n"))
    above = of_entries(Whiteout("d/file"), File("d/file", "new\n"))
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


@case("unpack/whiteout-after-its-own-file", covers="LAYER-14b", needs=ROOTFS)
def whiteout_after_file(registry: WorldRegistry, puller: CasePuller) -> None:
    """A whiteout that follows a file of that name in its own layer leaves that file alone."""
    below = of_entries(File("d/file", "old\n"), File("d/other", "x\n"))
    above = of_entries(File("d/file", "new\n"), Whiteout("d/file"))
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


@case("unpack/directory-made-anew-is-empty", covers="LAYER-14c", needs=ROOTFS)
def directory_made_anew(registry: WorldRegistry, puller: CasePuller) -> None:
    """A directory that a layer removes by a whiteout, and makes again, has nothing from below."""
    below = of_entries(Directory("d"), File("d/below", "x\n"), File("other", "x\n"))
    above = of_entries(Whiteout("d"), Directory("d"), File("d/above", "x\n"))
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


_BELOW = of_entries(
    Directory("d"),
    File("d/file", "below\n"),
    Directory("d/sub"),
    File("d/sub/below", "below\n"),
    File("other", "x\n"),
)


@case("unpack/opaque-whiteout-first", covers="LAYER-13", needs=ROOTFS)
def opaque_first(registry: WorldRegistry, puller: CasePuller) -> None:
    """An opaque whiteout before its siblings hides all that lower layers have beside it."""
    above = of_entries(Directory("d"), OpaqueWhiteout("d"), File("d/file", "above\n"))
    image = registry.add(an_image([_BELOW, above]))

    assert puller.pull(image).succeeded


@case("unpack/opaque-whiteout-last", covers="LAYER-13", needs=ROOTFS)
def opaque_last(registry: WorldRegistry, puller: CasePuller) -> None:
    """An opaque whiteout behind its siblings hides what lower layers have, and none of them."""
    above = of_entries(
        Directory("d"),
        File("d/file", "above\n"),
        Directory("d/sub"),
        File("d/sub/above", "above\n"),
        OpaqueWhiteout("d"),
    )
    image = registry.add(an_image([_BELOW, above]))

    assert puller.pull(image).succeeded


@case("unpack/opaque-whiteout-spares-implied-directories", covers="LAYER-13", needs=ROOTFS)
def opaque_implied(registry: WorldRegistry, puller: CasePuller) -> None:
    """An opaque whiteout spares its own layer's files in directories that no entry describes."""
    above = of_entries(File("d/new/above", "above\n"), OpaqueWhiteout("d"))
    image = registry.add(an_image([_BELOW, above]))

    assert puller.pull(image).succeeded


@case("unpack/whiteout-named-parent", covers="LAYER-16", needs=ROOTFS, either=True)
def whiteout_of_parent(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """The whiteout `d/.wh...` names the parent of `d`, and removes nothing."""
    name = world.lie("a whiteout names its folder's parent", "d/.wh...", truth="d/.wh.none")
    below = of_entries(File("kept", "x\n"), Directory("d"), File("d/kept", "x\n"))
    image = registry.add(an_image([below, of_entries(RawEntry(name))]))

    pulled = puller.pull(image)

    assert pulled.refused or {"kept", "d/kept"} <= puller.rootfs(image).keys()


@case("unpack/whiteout-without-a-name", covers="LAYER-16", needs=ROOTFS, either=True)
def whiteout_without_name(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """The whiteouts `d/.wh.` and `d/.wh..` name `d` itself at the most, and remove nothing."""
    names = world.lie(
        "two whiteouts have no name to remove", ["d/.wh.", "d/.wh.."], truth=["d/.wh.none"]
    )
    below = of_entries(File("kept", "x\n"), Directory("d"), File("d/kept", "x\n"))
    image = registry.add(an_image([below, of_entries(*map(RawEntry, names))]))

    pulled = puller.pull(image)

    assert pulled.refused or {"kept", "d/kept"} <= puller.rootfs(image).keys()


@case("unpack/aufs-names-are-hidden", covers="LAYER-37", needs=ROOTFS)
def aufs_names(registry: WorldRegistry, puller: CasePuller) -> None:
    """What AUFS kept for itself under names such as `.wh..wh.plnk` can't be seen."""
    image = registry.add(
        an_image(
            [
                of_entries(
                    File(".wh..wh.aufs"),
                    Directory(".wh..wh.plnk", mode=0o700),
                    File(".wh..wh.plnk/1.2", "x\n"),
                    File("seen", "x\n"),
                )
            ]
        )
    )

    assert puller.pull(image).succeeded


@case("unpack/kinds-replace-each-other", covers="LAYER-22", needs=ROOTFS)
def kinds_replace(registry: WorldRegistry, puller: CasePuller) -> None:
    """A directory takes a file's place, and a file a directory's with all that is in it."""
    below = of_entries(File("one", "x\n"), Directory("two"), File("two/inside", "x\n"))
    above = of_entries(Directory("one"), File("one/inside", "x\n"), File("two", "x\n"))
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


@case("unpack/directories-merge", covers="LAYER-22", needs=ROOTFS)
def directories_merge(registry: WorldRegistry, puller: CasePuller) -> None:
    """A directory over a directory keeps what is in both, and has the upper one's attributes."""
    below = of_entries(Directory("d", mode=0o755, uid=10), File("d/below", "x\n"))
    above = of_entries(Directory("d", mode=0o1770, gid=20, mtime=7), File("d/above", "x\n"))
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


@case("unpack/links-are-replaced-not-followed", covers="LAYER-23", needs=ROOTFS)
def links_are_replaced(registry: WorldRegistry, puller: CasePuller) -> None:
    """Directory and file take a symbolic link's place, and a link a directory's; none follows."""
    below = of_entries(
        Directory("target"),
        File("target/kept", "x\n"),
        Symlink("to-directory", "target"),
        Symlink("to-file", "target/kept"),
        Directory("directory"),
        File("directory/gone", "x\n"),
    )
    above = of_entries(
        Directory("to-directory", mode=0o700),
        File("to-directory/new", "x\n"),
        File("to-file", "new\n"),
        Symlink("directory", "target"),
    )
    image = registry.add(an_image([below, above]))

    assert puller.pull(image).succeeded


# Without ROOTFS among its needs: no golden tree says which of both is right.
@case("unpack/file-below-a-lower-link", covers="LAYER-19b")
def file_below_link(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """A file below a name that is a symbolic link in a lower layer, with no entry for that name."""
    below = of_entries(Directory("usr/lib"), File("usr/lib/low", "x\n"), Symlink("lib", "usr/lib"))
    image = registry.add(an_image([below, of_entries(File("lib/high", "x\n"))]))

    pulled = puller.pull(image)

    if not pulled.succeeded:
        return observed("file below a lower link", "refused")
    tree = puller.rootfs(image)
    link = "the link stays" if tree["lib"].type == "symlink" else "a directory replaces the link"
    return observed("file below a lower link", link)
