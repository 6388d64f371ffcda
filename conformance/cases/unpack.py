"""Unpacking: what a layer's compression, its tar and the image's config ask for."""

from conformance.case import Observed, case, observed
from conformance.contract import Evidence
from conformance.pulls import CasePuller
from conformance.world import World, WorldRegistry
from fakeregistry.content import (
    Device,
    Directory,
    Fifo,
    File,
    Hardlink,
    Layer,
    Symlink,
    a_layer,
    an_image,
    of_entries,
)
from fakeregistry.content.mediatypes import OCI_LAYER

ROOTFS = {Evidence.ROOTFS}
_NOBODYS = "application/vnd.example.layer.v1"


@case("unpack/plain-and-gzip-layers", covers=("LAYER-01", "LAYER-11"), needs=ROOTFS)
def plain_and_gzip(registry: WorldRegistry, puller: CasePuller) -> None:
    """A plain and a gzip layer are unpacked in order, and all that is in them arrives."""
    image = registry.add(an_image([a_layer(0, compression="none"), a_layer(1, compression="gzip")]))

    assert puller.pull(image).succeeded


@case("unpack/zstd-layer", covers="LAYER-01b", needs=ROOTFS)
def zstd(registry: WorldRegistry, puller: CasePuller) -> None:
    """A zstd layer of two frames is unpacked to its end."""
    image = registry.add(an_image([a_layer(0), a_layer(1, compression="zstd", members=2)]))

    assert puller.pull(image).succeeded


@case("unpack/docker-layer-types", covers="LAYER-02", needs=ROOTFS)
def docker_types(registry: WorldRegistry, puller: CasePuller) -> None:
    """Layers that carry Docker's media types, plain and gzip, are unpacked as OCI's are."""
    layers = [a_layer(0, compression="none"), a_layer(1, compression="gzip")]
    image = registry.add(an_image(layers, docker=True))

    assert puller.pull(image).succeeded


@case("unpack/gzip-of-several-members", covers="LAYER-04", needs=ROOTFS)
def several_members(registry: WorldRegistry, puller: CasePuller) -> None:
    """A gzip layer of three members is read to the end of the third."""
    image = registry.add(an_image([a_layer(0, members=3)]))

    assert puller.pull(image).succeeded


@case("unpack/padding-counts-for-the-diff-id", covers="LAYER-05", needs=ROOTFS)
def padding(registry: WorldRegistry, puller: CasePuller) -> None:
    """Zeros behind the end of the archive, as GNU tar pads its records, belong to the diffID."""
    image = registry.add(an_image([a_layer(0, tar_trailing=bytes(1 << 20)), a_layer(1)]))

    assert puller.pull(image).succeeded


@case("unpack/truncated-gzip-is-refused", covers="LAYER-06")
def truncated_gzip(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer whose gzip stream ends in its middle is refused, though the blob's digest fits."""
    half = world.lie("the gzip stream has no second half", -1500, truth=None)
    image = registry.add(an_image([a_layer(0), a_layer(1, cut=half)]))

    assert puller.pull(image).refused


@case("unpack/truncated-tar-is-refused", covers="LAYER-06")
def truncated_tar(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A tar that ends in the middle of a file is refused, though digest and diffID fit."""
    whole = a_layer(1).salted(world.salt).tar
    tar = world.lie("the tar ends in the middle of a file", whole[:-3000], truth=whole)
    image = registry.add(an_image([a_layer(0), Layer(raw_tar=tar)]))

    assert puller.pull(image).refused


@case("unpack/swapped-diff-ids-are-refused", covers="LAYER-08")
def swapped_diff_ids(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """Layers that don't hash to the config's diffIDs are refused."""
    layers = [a_layer(n).salted(world.salt) for n in range(2)]
    swapped = tuple(layer.diff_id for layer in reversed(layers))
    diff_ids = world.lie("the config's two diffIDs are swapped", swapped, truth=None)
    image = registry.add(an_image(layers, diff_ids=diff_ids))

    assert puller.pull(image).refused


@case("unpack/missing-diff-id-is-refused", covers="LAYER-09")
def missing_diff_id(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """An image with more layers than its config has diffIDs is refused: none is left out."""
    counted = world.lie("the config has no diffID for the last layer", False, truth=True)
    image = registry.add(an_image([a_layer(0), a_layer(1, counted=counted)]))

    assert puller.pull(image).refused


@case("unpack/unknown-compression-is-refused", covers="LAYER-07")
def unknown_compression(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A layer in a compression that nobody here knows is refused; no image lacks it in silence."""
    packed = world.lie("the second layer is packed with xz", "xz", truth="gzip")
    image = registry.add(an_image([a_layer(0), a_layer(1, compression=packed)]))

    assert puller.pull(image).refused


@case("unpack/layer-of-unknown-type", covers="LAYER-10")
def layer_of_unknown_type(registry: WorldRegistry, puller: CasePuller) -> Observed:
    """What a layer of a type of nobody's comes to, beside one of a known type."""
    layers = [a_layer(0), a_layer(1, declared={"mediaType": _NOBODYS})]
    image = registry.add(an_image(layers))

    pulled = puller.pull(image)

    return observed("a layer of unknown type", "copied" if pulled.succeeded else "refused")


@case("unpack/unknown-layer-type-is-refused", covers="LAYER-07b")
def unknown_layer_type(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """An image whose layer has a type that nobody here can unpack isn't claimed to be there."""
    declared = world.lie(
        "the layer has a media type of nobody's",
        {"mediaType": _NOBODYS},
        truth={},
    )
    image = registry.add(an_image([a_layer(0, declared=declared)]))

    assert puller.pull(image).refused


@case("unpack/unknown-rootfs-type-is-refused", covers="LAYER-34")
def unknown_rootfs_type(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A config whose `rootfs.type` isn't 'layers' is refused."""
    kind = world.lie("the config's rootfs.type is 'foo'", "foo", truth="layers")
    image = registry.add(an_image(config_edit=lambda config: config["rootfs"].update(type=kind)))

    assert puller.pull(image).refused


@case("unpack/config-that-is-no-json-is-refused", covers="LAYER-35")
def config_without_json(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A config that breaks off in the middle of its JSON is refused."""
    broken = world.lie("the config is no JSON", b'{"architecture": "amd64", "roo', truth=None)
    image = registry.add(an_image(raw_config=broken))

    assert puller.pull(image).refused


@case("unpack/modes-owners-and-times", covers="LAYER-25", needs=ROOTFS)
def attributes(registry: WorldRegistry, puller: CasePuller) -> None:
    """Modes with set-id and sticky bits, owners and times arrive, those of directories as well."""
    image = registry.add(
        an_image(
            [
                of_entries(
                    Directory("shared", mode=0o3775, uid=10, gid=20, mtime=1_111_111_111),
                    File("shared/tool", "a\n", mode=0o6755, uid=10, gid=20, mtime=1_222_222_222),
                    File("shared/secret", "b\n", mode=0, uid=30, mtime=1_000_000_000),
                    Symlink("shared/link", "tool", uid=10, gid=20, mtime=1_333_333_333),
                    Directory("closed", mode=0o500, mtime=1_444_444_444),
                    File("closed/inside", "c\n", mode=0o440),
                )
            ]
        )
    )

    assert puller.pull(image).succeeded


@case("unpack/extended-attributes", covers="LAYER-26", needs=ROOTFS)
def extended_attributes(registry: WorldRegistry, puller: CasePuller) -> None:
    """Extended attributes of files and directories arrive, byte for byte."""
    attributes = {"user.pullproof": b"a\0b", "user.empty.not": b"=\n"}
    image = registry.add(
        an_image(
            [of_entries(File("file", "x\n", xattrs=attributes), Directory("d", xattrs=attributes))]
        )
    )

    assert puller.pull(image).succeeded


@case("unpack/fifos-and-devices", covers="LAYER-27", needs=ROOTFS)
def special_files(registry: WorldRegistry, puller: CasePuller) -> None:
    """FIFOs and device nodes are made, with their numbers and modes."""
    image = registry.add(
        an_image([of_entries(Fifo("pipe", mode=0o622), Device("null", "char", 1, 3, mode=0o666))])
    )

    assert puller.pull(image).succeeded


@case("unpack/long-names", covers="LAYER-29", needs=ROOTFS)
def long_names(registry: WorldRegistry, puller: CasePuller) -> None:
    """Names of hundreds of bytes, not all of them ASCII, arrive in PAX and in GNU form."""
    layers = []
    for form in ("pax", "gnu"):
        folder = f"{form}/" + "/".join(letter * 60 for letter in "abcde")
        entries = (
            File(f"{folder}/naïve-{'n' * 120}", f"{form}\n"),
            Symlink(f"{form}/link", f"{folder}/naïve-{'n' * 120}"),
        )
        layers.append(Layer(entries=entries, form=form))
    image = registry.add(an_image(layers))

    assert puller.pull(image).succeeded


@case("unpack/hard-links", covers="LAYER-20b", needs=ROOTFS)
def hard_links(registry: WorldRegistry, puller: CasePuller) -> None:
    """Hard links are one file, also where the target is a symbolic link."""
    image = registry.add(
        an_image(
            [
                of_entries(
                    File("bin/tool", "tool\n", mode=0o755),
                    Symlink("bin/alias", "tool"),
                    Hardlink("second", "bin/tool", mode=0o755),
                    Hardlink("alias", "bin/alias"),
                )
            ]
        )
    )

    assert puller.pull(image).succeeded


@case("unpack/hard-link-to-nothing-is-refused", covers="LAYER-21")
def hard_link_to_nothing(world: World, registry: WorldRegistry, puller: CasePuller) -> None:
    """A hard link whose target is nowhere in the image is refused."""
    target = world.lie("a hard link's target is nowhere", "missing", truth="there")
    image = registry.add(an_image([of_entries(File("there", "x\n"), Hardlink("link", target))]))

    assert puller.pull(image).refused


@case("unpack/gzip-called-plain", covers="LAYER-03")
def gzip_called_plain(world: World, registry: WorldRegistry, puller: CasePuller) -> Observed:
    """A gzip layer whose media type says plain tar: some look at the bytes, some at the type."""
    declared = world.lie(
        "a gzip layer has the media type of a plain one", {"mediaType": OCI_LAYER}, truth={}
    )
    image = registry.add(an_image([a_layer(0, declared=declared)]))

    pulled = puller.pull(image)

    return observed("gzip called plain", "unpacked" if pulled.succeeded else "refused")
