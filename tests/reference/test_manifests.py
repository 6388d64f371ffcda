"""Documents: JSON that everybody reads alike."""

from __future__ import annotations

import codecs

import pytest

from reference.compat import Quirks
from reference.descriptors import OCI_INDEX, Descriptor
from reference.errors import AmbiguousManifest, ManifestError
from reference.manifests import Manifests

TEXT = '{"schemaVersion": 2}'


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-32-be"),
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": NaN}',
        b'{"a": ' + b"[" * 10_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_others_would_read_otherwise_is_refused(data: bytes) -> None:
    """MAN-18: Go's reader takes UTF-8 alone, without a mark before it."""
    assert Manifests().parse(TEXT.encode(), "x") == {"schemaVersion": 2}
    with pytest.raises(ManifestError, match="is not JSON"):
        Manifests().parse(data, "x")


@pytest.mark.parametrize("inside", ["[]", "{}", "1"])
def test_an_inner_type_of_any_kind_is_another_type(inside: str) -> None:
    """MAN-17"""
    data = f'{{"mediaType": {inside}, "manifests": []}}'.encode()
    manifests = Manifests()
    with pytest.raises(AmbiguousManifest):
        manifests.read(data, Descriptor.of(OCI_INDEX, data))
    manifests.quirks = Quirks.containerd()
    manifests.read(data, Descriptor.of(OCI_INDEX, data))
