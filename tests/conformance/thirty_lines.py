"""A newcomer's puller for the ``python`` kind: whole images over plain http, digests checked."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from typing import Any


class Refused(Exception):  # noqa: N818 - reads as a word in the profile
    """What this puller raises instead of crashing."""


def pull(request: Any) -> dict[str, Any]:
    if os.environ.get("THIRTY_LINES") == "crash":
        raise RuntimeError("told to crash")
    host, _, rest = request.image.partition("/")
    name, _, tag = rest.partition(":")
    body = get(host, f"/v2/{name}/manifests/{tag}")
    root = keep(request, body)
    manifest = json.loads(body)
    for descriptor in [manifest["config"], *manifest["layers"]]:
        blob = get(host, f"/v2/{name}/blobs/{descriptor['digest']}")
        found = "sha256:" + hashlib.sha256(blob).hexdigest()
        if found != descriptor["digest"] and os.environ.get("THIRTY_LINES") != "trusting":
            raise Refused("digest mismatch")
        keep(request, blob, descriptor["digest"])
    entry = {"digest": root, "annotations": {"org.opencontainers.image.ref.name": request.image}}
    layout = request.store / "layout"
    (layout / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return {"version": 1, "answer": "pulled", "layout": str(layout), "digest": root}


def get(host: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Refused(str(error)) from None
    if answer.status != 200:
        raise Refused(f"{path}: status {answer.status}")
    return body


def keep(request: Any, data: bytes, digest: str = "") -> str:
    digest = digest or "sha256:" + hashlib.sha256(data).hexdigest()
    path = request.store / "layout" / "blobs" / digest.replace(":", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest
