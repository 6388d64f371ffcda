"""The honest registry: `answer(request)` follows from what is stored alone. No sockets, no clock.

It follows the OCI distribution specification 1.1: pull, push (monolithic, chunked, mounted), tags,
referrers, deletion. Errors are values, with the OCI error body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from fakeregistry.auth.guards import Denial
from fakeregistry.messages import Answer, Content, Facts, Headers, Kind, Reply, Request, error

from .parts import held_back, serve
from .pushes import Pushes
from .routes import Route, is_digest, route, valid_name
from .storage import Storage

API_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
ROOT = "/v2"
_LINKS = frozenset({"Location", "Link"})
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class Gatekeeper(Protocol):
    """What decides who may do what: see `tokens`."""

    def deny(self, request: Request, facts: Facts, action: str) -> Denial | None:
        """Return the refusal of a request, or None where it may pass."""
        ...


class TokenService(Protocol):
    """What answers at the token endpoint: see `tokens`."""

    def answer_token(self, request: Request) -> Reply:
        """Return the answer to a token request, GET or POST."""
        ...


class SignedPaths(Protocol):
    """What knows signed URLs: see `signed`."""

    def refusal(self, request: Request) -> Reply | None:
        """Return the refusal of a request for a signed path, or None where it may pass."""
        ...


class App:
    """One registry's honest answers. Thread-safe: its only state is what it is given.

    `root` is where the distribution API stands, else `/v2`. `upstreams` answer requests whose
    query has their `ns`, as a mirror of several registries does.
    """

    def __init__(
        self,
        storage: Storage,
        tokens: TokenService | None = None,
        signed: SignedPaths | None = None,
    ) -> None:
        self.storage = storage
        self.tokens = tokens
        self.signed = signed
        self.auth: Gatekeeper | None = None
        self.root = ROOT
        self.upstreams: Mapping[str, App] = {}
        self._pushes = Pushes(storage)

    @property
    def plain(self) -> bool:
        """Whether answers about content depend on the request and the storage alone.

        Then they are remembered (see `repeats`): every setting of this class has its say here.
        """
        return self.auth is None and self.root == ROOT and not self.upstreams

    def answer(self, request: Request) -> Answer:
        """Answer a request, and say what it means."""
        if self.root != ROOT:
            return self._below(request)
        return self._answer(request)

    def _below(self, request: Request) -> Answer:
        """Answer where the API stands elsewhere: links in answers lead there too."""
        path = request.raw_path
        if path.startswith(f"{self.root}/") or path == self.root:
            _, question, query = request.target.partition("?")
            inner = ROOT + path[len(self.root) :] + question + query
            answer = self._answer(replace(request, target=inner))
        elif path == ROOT or path.startswith(f"{ROOT}/"):
            return Answer(error(404, "UNSUPPORTED", f"the API stands at {self.root}/"))
        else:
            return self._answer(request)
        headers = tuple(
            (name, value.replace(f"{ROOT}/", f"{self.root}/", 1) if name in _LINKS else value)
            for name, value in answer.reply.headers
        )
        return replace(answer, reply=replace(answer.reply, headers=headers))

    def _answer(self, request: Request) -> Answer:
        placed = self._placed(request)
        if placed is not None:
            return placed
        found = route(request.path)
        if found.endpoint == "token" and self.tokens is not None:
            return Answer(self.tokens.answer_token(request), Facts("token"))
        if not request.path.startswith(ROOT):
            return Answer(error(404, "UNSUPPORTED", "nothing is served here"))
        if self.upstreams and "ns=" in request.raw_query:
            upstream = self.upstreams.get(request.argument("ns") or "")
            if upstream is not None:
                return upstream.answer_here(found, request, self.auth)
        return self.answer_here(found, request, self.auth)

    def answer_here(self, found: Route, request: Request, auth: Gatekeeper | None) -> Answer:
        """Answer a request of the distribution API by what is stored here."""
        facts = self.facts(found)
        if auth is not None:
            denial = auth.deny(request, facts, _action(request.method))
            if denial is not None:
                refusal = denial.reply
                return Answer(
                    Reply(refusal.status, (API_VERSION, *refusal.headers), refusal.body),
                    replace(facts, denied=True, problem=denial.problem),
                )
        reply = self._reply(found, request)
        return Answer(
            Reply(
                reply.status, (API_VERSION, *reply.headers), reply.body, reply.content, reply.start
            ),
            facts,
        )

    def facts(self, found: Route) -> Facts:
        """Return what a routed request means, as far as the storage knows."""
        name, reference = found.repository, found.reference
        match found.endpoint:
            case "manifest":
                by_digest = is_digest(reference)
                kind: Kind = "manifest" if by_digest else "tag_manifest"
                tag = None if by_digest else reference
                return Facts(kind, name, tag, self.storage.resolve(name, reference))
            case "blob":
                kind = "config" if self.storage.is_config(reference) else "blob"
                return Facts(kind, name, None, reference)
            case "uploads" | "upload":
                return Facts("upload", name)
            case "ping":
                return Facts("ping")
            case "tags":
                return Facts("tags", name)
            case "referrers":
                return Facts("referrers", name, None, reference)
            case _:
                return Facts()

    def _placed(self, request: Request) -> Answer | None:
        placed = self.storage.placed.get(request.raw_path)
        if placed is None:
            return None
        kind: Kind = "foreign_url" if placed.kind == "foreign_url" else "redirect_target"
        facts = Facts(kind, None, None, placed.digest)
        denial = None if self.auth is None else self.auth.deny(request, facts, "pull")
        if denial is not None:
            return Answer(denial.reply, replace(facts, denied=True, problem=denial.problem))
        if request.method not in ("GET", "HEAD"):
            return Answer(error(405, "UNSUPPORTED", "only GET and HEAD here"), facts)
        if placed.location is not None:
            status, location = placed.location
            return Answer(Reply(status, (("Location", location),)), facts)
        if placed.signed and self.signed is not None:
            refusal = self.signed.refusal(request)
            if refusal is not None:
                return Answer(refusal, facts)
        headers: Headers = ()
        if placed.docker_digest and placed.digest is not None:
            headers = (("Docker-Content-Digest", placed.digest),)
        content = Content(placed.data, placed.media_type, placed.digest)
        return Answer(serve(content, headers, request), facts)

    def _reply(self, found: Route, request: Request) -> Reply:
        if found.endpoint == "ping":
            return Reply(200, (("Content-Type", "application/json"),), b"{}")
        if found.endpoint == "catalog":
            return _page(request, "repositories", self.storage.repositories(), {})
        if found.endpoint == "other":
            return error(404, "UNSUPPORTED", f"no such endpoint: {request.raw_path}")
        if not valid_name(found.repository):
            return error(400, "NAME_INVALID", f"invalid repository name: {found.repository}")
        match found.endpoint:
            case "manifest":
                return self._manifest(found, request)
            case "blob":
                return self._blob(found, request)
            case "tags":
                return self._tags(found, request)
            case "referrers":
                return self._referrers(found, request)
            case _:
                return self._pushes.upload(found, request)

    def _manifest(self, found: Route, request: Request) -> Reply:
        if request.method == "PUT":
            return self._pushes.manifest(found, request)
        if request.method == "DELETE":
            if self.storage.delete_manifest(found.repository, found.reference):
                return Reply(202)
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown", detail=found.reference)
        if request.method not in ("GET", "HEAD"):
            return _not_allowed(request, "GET, HEAD, PUT, DELETE")
        manifest = self.storage.manifest(found.repository, found.reference)
        if manifest is None:
            if self.storage.repository(found.repository) is None:
                return error(404, "NAME_UNKNOWN", "repository name not known to registry")
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown", detail=found.reference)
        headers = (
            ("Content-Type", manifest.media_type),
            ("Docker-Content-Digest", manifest.digest),
            ("ETag", f'"{manifest.digest}"'),
        )
        content = Content(manifest.data, manifest.media_type, manifest.digest)
        held = held_back(request, headers[2][1])
        if held is not None:
            return Reply(held.status, (*held.headers, *headers[1:]), held.body, content)
        return Reply(200, headers, manifest.data, content)

    def _blob(self, found: Route, request: Request) -> Reply:
        digest = found.reference
        if request.method == "DELETE":
            if self.storage.delete_blob(found.repository, digest):
                return Reply(202)
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry", detail=digest)
        if request.method not in ("GET", "HEAD"):
            return _not_allowed(request, "GET, HEAD, DELETE")
        data = self.storage.blob(found.repository, digest)
        if data is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry", detail=digest)
        content = Content(data, "application/octet-stream", digest)
        return serve(content, (("Docker-Content-Digest", digest),), request)

    def _tags(self, found: Route, request: Request) -> Reply:
        repository = self.storage.repository(found.repository)
        if repository is None:
            return error(404, "NAME_UNKNOWN", "repository name not known to registry")
        with self.storage.lock:
            tags = sorted(repository.tags)
        return _page(request, "tags", tags, {"name": found.repository})

    def _referrers(self, found: Route, request: Request) -> Reply:
        wanted = request.argument("artifactType")
        manifests = []
        for manifest in self.storage.referrers(found.repository, found.reference):
            document = manifest.document
            config = document.get("config")
            kind = document.get("artifactType") or (
                config.get("mediaType") if isinstance(config, dict) else None
            )
            if wanted is not None and kind != wanted:
                continue
            entry = {
                "mediaType": manifest.media_type,
                "digest": manifest.digest,
                "size": len(manifest.data),
            }
            if kind:
                entry["artifactType"] = kind
            if document.get("annotations"):
                entry["annotations"] = document["annotations"]
            manifests.append(entry)
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
        headers: Headers = (("Content-Type", INDEX_TYPE),)
        if wanted is not None:
            headers = (*headers, ("OCI-Filters-Applied", "artifactType"))
        return Reply(200, headers, json.dumps(index).encode())


def _action(method: str) -> str:
    if method in ("GET", "HEAD"):
        return "pull"
    return "delete" if method == "DELETE" else "push"


def _not_allowed(request: Request, allowed: str) -> Reply:
    return error(
        405, "UNSUPPORTED", f"{request.method} is not supported here", headers={"Allow": allowed}
    )


def _page(request: Request, key: str, names: list[str], document: dict[str, object]) -> Reply:
    """Return a page of a list of names, by `n` and `last`, with a Link to the next."""
    last = request.argument("last")
    if last is not None:
        names = [name for name in names if name > last]
    headers: Headers = (("Content-Type", "application/json"),)
    count = request.argument("n")
    if count is not None and re.fullmatch("[0-9]{1,9}", count):
        page = names[: int(count)]
        if page and len(names) > len(page):
            link = f'<{request.raw_path}?n={count}&last={page[-1]}>; rel="next"'
            headers = (*headers, ("Link", link))
        names = page
    return Reply(200, headers, json.dumps({**document, key: names}).encode())
