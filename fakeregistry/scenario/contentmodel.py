"""What ``[[image]]`` and ``[[image.layer]]`` say: frozen values named as the keys of the file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fakeregistry.content import Empty, Schema1Form
from fakeregistry.content.mediatypes import Compression
from fakeregistry.content.tar import Format

TREES = ("every_kind", "deep_dirs", "many_files", "many_hardlinks", "many_opaques")
"""What a layer's tree can be, beside the ordinary one; all but the first ``count`` times."""
PARTS = ("index", "manifest", "config", "layers")
"""What of an image can be named by SHA-512."""


@dataclass(frozen=True)
class LayerPart:
    """``[[image.layer]]``: one layer. ``same_as``: the number of an earlier layer to repeat.

    What is in it: ``size`` of an ordinary one, or one of ``text`` (no tar), ``tree`` (with
    ``count``), ``empty``. ``evil``, ``bomb`` and ``window`` are lies: an honest world has a sound
    layer instead. ``lie`` holds more of what an honest world leaves out: ``size``, ``digest``,
    ``media_type``, ``labelled``, ``data`` (in the descriptor), ``diff_id`` (in the config),
    ``cut``, ``trailing``, ``trailing_zeros``, ``corrupt`` (of the blob), ``toc`` (of eStargz and
    zstd:chunked), ``encryption``.
    """

    size: int = 3 * 1024
    compression: Compression = "gzip"
    members: int = 1
    level: int | None = None
    window: int | None = None
    tar: Format = "pax"
    same_as: int | None = None
    text: str | None = None
    tree: str | None = None
    count: int = 100
    empty: Empty | None = None
    evil: str | None = None
    bomb: int | None = None
    media_type: str | None = None
    urls: tuple[str, ...] = ()
    foreign: bool = False
    served: bool = True
    data: bool = False
    sha512: bool = False
    encrypted: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    lie: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ConfigPart:
    """``[image.config]``: what an image's configuration says, and how the manifest names it.

    ``labels_size``: one more label of so many bytes. ``fields`` are put over the document,
    ``omit`` leaves some out.
    """

    type: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels_size: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    omit: tuple[str, ...] = ()
    data: bool = False


@dataclass(frozen=True)
class ImagePart:
    """``[[image]]``: content under ``name:tag`` at one or more registries.

    Several ``platforms`` make an index, as do ``nested``, ``wide`` and ``attestation``. ``form`` is
    ``oci``, ``docker`` or ``schema1``. ``tree``: two layers by the name of how one changes the
    other. ``subject``: the id of an earlier image. ``ns``: the upstream to which it belongs, at a
    mirror of several. ``lie``: ``set`` and ``null`` (values at places
    such as ``manifest/layers/0/size``), ``omit`` (places), ``diff_ids``, ``config_data``,
    ``manifest_size``.
    """

    id: str
    name: str = "app/web"
    tag: str = "v1"
    registry: tuple[str, ...] = ("origin",)
    layers: tuple[LayerPart, ...] = (LayerPart(), LayerPart())
    platforms: tuple[str, ...] = ()
    form: Literal["oci", "docker", "schema1"] = "oci"
    schema1: Schema1Form = "signed"
    empty_steps: int = 0
    repeated: bool = False
    tree: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    config: ConfigPart = ConfigPart()
    artifact: str | None = None
    subject: str | None = None
    media_type: bool = True
    manifest_size: int | None = None
    sha512: tuple[str, ...] = ()
    encrypted: bool = False
    attestation: Literal["first", "last"] | None = None
    attestation_served: bool = True
    nested: int = 0
    wide: int = 0
    ns: str = ""
    lie: Mapping[str, Any] = field(default_factory=dict, hash=False)
    line: int = field(default=0, compare=False)

    @property
    def is_index(self) -> bool:
        """Whether the tag names an index."""
        return bool(self.platforms or self.nested or self.wide or self.attestation)
