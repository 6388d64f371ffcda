import base64
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from reference import gojson
from reference.descriptors import SCHEMA1, SCHEMA1_SIGNED, Descriptor, digest_of
from reference.errors import DigestMismatch, ManifestError, PullError
from reference.schema1 import Schema1Converter, run_config, signed_payload
from reference.store import Store

TARS = {name: name.encode() * 700 for name in ("base", "top")}
BLOBS = {name: gzip.compress(tar, mtime=0) for name, tar in TARS.items()}
BLOBS["zeros"] = gzip.compress(bytes(1024), mtime=0)
BLOBS["plain"] = b"plain tar" * 100
DIGESTS = {name: digest_of(blob) for name, blob in BLOBS.items()}


def entry(**fields: Any) -> dict[str, str]:
    return {"v1Compatibility": json.dumps({"created": "2020-01-02T03:04:05.600Z", **fields})}


def document(*layers: tuple[str, dict[str, str]], **extra: Any) -> bytes:
    """An unsigned manifest; layers newest first, as (blob name, history)."""
    return json.dumps(
        {
            "schemaVersion": 1,
            "fsLayers": [{"blobSum": DIGESTS[name]} for name, _ in layers],
            "history": [history for _, history in layers],
            **extra,
        }
    ).encode()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(payload: bytes) -> bytes:
    """Put a (worthless) signature into a document, as libtrust does."""
    head, tail = payload[:-1], payload[-1:]
    protected = {"formatLength": len(head), "formatTail": base64url(tail)}
    signature = {
        "header": {},
        "signature": "x",
        "protected": base64url(json.dumps(protected).encode()),
    }
    return head + b',"signatures":[' + json.dumps(signature).encode() + b"]}"


class World:
    """A converter over a store, whose blobs come from `BLOBS`."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.fetched: list[str] = []
        self.converter = Schema1Converter(self.store, self.describe, self.fetch_all)

    def describe(self, media_type: str, digest: str) -> Descriptor:
        name = next(name for name, found in DIGESTS.items() if found == digest)
        return Descriptor(media_type, digest, len(BLOBS[name]))

    def fetch_all(self, descriptors: Iterable[Descriptor]) -> None:
        for descriptor in descriptors:
            name = next(n for n, found in DIGESTS.items() if found == descriptor.digest)
            self.fetched.append(name)
            self.store.put(descriptor.media_type, BLOBS[name])

    def convert(self, payload: bytes, *, signed: bool = False) -> tuple[Any, Any]:
        """Manifest and config."""
        body = sign(payload) if signed else payload
        kind = SCHEMA1_SIGNED if signed else SCHEMA1
        target = self.converter.convert(body, Descriptor(kind, digest_of(payload), len(body)))
        manifest = json.loads(self.store.read(target.digest))
        return manifest, json.loads(self.store.read(manifest["config"]["digest"]))


NEWEST = entry(
    architecture="amd64",
    os="linux",
    config={"Cmd": ["sh"], "Env": None, "Hostname": "ignored", "Labels": {"b": "1", "a": "2"}},
    container_config={"Cmd": ["/bin/sh", "-c", "x > y"]},
    author="me",
    id="ignored",
)


def test_layers_and_history_are_turned_round(tmp_path: Path) -> None:
    world = World(tmp_path)

    manifest, config = world.convert(
        document(("top", NEWEST), ("base", entry(comment="first"))), signed=True
    )

    assert [layer["digest"] for layer in manifest["layers"]] == [DIGESTS["base"], DIGESTS["top"]]
    assert manifest["layers"][0]["size"] == len(BLOBS["base"])
    assert manifest["layers"][0]["mediaType"].endswith("rootfs.diff.tar.gzip")
    assert config == {
        "created": "2020-01-02T03:04:05.6Z",
        "author": "me",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Labels": {"a": "2", "b": "1"}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(TARS["base"]), digest_of(TARS["top"])]},
        "history": [
            {"created": "2020-01-02T03:04:05.6Z", "comment": "first"},
            {
                "created": "2020-01-02T03:04:05.6Z",
                "created_by": "/bin/sh -c x > y",
                "author": "me",
            },
        ],
    }  # S1-11, S1-17, S1-18


def test_the_config_is_written_as_go_writes_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    manifest, _ = world.convert(document(("base", NEWEST)))
    text = world.store.read(manifest["config"]["digest"]).decode()
    assert text.startswith('{\n   "created": "2020-01-02T03:04:05.6Z",\n   "author": "me",\n')
    assert '"created_by": "/bin/sh -c x \\u003e y"' in text


def test_empty_layers_by_their_history_are_not_fetched(tmp_path: Path) -> None:
    world = World(tmp_path)
    manifest, config = world.convert(
        document(
            ("zeros", entry(throwaway=True)),
            ("plain", entry(Size=0)),
            ("top", entry(throwaway=False, Size=0)),
            ("base", entry()),
        )
    )
    assert sorted(world.fetched) == ["base", "top"]  # S1-12
    assert len(manifest["layers"]) == 2
    assert [item.get("empty_layer", False) for item in config["history"]] == [
        False,
        False,
        True,
        True,
    ]


def test_a_layer_of_zeros_is_empty(tmp_path: Path) -> None:
    manifest, config = World(tmp_path).convert(document(("zeros", entry()), ("base", entry())))
    assert len(manifest["layers"]) == 1  # S1-13
    assert config["history"][1]["empty_layer"] is True


def test_a_blob_is_fetched_once_and_its_first_history_decides(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.convert(document(("base", entry()), ("top", entry()), ("base", entry(throwaway=True))))
    assert sorted(world.fetched) == ["base", "top"]  # S1-14


def test_an_uncompressed_layer_says_so(tmp_path: Path) -> None:
    manifest, _ = World(tmp_path).convert(document(("plain", entry())))
    assert manifest["layers"][0]["mediaType"].endswith("rootfs.diff.tar")  # S1-16


def test_another_manifest_than_asked_for_is_refused(tmp_path: Path) -> None:
    body = sign(document(("base", entry())))
    with pytest.raises(DigestMismatch):
        World(tmp_path).converter.convert(
            body, Descriptor(SCHEMA1_SIGNED, digest_of(b"other"), len(body))
        )  # S1-07, Q-09


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (document(), "no history"),  # S1-09
        (document(("base", entry()), history=[]), "history and layer mismatch"),
        (document(("base", entry()), layers=[{}]), "extra keys"),  # S1-10
        (document(("base", entry()), manifests=[{}]), "extra keys"),
        (document(("base", {"v1Compatibility": "{"})), "not JSON"),  # S1-23
        (document(("base", {"v1Compatibility": "[]"})), "not a JSON object"),
        (document(("base", {"v1Compatibility": 1})), "can't be read"),  # type: ignore[dict-item]
        (document(("base", {})), "can't be read"),
        (document(("base", entry()), fsLayers=[{"blobSum": "../../x"}]), "invalid digest"),
        (document(("base", entry(created="yesterday"))), "RFC 3339"),
        (document(("base", entry(author=1))), "not a string"),
        (document(("base", entry(config=[]))), "not an object"),
        (document(("base", entry(config={"Cmd": "sh"}))), "Cmd in a schema 1 config"),
        (document(("base", entry(container_config={"Cmd": "sh"}))), "not of strings"),
        (document(("base", entry(container_config={"Cmd": ["sh", 1]}))), "not of strings"),
        (document(("base", entry(created="2020-13-02T03:04:05Z"))), "month"),
        (document(("base", entry(created="2020-01-0\u0662T03:04:05Z"))), "RFC 3339"),
        (
            document(("base", entry(config={"Env": [[1]]}))),
            "Env in a schema 1 config is not of str",
        ),
        (document(("base", entry(config={"Labels": {"a": {}}}))), "Labels .* is not of strings"),
        (document(("base", entry(**{"os.features": "x"}))), "os.features .* is not of strings"),
    ],
)
def test_what_cannot_be_converted_is_an_error(tmp_path: Path, payload: bytes, why: str) -> None:
    with pytest.raises(PullError, match=why):
        World(tmp_path).convert(payload)


def test_the_payload_is_what_was_there_before_the_signature() -> None:
    payload = document(("base", entry()))
    assert signed_payload(sign(payload)) == payload  # S1-04


def protected(header: object) -> bytes:
    text = base64url(json.dumps(header).encode())
    return json.dumps({"signatures": [{"protected": text}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}",
        b"[]",
        b'{"signatures": []}',
        b'{"signatures": [{"protected": "***"}]}',
        b'{"signatures": [{"protected": 1}]}',
        protected({}),
        protected([]),
        protected({"formatLength": 10**9, "formatTail": ""}),
        protected({"formatLength": -1, "formatTail": ""}),
        protected({"formatLength": True, "formatTail": ""}),
        protected({"formatLength": 1, "formatTail": "*"}),
        b"[" * 100_000,
    ],
)
def test_a_signature_that_cannot_be_read_is_an_error(body: bytes) -> None:
    with pytest.raises(ManifestError):
        signed_payload(body)  # S1-05


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"a": [], "b": {}}, '{\n   "a": [],\n   "b": {}\n}'),
        ("<&>\u2028", r'"\u003c\u0026\u003e\u2028"'),
        ("\b\f\n\t\\b\x01", r'"\u0008\u000c\n\t\\b\u0001"'),
        ("\ud800é", '"\ufffdé"'),
    ],
)
def test_json_as_go_writes_it(value: object, text: str) -> None:
    assert gojson.marshal_indent(value).decode() == text


@pytest.mark.parametrize(
    ("text", "go"),
    [
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05.123456789123Z", "2020-01-02T03:04:05.123456789Z"),
        ("2020-01-02T03:04:05.100+00:00", "2020-01-02T03:04:05.1Z"),
        ("2020-01-02T03:04:05+02:00", "2020-01-02T03:04:05+02:00"),
    ],
)
def test_times_as_go_writes_them(text: str, go: str) -> None:
    assert gojson.time(text) == go


def test_a_run_config_keeps_known_fields_in_order() -> None:
    source = {
        "Volumes": {"/b": None, "/a": {"x": 1}},
        "User": "",
        "Cmd": [],
        "Env": ["A=1"],
        "Image": "x",
        "ArgsEscaped": False,
    }
    assert list(run_config(source).items()) == [
        ("Env", ["A=1"]),
        ("Volumes", {"/a": {}, "/b": {}}),
    ]
