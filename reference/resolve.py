"""From a name to a descriptor: which digest a tag has, and of which type and size it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from reference.config import Config
from reference.descriptors import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1_SIGNED,
    Descriptor,
    digest_of,
    is_digest,
)
from reference.errors import (
    AuthError,
    IntegrityError,
    InvalidDescriptor,
    ManifestError,
    PullError,
    RegistryError,
    TransportError,
)
from reference.hosts import Host
from reference.names import Name
from reference.remote import Failures, Remote
from reference.schema1 import signed_payload
from reference.transport import Answer

ACCEPT = ", ".join((DOCKER_MANIFEST, DOCKER_INDEX, OCI_MANIFEST, OCI_INDEX, "*/*"))
HOST_ERRORS = (RegistryError, AuthError, TransportError, IntegrityError, ManifestError)
"""What one host can be at fault for, so that another may do better."""


@dataclass(frozen=True)
class Resolved:
    """What a name stands for. `body` is there where the document had to be read to know it."""

    descriptor: Descriptor
    body: bytes | None = None


class Resolver:
    """Asks the hosts in their order; the first that knows the name decides."""

    def __init__(self, config: Config, remote: Remote) -> None:
        self.config = config
        self.remote = remote
        self.answered: Host | None = None
        """The last host that answered HEAD."""

    def resolve(self, name: Name, hosts: Sequence[Host]) -> Resolved:
        """Return the root descriptor of `name`.

        Any failure of a host, also a tag it doesn't know, is a reason to ask the next (HOST-36);
        the error raised in the end is that of the host that came furthest.
        """
        failures = Failures()
        for number, host in enumerate(hosts, start=1):
            try:
                return self.at(host, name, last=number == len(hosts))
            except HOST_ERRORS as error:
                if self.config.quirks.first_answer_decides and self.is_final(host, error):
                    raise
                failures.add(error)
        if name.digest and self.config.quirks.manifests_as_blobs:
            for number, host in enumerate(hosts, start=1):
                with suppress(*HOST_ERRORS):
                    return self.among_blobs(host, name, last=number == len(hosts))
        raise failures.worst()

    def reread(self, name: Name, hosts: Sequence[Host]) -> Resolved:
        """Resolve by GET alone: a HEAD stated another length than the document has (C02)."""
        failures = Failures()
        for number, host in enumerate(hosts, start=1):
            try:
                with self.ask(host, "GET", name, last=number == len(hosts)) as answer:
                    return self.read(answer, name)
            except HOST_ERRORS as error:
                failures.add(error)
        raise failures.worst()

    def at(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """Resolve at one host: HEAD, and GET where its answer doesn't say enough (MAN-06)."""
        with self.ask(host, "HEAD", name, last=last) as answer:
            self.answered = host
            described = None if answer.ask.method == "GET" else self.described(answer, name)
            if described is not None:
                self.check_size(described.size, name)
                return Resolved(described)
            if answer.ask.method == "GET":
                return self.read(answer, name)
        with self.ask(host, "GET", name, last=last) as answer:
            return self.read(answer, name)

    def among_blobs(self, host: Host, name: Name, *, last: bool) -> Resolved:
        """Resolve a digest by the blob that has it (MAN-10)."""
        with self.remote.ask(
            host, "HEAD", "blobs", name.object, accept=ACCEPT, last=last
        ) as answer:
            described = self.described(answer, name)
        if described is None:
            raise ManifestError(f"blob {name.digest} has no length")
        return Resolved(described)

    def is_final(self, host: Host, error: PullError) -> bool:
        """Whether containerd asks nobody else: what goes wrong behind the HEAD is its only reason,
        unless the manifest is too large, and a redirect that isn't one (HOST-37)."""
        if isinstance(error, RegistryError) and error.status < 400:
            return True
        return self.answered is host and not isinstance(error, ManifestError)

    def ask(self, host: Host, method: str, name: Name, *, last: bool) -> Answer:
        """Ask for the manifest. A host that refuses HEAD (405) is asked by GET (MAN-04)."""
        own = self.config.headers.get("Accept", ACCEPT)
        if not self.config.quirks.configured_accept:
            own = ACCEPT
        accept = own if isinstance(own, str) else ", ".join(own)
        return self.remote.ask(host, method, "manifests", name.object, accept=accept, last=last)

    def described(self, answer: Answer, name: Name) -> Descriptor | None:
        """The descriptor that the headers give; None where they leave digest or size open.

        The digest of a tag is believed here and verified with the content (MAN-07). For a pull by
        digest the header doesn't matter (MAN-09).
        """
        digest = name.digest or self.digest_header(answer)
        size = answer.content_length
        if digest is None or size is None:
            return None
        if not size and not self.config.quirks.head_length_is_final:
            return None
        return Descriptor(self.media_type(answer), digest, size)

    def digest_header(self, answer: Answer) -> str | None:
        """The Docker-Content-Digest; None when absent, an error when it isn't a digest (MAN-08)."""
        digest: str | None = answer.headers.get("docker-content-digest")
        if digest is not None and not is_digest(digest):
            raise InvalidDescriptor(f"Docker-Content-Digest {digest!r} is not a valid digest")
        return digest

    def read(self, answer: Answer, name: Name) -> Resolved:
        """The descriptor of the document itself, which is read for it."""
        self.check_size(answer.content_length or 0, name)
        body = answer.read(self.config.max_manifest_size)
        media_type = self.media_type(answer)
        stated = not self.config.quirks.get_digest_header_ignored
        header = self.digest_header(answer) if stated else None
        digest = name.digest or header or self.hash(body, media_type)
        return Resolved(Descriptor(media_type, digest, len(body)), body)

    def hash(self, body: bytes, media_type: str) -> str:
        """The digest of a manifest; that of a signed schema 1 is over its payload (S1-04)."""
        return digest_of(signed_payload(body) if media_type == SCHEMA1_SIGNED else body)

    def media_type(self, answer: Answer) -> str:
        """What kind of document it is: the Content-Type says so, not the content (MAN-12)."""
        media_type = answer.media_type
        if self.config.quirks.literal_content_types:
            media_type = str(answer.headers.get("content-type", "")).partition(";")[0]
        # Some old registries serve their schema 1 manifests as text/plain (MAN-15).
        return SCHEMA1_SIGNED if media_type == "text/plain" else media_type

    def check_size(self, size: int, name: Name) -> None:
        """Refuse a manifest that is too large, before it is read (MAN-21, MAN-25)."""
        if size > self.config.max_manifest_size:
            raise ManifestError(
                f"rejecting {size} byte manifest for {name}: "
                f"more than {self.config.max_manifest_size}"
            )
