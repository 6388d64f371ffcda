"""The forms of a layer's blob, undone by tools that share nothing with what made them."""

import base64
import bz2
import gzip
import hashlib
import hmac
import io
import json
import lzma
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from fakeregistry.content import (
    CORRUPTIONS,
    EMPTY,
    ENCRYPTION_LIES,
    TOC_LIES,
    Device,
    File,
    Hardlink,
    Layer,
    LayerKey,
    RawEntry,
    Symlink,
    a_bomb,
    a_layer,
    an_empty_layer,
    an_image,
    digest_of,
    of_every_kind,
)
from fakeregistry.content.compression import zstd
from fakeregistry.content.estargz import CHUNK, TOC_DIGEST, TOC_NAME, estargz
from fakeregistry.content.mediatypes import CODEC, Compression
from fakeregistry.content.zstdchunked import CHECKSUM, POSITION, TAR_SPLIT

FORMS: tuple[Compression, ...] = get_args(Compression)
UNDO: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "xz": lzma.decompress,
    "bz2": bz2.decompress,
}
TOOLS = {"gzip": "gzip", "zstd": "zstd", "xz": "xz", "bz2": "bzip2"}


def tool(codec: str, *options: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """What a command line tool makes of a stream."""
    path = shutil.which(TOOLS[codec])
    if path is None:
        pytest.skip(f"{TOOLS[codec]} isn't installed")
    command = [path, "-d", "-c", *options]
    return subprocess.run(command, input=data, capture_output=True, timeout=20, check=False)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_undone_by_its_codec(form: Compression) -> None:
    layer = a_layer(compression=form)

    assert UNDO[CODEC[form]](layer.blob) == layer.tar
    assert layer.diff_id == digest_of(layer.tar)
    assert layer.descriptor["size"] == len(layer.blob)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "none"])
def test_every_form_is_undone_by_the_tool_of_that_name(form: Compression) -> None:
    layer = a_layer(compression=form)

    done = tool(CODEC[form], data=layer.blob)

    assert (done.returncode, done.stdout) == (0, layer.tar), done.stderr


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "bz2"])
@pytest.mark.parametrize("members", [1, 3, 50])
def test_members_are_one_stream(codec: Any, members: int) -> None:
    layer = a_layer(compression=codec, members=members)

    assert UNDO[codec](layer.blob) == layer.tar
    assert tool(codec, data=layer.blob).stdout == layer.tar


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz", "bz2"])
@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_corrupt_stream_is_noticed(codec: Any, how: Any) -> None:
    sound, corrupt = a_layer(compression=codec), a_layer(compression=codec, corrupt=how)

    assert corrupt.digest == digest_of(corrupt.blob) != sound.digest
    assert corrupt.diff_id == sound.diff_id
    done = tool(codec, data=corrupt.blob)
    # zstd without checksum gives other bytes back and no word: only the diff_id tells.
    assert done.returncode != 0 or done.stdout != sound.tar
    if (codec, how) != ("zstd", "middle"):
        assert done.returncode != 0


def test_what_is_not_compressed_has_no_checksum_to_corrupt() -> None:
    assert (
        len(a_layer(compression="none", corrupt="cut").blob)
        == a_layer(compression="none").size - 16
    )
    with pytest.raises(ValueError, match="no magic to corrupt"):
        _ = a_layer(compression="none", corrupt="magic").blob
    with pytest.raises(ValueError, match="too few"):
        _ = Layer(raw_blob=b"x", corrupt="cut").blob


def test_a_wide_window_is_what_the_frame_says() -> None:
    layer = a_layer(compression="zstd", window=31)

    refused, accepted = tool("zstd", data=layer.blob), tool("zstd", "--long=31", data=layer.blob)

    assert zstd.get_frame_info(bytes(layer.blob)).decompressed_size is None
    assert refused.returncode != 0
    assert b"window" in refused.stderr.lower()
    assert accepted.stdout == layer.tar
    assert layer.diff_id == digest_of(layer.tar)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "bz2", "xz"])
def test_a_bomb_is_far_smaller_than_what_comes_out(codec: Any) -> None:
    layer = a_bomb(a_layer(size=1, compression=codec), "16MiB")
    plain = a_layer(size=1, compression=codec)

    assert layer.size - plain.size < (16 << 20) / 1000
    assert layer.diff_id == digest_of(UNDO[codec](layer.blob))


def test_nothing_is_said_in_three_ways() -> None:
    silent, stream, archive = (an_empty_layer(how) for how in EMPTY)

    assert (silent.blob, silent.tar) == (b"", b"")
    assert (gzip.decompress(stream.blob), stream.tar) == (b"", b"")
    assert gzip.decompress(archive.blob) == archive.tar == bytes(1024)
    assert len({one.diff_id for one in (silent, stream)}) == 1
    assert silent.descriptor["size"] == 0


# eStargz


def estargz_toc(blob: bytes) -> tuple[int, dict[str, Any], bytes]:
    """The table's offset, the table, and its bytes, found as a reader finds them."""
    footer = blob[-51:]
    assert footer[:4] == b"\x1f\x8b\x08\x04"
    assert footer[12:16] == b"SG" + struct.pack("<H", 22)
    assert footer[32:38] == b"STARGZ"
    offset = int(footer[16:32], 16)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob[offset:-51]))) as archive:
        (member,) = archive.getmembers()
        assert member.name == TOC_NAME
        file = archive.extractfile(member)
        assert file is not None
        data = file.read()
    return offset, json.loads(data), data


def member_at(blob: bytes, offset: int) -> bytes:
    """What one gzip member at an offset holds."""
    inflate = zlib.decompressobj(31)
    return inflate.decompress(blob[offset:])


def test_each_file_of_an_estargz_layer_can_be_fetched_alone() -> None:
    layer = a_layer(compression="estargz")

    _, toc, data = estargz_toc(bytes(layer.blob))

    assert layer.descriptor["annotations"][TOC_DIGEST] == digest_of(data)
    assert layer.media_type.endswith("tar+gzip")
    assert toc["version"] == 1
    files = {entry["name"]: entry for entry in toc["entries"]}
    assert list(files)[:2] == [".no.prefetch.landmark", "app/"]
    for entry in layer.entries:
        if isinstance(entry, File):
            described = files[entry.name]
            content = member_at(bytes(layer.blob), described["offset"])[: described["size"]]
            assert content == entry.content
            assert described["digest"] == described["chunkDigest"] == digest_of(content)
    assert (files["bin/sh"]["type"], files["bin/sh"]["linkName"]) == ("symlink", "tool")
    assert files["tmp/"]["mode"] == 0o1777


def test_a_large_file_of_an_estargz_layer_has_chunks() -> None:
    size = CHUNK // 1024 + 100
    packed = estargz([File("large", bytes(range(256)) * (size // 256 + 1))], chunk=size)

    _, toc, _ = estargz_toc(bytes(packed.blob))

    first, second = (one for one in toc["entries"] if one["name"] == "large")
    assert (first["type"], second["type"]) == ("reg", "chunk")
    assert (first["chunkSize"], second["chunkOffset"]) == (size, size)
    assert "chunkSize" not in second
    chunk = member_at(bytes(packed.blob), second["offset"])[: first["size"] - size]
    assert second["chunkDigest"] == digest_of(chunk)


def test_an_estargz_layer_unpacks_to_its_entries_and_two_more() -> None:
    layer = of_every_kind()
    layer = replace(layer, compression="estargz")

    with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
        names = archive.getnames()

    assert names == [entry.raw().name.rstrip("/") for entry in layer.unpacked[-2:-1]] + [
        entry.raw().name.rstrip("/") for entry in (*layer.entries, layer.unpacked[-1])
    ]


# zstd:chunked


def chunked_toc(layer: Layer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The table and the tar-split of a layer, found by the annotations as a reader finds them."""
    blob, said = bytes(layer.blob), layer.descriptor["annotations"]
    offset, size, whole, kind = map(int, said[POSITION].split(":"))
    frame = blob[offset : offset + size]
    assert kind == 1
    assert digest_of(frame) == said[CHECKSUM]
    document = zstd.decompress(frame)
    assert len(document) == whole
    toc = json.loads(document)
    at, length, split_whole = map(int, said[TAR_SPLIT].split(":"))
    split_frame = blob[at : at + length]
    assert digest_of(split_frame) == toc["tarSplitDigest"]
    split = zstd.decompress(split_frame)
    assert len(split) == split_whole
    numbers = struct.unpack("<7Q", blob[-64:-8])
    assert numbers == (offset, size, whole, kind, at, length, split_whole)
    assert blob[-8:] == b"GNUlInUx"
    assert blob[offset - 8 : offset] == struct.pack("<II", 0x184D2A50, size)
    return toc, [json.loads(line) for line in split.splitlines()]


def test_each_file_of_a_chunked_layer_can_be_fetched_alone() -> None:
    layer = a_layer(compression="zstd:chunked")

    toc, split = chunked_toc(layer)

    assert layer.media_type.endswith("tar+zstd")
    assert layer.tar == a_layer().tar
    files = {entry["name"]: entry for entry in toc["entries"]}
    for entry in layer.entries:
        if isinstance(entry, File):
            described = files[entry.name]
            frame = bytes(layer.blob)[described["offset"] : described["endOffset"]]
            assert zstd.decompress(frame) == entry.content
            assert described["digest"] == digest_of(bytes(entry.content[:]))
    # The tar comes together again from the pieces and the files.
    contents = {e.name: bytes(e.content[:]) for e in layer.entries if isinstance(e, File)}
    whole = b"".join(
        base64.b64decode(piece["payload"])
        if piece["type"] == 2
        else contents.get(piece["name"], b"")
        for piece in split
    )
    assert whole == layer.tar
    assert [piece["position"] for piece in split] == list(range(len(split)))


def test_a_file_is_named_by_its_crc_as_go_counts_it() -> None:
    layer = Layer((File("f", b"123456789"), File("\udcff", b"")), compression="zstd:chunked")

    _, split = chunked_toc(layer)

    # The check value of CRC-64/GO-ISO.
    payloads = [base64.b64decode(piece["payload"] or "") for piece in split if piece["type"] == 1]
    assert payloads == [bytes.fromhex("b90956c775a41001"), b""]
    assert [piece.get("name_raw") for piece in split if piece["type"] == 1] == [None, "/w=="]


@pytest.mark.parametrize("form", ["estargz", "zstd:chunked"])
@pytest.mark.parametrize("lie", TOC_LIES)
def test_a_forged_table_changes_nothing_else(form: Any, lie: Any) -> None:
    sound, forged = a_layer(compression=form), a_layer(compression=form, toc_lie=lie)

    assert forged.digest == digest_of(forged.blob)
    assert UNDO[CODEC[form]](forged.blob) == forged.tar
    assert forged.descriptor["annotations"] != sound.descriptor["annotations"] or lie == "position"
    if lie == "position":
        assert forged.blob != sound.blob
    if lie in ("mode", "digest", "name"):
        said = estargz_toc(bytes(forged.blob))[1] if form == "estargz" else chunked_toc(forged)[0]
        files = {entry["name"]: entry for entry in said["entries"]}
        false = {
            "mode": files.get("app/layer-0.bin", {}).get("mode") == 0o4777,
            "name": "app/layer-0.bin.forged" in files,
            "digest": any(
                entry.get("digest") not in (None, *_digests(forged)) for entry in said["entries"]
            ),
        }
        assert false[lie]


def _digests(layer: Layer) -> set[str]:
    files = (entry for entry in layer.unpacked if isinstance(entry, File))
    return {digest_of(bytes(file.content[:])) for file in files}


@pytest.mark.parametrize("form", ["estargz", "zstd:chunked"])
def test_tables_hold_only_what_they_can(form: Any) -> None:
    with pytest.raises(ValueError, match=r"can't hold 'x' of type 'g'"):
        _ = Layer((RawEntry("x", "g"),), compression=form).blob
    with pytest.raises(ValueError, match="a whole archive"):
        _ = a_layer(compression=form, tar_trailing=b"x").blob
    held = Layer(
        (File("f", xattrs={"user.k": b"v"}), Hardlink("h", "f"), Symlink("s", "f"), Device("d")),
        compression=form,
    )
    blob = bytes(held.blob)
    toc = estargz_toc(blob)[1] if form == "estargz" else chunked_toc(held)[0]
    files = {entry["name"]: entry for entry in toc["entries"]}
    assert files["f"]["xattrs"] == {"user.k": base64.b64encode(b"v").decode()}
    assert (files["h"]["type"], files["d"]["devMinor"]) == ("hardlink", 3)
    assert "offset" not in files["f"]


# Encrypted layers


def unwrapped(layer: Layer, key: LayerKey) -> dict[str, Any]:
    """The wrapped options of a layer, undone by the private key (RFC 7516, RFC 7518)."""
    said = layer.descriptor["annotations"]["org.opencontainers.image.enc.keys.jwe"]
    message = json.loads(base64.b64decode(said))
    header = json.loads(unbase64(message["protected"]))
    assert (header["alg"], header["enc"]) == ("ECDH-ES+A256KW", "A256GCM")
    x, y = (int.from_bytes(unbase64(header["epk"][axis]), "big") for axis in "xy")
    ephemeral = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    shared = key.private.exchange(ec.ECDH(), ephemeral)
    info = struct.pack(">I", 14) + b"ECDH-ES+A256KW" + bytes(8) + struct.pack(">I", 256)
    wrapping = ConcatKDFHash(SHA256(), 32, info).derive(shared)
    content_key = aes_key_unwrap(wrapping, unbase64(message["encrypted_key"]))
    sealed = unbase64(message["ciphertext"]) + unbase64(message["tag"])
    plain = AESGCM(content_key).decrypt(
        unbase64(message["iv"]), sealed, message["protected"].encode()
    )
    options: dict[str, Any] = json.loads(plain)
    return options


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("form", FORMS)
def test_an_encrypted_layer_is_read_by_its_key(form: Compression) -> None:
    key = LayerKey("mine")
    plain, layer = a_layer(compression=form), a_layer(compression=form, encrypted=key)

    options = unwrapped(layer, key)
    secret = base64.b64decode(options["symkey"])
    nonce = base64.b64decode(options["cipheroptions"]["nonce"])
    public = json.loads(
        base64.b64decode(layer.descriptor["annotations"]["org.opencontainers.image.enc.pubopts"])
    )
    clear = Cipher(algorithms.AES(secret), modes.CTR(nonce)).decryptor().update(layer.blob)

    assert clear == plain.blob
    assert options["digest"] == plain.digest
    assert public["cipher"] == "AES_256_CTR_HMAC_SHA256"
    assert base64.b64decode(public["hmac"]) == hmac.digest(secret, layer.blob, hashlib.sha256)
    assert layer.media_type == plain.media_type + "+encrypted"
    assert (layer.size, layer.diff_id) == (plain.size, plain.diff_id)


def test_keys_are_those_of_their_seed() -> None:
    assert LayerKey("a").private_pem == LayerKey("a").private_pem != LayerKey("b").private_pem
    assert b"BEGIN PRIVATE KEY" in LayerKey().private_pem
    assert b"BEGIN PUBLIC KEY" in LayerKey().public_pem
    ours, theirs = (a_layer(encrypted=LayerKey(seed)) for seed in "ab")
    assert ours.digest == a_layer(encrypted=LayerKey("a")).digest != theirs.digest
    assert ours.salted("s").digest != ours.digest


@pytest.mark.parametrize("lie", ENCRYPTION_LIES)
def test_lies_of_encrypted_layers(lie: Any) -> None:
    key = LayerKey()
    sound, false = a_layer(encrypted=key), a_layer(encrypted=key, encryption_lie=lie)
    said, true = false.descriptor["annotations"], sound.descriptor["annotations"]

    assert false.blob == sound.blob
    assert said != true
    if lie == "unwrapped":
        assert list(said) == ["org.opencontainers.image.enc.pubopts"]
    elif lie == "key":
        with pytest.raises(InvalidUnwrap):
            unwrapped(false, key)
    else:
        options = unwrapped(false, key)
        assert (options["digest"] == a_layer().digest) == (lie == "hmac")


# Together


@pytest.mark.parametrize("form", FORMS)
def test_the_same_words_are_the_same_bytes_and_salt_makes_others(form: Compression) -> None:
    options: dict[str, Any] = {"compression": form, "encrypted": LayerKey()}
    first, second = (an_image([a_layer(0, **options), a_layer(1, **options)]) for _ in range(2))

    assert first.digest == second.digest
    assert first == second
    salted, other = first.salted("a"), first.salted("b")
    assert not {x.digest for x in salted.objects()} & {x.digest for x in other.objects()}
    assert not {x.digest for x in salted.objects()} & {x.digest for x in first.objects()}
