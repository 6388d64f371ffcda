"""Our registry as the bench measures it: routing, rules and journal on, plain and TLS.

    python server.py FOLDER [BLOB]

Prints one line of JSON, and serves until its input ends.
"""

from __future__ import annotations

import json
import mmap
import sys
from pathlib import Path

from fakeregistry import Registries, Registry, an_image, blob, manifest, ping


def furnish(registry: Registry, data: Path | None, digest: str) -> None:
    """Give a registry an image, four rules that every request is held against, and the blob."""
    image = registry.add(an_image(4), "app/other")
    registry.on(manifest(image)).status(503)
    registry.on(manifest(), method="DELETE").status(405)
    registry.on(blob(image.layers[0])).first(2).reset_after(1000)
    registry.on(ping(), authorized=True).status(401)
    if data is not None:
        with data.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        registry.storage.put_blob("big", digest, view)
        held = registry.on(blob(digest), header={"x-stall": True})
        held.stall_after(1000)


def main() -> None:
    """Serve."""
    folder = Path(sys.argv[1])
    data = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    digest = f"sha256:{data.name}" if data is not None else ""
    with Registries() as registries:
        registries.request_cap = registries.connection_cap = 1_000_000_000
        certificate = registries.certificates.valid()
        (folder / "server.crt").write_bytes(certificate.chain)
        (folder / "server.key").write_bytes(certificate.key)
        told = {"ca": str(registries.certificates.ca_file(folder))}
        for name in ("plain", "tls", "h2"):
            registry = registries.registry(name)
            if name != "plain":
                registry.tls = certificate
            registry.http2 = name == "h2"
            furnish(registry, data, digest)
            told[name] = registry.port  # type: ignore[assignment]
        print(json.dumps(told), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
