"""Pushing: blobs in one piece, in chunks or by mount, and manifests (distribution-spec, "Push")."""

from __future__ import annotations

import hashlib
import json
import re

from fakeregistry.messages import Headers, Reply, Request, error

from .room import FullError
from .routes import TAG, Route, is_digest
from .storage import Manifest, Storage, verify

MANIFEST_LIMIT = 4 << 20
"""The largest manifest that is accepted, in bytes (distribution-spec, "Pushing manifests")."""

_CONTENT_RANGE = re.compile(r"(?:bytes\s+)?([0-9]{1,18})-([0-9]{1,18})(?:/.*)?")


class Pushes:
    """Answers to requests that fill the registry."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def upload(self, found: Route, request: Request) -> Reply:
        """Answer a request of an upload: start, chunk, end, state, or cancellation."""
        try:
            return self._upload(found, request)
        except KeyError:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        except FullError as full:
            return error(413, "DENIED", str(full))

    def _upload(self, found: Route, request: Request) -> Reply:
        if found.endpoint == "uploads":
            if request.method != "POST":
                return error(405, "UNSUPPORTED", "only POST here", headers={"Allow": "POST"})
            return self._start(found.repository, request)
        match request.method:
            case "PATCH":
                return self._chunk(found, request)
            case "PUT":
                return self._finish(found, request)
            case "GET" | "HEAD":
                size = self.storage.uploads.size(found.reference)
                return self._progress(204, found.repository, found.reference, size)
            case "DELETE":
                self.storage.uploads.cancel(found.reference)
                return Reply(204)
            case _:
                allowed = {"Allow": "GET, PATCH, PUT, DELETE"}
                return error(405, "UNSUPPORTED", "not supported here", headers=allowed)

    def _start(self, name: str, request: Request) -> Reply:
        mount, source = request.argument("mount"), request.argument("from")
        if mount is not None:
            sources = [source] if source else self.storage.repositories()
            for repository in sources:
                data = self.storage.blob(repository, mount)
                if data is not None:
                    self.storage.put_blob(name, mount, data)
                    return self._created(name, mount)
        digest = request.argument("digest")
        if digest is not None:
            return self._store(name, digest, request.body)
        return self._progress(202, name, self.storage.uploads.start(), 0)

    def _chunk(self, found: Route, request: Request) -> Reply:
        start: int | None = None
        claimed = request.header("content-range")
        if claimed is not None:
            match = _CONTENT_RANGE.fullmatch(claimed.strip())
            if match is None or int(match[2]) - int(match[1]) + 1 != len(request.body):
                return error(416, "BLOB_UPLOAD_INVALID", f"Content-Range {claimed} doesn't fit")
            start = int(match[1])
        size = self.storage.uploads.append(found.reference, request.body, start)
        if size is None:
            size = self.storage.uploads.size(found.reference)
            refused = error(416, "BLOB_UPLOAD_INVALID", f"the next chunk starts at {size}")
            progress = self._progress(416, found.repository, found.reference, size)
            return Reply(416, (*refused.headers, *progress.headers), refused.body)
        return self._progress(202, found.repository, found.reference, size)

    def _finish(self, found: Route, request: Request) -> Reply:
        digest = request.argument("digest")
        if digest is None:
            return error(400, "DIGEST_INVALID", "the digest of the blob is missing")
        if request.header("content-range") is not None and request.body:
            reply = self._chunk(found, request)
            if reply.status != 202:
                return reply
            data = self.storage.uploads.finish(found.reference, b"")
        else:
            data = self.storage.uploads.finish(found.reference, request.body)
        return self._store(found.repository, digest, data)

    def _store(self, name: str, digest: str, data: bytes) -> Reply:
        if not verify(digest, data):
            return error(400, "DIGEST_INVALID", "the content has another digest", detail=digest)
        self.storage.push_blob(name, digest, data)
        return self._created(name, digest)

    @staticmethod
    def _created(name: str, digest: str) -> Reply:
        location = f"/v2/{name}/blobs/{digest}"
        return Reply(201, (("Location", location), ("Docker-Content-Digest", digest)))

    @staticmethod
    def _progress(status: int, name: str, key: str, size: int) -> Reply:
        headers = (
            ("Location", f"/v2/{name}/blobs/uploads/{key}"),
            ("Range", f"0-{max(0, size - 1)}"),
            ("Docker-Upload-UUID", key),
        )
        return Reply(status, headers)

    def manifest(self, found: Route, request: Request) -> Reply:
        """Answer the push of a manifest, by tag or by digest."""
        if len(request.body) > MANIFEST_LIMIT:
            return error(413, "MANIFEST_INVALID", f"larger than {MANIFEST_LIMIT} bytes")
        try:
            document = json.loads(request.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return error(400, "MANIFEST_INVALID", "the manifest is no JSON object")
        digest = "sha256:" + hashlib.sha256(request.body).hexdigest()
        by_digest = is_digest(found.reference)
        tags = [found.reference]
        if by_digest:
            if not verify(found.reference, request.body):
                return error(400, "DIGEST_INVALID", "the manifest has another digest")
            digest = found.reference
            # A draft after 1.1 lets one push by digest set many tags: ?tag=1.2&tag=latest.
            tags = [value for key, value in request.query if key == "tag"]
        for tag in tags:
            if not TAG.fullmatch(tag):
                return error(400, "MANIFEST_INVALID", f"invalid tag: {tag}")
        stated = (request.header("content-type") or "").partition(";")[0].strip()
        media_type = stated or str(document.get("mediaType", "application/octet-stream"))
        manifest = Manifest(request.body, media_type, digest)
        try:
            self.storage.push_manifest(found.repository, manifest, *tags)
        except FullError as full:
            return error(413, "DENIED", str(full))
        headers: Headers = (
            ("Location", f"/v2/{found.repository}/manifests/{digest}"),
            ("Docker-Content-Digest", digest),
        )
        if by_digest:
            headers = (*headers, *(("OCI-Tag", tag) for tag in tags))
        subject = document.get("subject")
        if isinstance(subject, dict) and isinstance(subject.get("digest"), str):
            headers = (*headers, ("OCI-Subject", subject["digest"]))
        return Reply(201, headers)
