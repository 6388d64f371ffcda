"""The images that pulls are measured by: made from a seed, kept under build/, the same anywhere.

`big`: 8 layers, 21,696 regular files. Four layers have some 5,400 small files each (log-normal
around 5 kB), four have 48 large ones. GNU and PAX headers take turns; there are symbolic links,
hard links and names of more than 100 bytes. As gzip (level 6) it has some 456 MB, as zstd (level 3)
some 300. `medium` and `huge` are one layer of 64 MiB and of 1 GiB each.

Each is an OCI image layout, written piece by piece: nothing holds a layer in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import random
import shutil
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CACHE = Path("build", "bench-images").absolute()
RECIPE = 1
"""To be raised when an image comes out otherwise: then all are made anew."""
FILES = 21_696
Coding = Literal["gzip", "zstd"]
MIB = 1 << 20
_KIND = "application/vnd.oci.image."
_POOL = 6 * MIB
_TEXT = 0.835
"""How much of the pool is text, which packs well; the rest doesn't pack at all."""


@dataclass(frozen=True)
class Image:
    """An image in a layout on disk."""

    name: str
    layout: Path
    manifest: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The manifest, read."""
        found: dict[str, Any] = json.loads(self.manifest)
        return found

    @property
    def layers(self) -> list[Path]:
        """The files of the layers."""
        return [self.blob(layer["digest"]) for layer in self.document["layers"]]

    @property
    def config(self) -> dict[str, Any]:
        """The config, read."""
        found: dict[str, Any] = json.loads(
            self.blob(self.document["config"]["digest"]).read_bytes()
        )
        return found

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        return self.layout / "blobs" / Path(*digest.split(":"))


def image(name: Literal["big", "medium", "huge"], coding: Coding = "gzip") -> Image:
    """The image of that name, made when it isn't here yet (half a minute or so, once)."""
    layout = CACHE / f"{name}-{coding}-{RECIPE}"
    if not layout.is_dir():
        print(f"making the image {name}, {coding}: kept in {layout}", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        made = layout.with_name(f".{layout.name}")
        shutil.rmtree(made, ignore_errors=True)
        (made / "blobs" / "sha256").mkdir(parents=True)
        layers = {"big": 8, "medium": 1, "huge": 1}[name]
        with ProcessPoolExecutor(2) as pool:
            jobs = [pool.submit(_layer, made, name, number, coding) for number in range(layers)]
            _write_layout(made, [job.result(600) for job in jobs], coding)
        made.rename(layout)
    index = json.loads((layout / "index.json").read_bytes())
    digest = index["manifests"][0]["digest"]
    body = (layout / "blobs" / Path(*digest.split(":"))).read_bytes()
    return Image(name, layout, body)


# Layers


def _layer(layout: Path, name: str, number: int, coding: Coding) -> tuple[str, int, str]:
    """Write one layer; returns its digest, its size and its diff id."""
    path = layout / f"layer-{number}"
    with path.open("wb") as file:
        packed = _Hashed(cast("IO[bytes]", file))
        level = 6 if name == "big" else 1
        sink = _packer(packed, coding, level)
        plain = _Hashed(sink)
        _write_tar(plain, name, number)
        sink.close()
    digest = packed.digest
    path.rename(layout / "blobs" / Path(*digest.split(":")))
    return digest, packed.size, plain.digest


def _packer(target: _Hashed, coding: Coding, level: int) -> IO[bytes]:
    out = cast("IO[bytes]", target)
    if coding == "gzip":
        return cast("IO[bytes]", gzip.GzipFile("", "wb", level, out, mtime=0))
    return cast("IO[bytes]", zstd.ZstdFile(out, "wb", level=3))


class _Hashed:
    """A file that is written, hashed and counted."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()


def _pool(seed: random.Random) -> bytes:
    """Bytes to cut files from: runs of text of a made-up vocabulary, and runs of noise."""
    letters = b"etaoinshrdlucmfwypvbgkjqxz_"
    words = [
        bytes(seed.choices(letters, range(len(letters), 0, -1), k=seed.randint(2, 11))) + b" "
        for _ in range(6000)
    ]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    parts: list[bytes] = []
    length = 0
    while length < _POOL:
        if seed.random() < _TEXT:
            part = b"".join(seed.choices(words, weights, k=2600))[:16384]
        else:
            part = seed.randbytes(16384)
        parts.append(part)
        length += len(part)
    return b"".join(parts)[:_POOL]


def _write_tar(out: _Hashed, name: str, number: int) -> None:
    seed = random.Random(f"{name} {number}")
    pool = memoryview(_pool(seed))
    if name != "big":
        size = {"medium": 64, "huge": 1024}[name] * MIB
        _file(out, "data/large", size, seed, pool, 0)
    elif number < 4:
        _small_files(out, number, seed, pool)
    else:
        _large_files(out, number, seed, pool)
    out.write(bytes(2 * tarfile.BLOCKSIZE))


def _small_files(out: _Hashed, number: int, seed: random.Random, pool: memoryview) -> None:
    """A quarter of the small files, 40 to a directory, with links between them."""
    count = (FILES - 4 * 48) // 4
    for at in range(count):
        folder = f"usr/lib/part{number}/d{at // 40:03}"
        if at % 40 == 0:
            _header(out, f"{folder}/", tarfile.DIRTYPE, at)
        name = f"{folder}/f{at:05}"
        if at % 50 == 7:
            name = f"{folder}/{'a-name-that-does-not-fit-into-a-header-' * 3}{at:05}"
        size = min(int(math.exp(seed.gauss(math.log(5000), 1.63))), 2 * MIB)
        _file(out, name, size, seed, pool, at)
        if at % 25 == 3:
            _header(out, f"{folder}/s{at:05}", tarfile.SYMTYPE, at, link=name.rpartition("/")[2])
        if at % 100 == 11:
            _header(out, f"{folder}/h{at:05}", tarfile.LNKTYPE, at, link=name)


def _large_files(out: _Hashed, number: int, seed: random.Random, pool: memoryview) -> None:
    folder = f"opt/part{number}"
    _header(out, f"{folder}/", tarfile.DIRTYPE, 0)
    for at in range(48):
        _file(out, f"{folder}/large{at:02}", seed.randint(MIB, 4 * MIB), seed, pool, at)


def _file(
    out: _Hashed, name: str, size: int, seed: random.Random, pool: memoryview, at: int
) -> None:
    _header(out, name, tarfile.REGTYPE, at, size=size)
    for piece in _cut(size, seed, pool):
        out.write(piece)
    out.write(bytes(-size % tarfile.BLOCKSIZE))


def _cut(size: int, seed: random.Random, pool: memoryview) -> Iterator[bytes]:
    while size:
        start = seed.randrange(_POOL - 4096)
        piece = bytes(pool[start : start + min(size, 256 * 1024)])
        size -= len(piece)
        yield piece


def _header(
    out: _Hashed, name: str, kind: bytes, at: int, *, link: str = "", size: int = 0
) -> None:
    """One header; GNU's and PAX's way of long names take turns."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    info.mode = 0o755 if kind == tarfile.DIRTYPE or at % 10 == 0 else 0o644
    info.mtime = 1_700_000_000 + at
    out.write(info.tobuf(tarfile.PAX_FORMAT if at % 2 else tarfile.GNU_FORMAT))


# Documents


def _write_layout(folder: Path, layers: list[tuple[str, int, str]], coding: Coding) -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, _, diff_id in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_KIND}manifest.v1+json",
        "config": _put(folder, config, "config.v1+json"),
        "layers": [
            {"mediaType": f"{_KIND}layer.v1.tar+{coding}", "digest": digest, "size": size}
            for digest, size, _ in layers
        ],
    }
    entry = _put(folder, manifest, "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _put(folder: Path, document: dict[str, Any], kind: str) -> dict[str, Any]:
    data = json.dumps(document).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    (folder / "blobs" / Path(*digest.split(":"))).write_bytes(data)
    return {"mediaType": _KIND + kind, "digest": digest, "size": len(data)}


__all__ = ["Coding", "Image", "image"]
