"""The stages of a pull, each by itself on one thread: what two cores can't go below.

    python stages.py LAYOUT FOLDER HOST PORT REPOSITORY

Prints one line of JSON: seconds of CPU for each stage, over all layers of the image. Half of their
sum is the floor on two cores.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference.decompress import STEP, Decompressor
from reference.layers import LayerApplier
from reference.tar import TarReader

spent: dict[str, float] = {}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the CPU of what is inside."""
    start = time.process_time()
    yield
    spent[name] = spent.get(name, 0.0) + time.process_time() - start


def receive(host: str, port: int, repository: str, digest: str) -> None:
    """Fetch a blob from a socket into one buffer, and throw it away."""
    with socket.create_connection((host, port), 60) as sock:
        head = f"GET /v2/{repository}/blobs/{digest} HTTP/1.1\r\nHost: {host}\r\n"
        sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
        buffer = bytearray(STEP)
        while sock.recv_into(buffer):
            pass


class Plain(LayerApplier):
    """Makes the files of a tar in memory, and nothing else."""

    def unpack(self, pieces: list[bytes]) -> None:
        """Apply one tar."""
        with self.begin(self.folder):
            reader = TarReader(pieces)
            for entry in reader:
                self.apply_entry(entry, reader.body())
            reader.drain()
            self.finish()


def main() -> None:
    """Go through the layers, one stage after the other."""
    layout, folder, host, port, repository = sys.argv[1:]
    blobs = Path(layout) / "blobs" / "sha256"
    target = Path(folder)
    index = json.loads((Path(layout) / "index.json").read_bytes())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    rootfs = target / "rootfs"
    rootfs.mkdir(parents=True)
    files = Plain(rootfs)
    for layer in manifest["layers"]:
        path = blobs / layer["digest"][7:]
        data = memoryview(path.read_bytes())
        with stage("receive"):
            receive(host, int(port), repository, layer["digest"])
        with stage("sha256 of blobs"):
            hashlib.sha256(data).hexdigest()
        with stage("write blobs"), (target / "blob").open("wb", buffering=0) as file:
            for start in range(0, len(data), STEP):
                file.write(data[start : start + STEP])
        # Once for the time, without keeping anything, and once for the bytes.
        with path.open("rb", buffering=0) as blob, stage("decompress"):
            for _ in Decompressor().stream(blob, layer["mediaType"]):
                pass
        with path.open("rb", buffering=0) as blob:
            pieces = list(Decompressor().stream(blob, layer["mediaType"]))
        with stage("sha256 of diffs"):
            digest = hashlib.sha256()
            for piece in pieces:
                digest.update(piece)
        with stage("unpack"):
            files.unpack(pieces)
    shutil.rmtree(target)
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
