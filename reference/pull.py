"""The whole pull on one page, in the order of the seed's PullImage.

Normalise the name, parse the settings, find the hosts, start to watch the progress, resolve, fetch
what the platform needs while the layers are applied in order, and only then write the records that
make the image visible: by its id, its tag and its digest.

`Puller`'s attributes are the classes that do each part. Whoever wants one decision taken otherwise
subclasses the part, and names it in a subclass of `Puller`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from reference.auth import Authorizer
from reference.compat_remote import RemoteForAll
from reference.config import Config, Request
from reference.descriptors import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    SCHEMA1_SIGNED,
    SCHEMA1_TYPES,
    Descriptor,
    is_encrypted_type,
)
from reference.downloads import Downloads
from reference.errors import Cancelled, ConfigError, NoMatchingPlatform, PromiseMismatch
from reference.fetch import Fetcher
from reference.hosts import Host, Hosts
from reference.images import MANAGED, PINNED
from reference.labels import annotated, bare
from reference.leases import InUseError, at_once
from reference.local import Found, Local
from reference.manifests import ImageConfig, Manifest
from reference.names import Name
from reference.platforms import Platform, PlatformMatcher
from reference.progress import Cancellation, ProgressReporter
from reference.remote import Remote
from reference.resolve import Resolved, Resolver
from reference.schema1 import Schema1Converter
from reference.snapshots import Snapshots
from reference.tracing import span
from reference.transport import Transport


@dataclass(frozen=True)
class Pulled:
    """What a pull ended with."""

    name: str
    """The normalised name that was pulled."""
    image_id: str
    """The digest of the image's config."""
    digest: str
    """The digest that the name stands for: of the index, if it is one."""
    manifest: Descriptor
    """The manifest of the platform's image."""
    repo_tag: str
    """Empty for a pull by digest."""
    repo_digest: str
    """Empty for schema 1 by tag: the converted manifest's digest means nothing to a registry."""
    rootfs: Path | None = None
    """The tree of all layers; None for a pull that only fetches, and for a tree to be mounted."""


class Puller(Local):
    """Pulls images into the store at `root`. Any number of pulls may run at a time."""

    hosts = Hosts
    authorizer = Authorizer
    transport = Transport
    remote = Remote
    resolver = Resolver
    fetcher = Fetcher
    downloads = Downloads
    progress = ProgressReporter
    schema1 = Schema1Converter

    def __init__(self, config: Config, root: Path) -> None:
        super().__init__(config, root)
        if config.quirks.credentials_for_whoever_asks:
            self.remote = RemoteForAll

    def pull(self, request: Request, *, cancellation: Cancellation | None = None) -> Pulled:
        """Pull one image. Raises PullError; `cancellation` ends it from another thread."""
        name = self.names().parse(request.image)
        snapshotter = self.unpacker(request).name  # an unknown runtime is refused here
        matcher = self.platforms(self.platform(request.platform))
        hosts = self.hosts(self.config)
        candidates = hosts.of(name.domain)
        cancellation = cancellation or Cancellation()
        with (
            span("PullImage") as told,
            self.progress(self.config, str(name), cancellation) as reporter,
            self.deadline(cancellation),
            self.lease.pulling(cancellation.wait),
            self.transport(self.config, cancellation, reporter) as transport,
        ):
            told.set_attribute("image.ref", str(name))
            told.set_attribute("snapshotter.name", snapshotter)
            authorizer = self.authorizer(transport, request.auth)
            remote = self.remote(self.config, transport, authorizer, name)
            resolver = self.resolver(self.config, remote)
            if self.config.quirks.tokens_of_each_phase:
                remote = self.remote(
                    self.config, transport, self.authorizer(transport, request.auth), name
                )
            content = hosts.for_fetching(candidates)
            fetcher = self.fetcher(self.config, remote, content, self.content)
            deciding = self.deciding(hosts, candidates, name)
            resolved = resolver.resolve(name, deciding)
            schema1 = resolved.descriptor.media_type in SCHEMA1_TYPES
            if self.config.quirks.unsigned_schema1_refused:
                schema1 = resolved.descriptor.media_type == SCHEMA1_SIGNED
            if self.is_misstated(resolved, fetcher):
                resolved = resolver.reread(name, deciding)
            found = (
                self.converted(resolved, fetcher)
                if schema1
                else self.fetched(resolved, matcher, fetcher)
            )
            found = replace(found, manifest=self.labelled(name, found))
            rootfs = self.fetch_and_unpack(found, matcher, fetcher, request)
            cancellation.check()
            told.add_event("Pull and unpack image complete")
            pulled = self.record(name, found, rootfs, schema1=schema1)
        if self.config.discard_unpacked_layers and request.unpack:
            with suppress(InUseError):  # then whoever pulls last does it
                self.collect(at_once)
        return pulled

    # Before the first request.

    def deciding(self, hosts: Hosts, candidates: tuple[Host, ...], name: Name) -> tuple[Host, ...]:
        """Who may be asked what the name stands for: content has a digest, a tag needs trust."""
        return hosts.for_content(candidates) if name.digest else hosts.for_tags(candidates)

    @contextmanager
    def deadline(self, cancellation: Cancellation) -> Iterator[None]:
        """Cancel when the whole pull takes longer than it may."""
        limit = self.config.timeout
        if limit is None:
            yield
            return
        timer = threading.Timer(limit, cancellation.cancel, [Cancelled(f"timeout of {limit:g}s")])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    # The documents.

    def is_misstated(self, resolved: Resolved, fetcher: Fetcher) -> bool:
        """Whether the length that a HEAD stated isn't the one that the document comes with.

        The digest decides what a manifest is; nobody has vouched for that length (C02).
        """
        known = resolved.descriptor.media_type in INDEX_TYPES | MANIFEST_TYPES
        if resolved.body is not None or not known or self.config.quirks.head_length_is_final:
            return False
        try:
            fetcher.document(resolved.descriptor)
        except PromiseMismatch:
            return True
        return False

    def fetched(self, resolved: Resolved, matcher: PlatformMatcher, fetcher: Fetcher) -> Found:
        """The image for the platform, with the documents that lead to it in the store."""
        if resolved.body is not None:
            fetcher.keep(resolved.descriptor, resolved.body)
        return self.find(resolved.descriptor, matcher, fetcher.document)

    def converted(self, resolved: Resolved, fetcher: Fetcher) -> Found:
        """Turn a schema 1 manifest into an OCI one, which is then the image."""
        body = resolved.body or fetcher.signed(resolved.descriptor)

        def fetch_all(blobs: Iterable[Descriptor]) -> None:
            with self.concurrent(fetcher) as downloads:
                downloads.start(blobs)
                downloads.wait_all()

        converter = self.schema1(self.content, fetcher.describe, fetch_all)
        target = converter.convert(body, resolved.descriptor)
        document = self.manifests().read(self.content.read(target.digest), target)
        assert isinstance(document, Manifest)
        return Found(target, target, document)

    def labelled(self, name: Name, found: Found) -> Manifest:
        """The manifest with what snapshotters are told of its layers (ANN-01, ANN-07, ANN-09)."""
        if not self.config.disable_snapshot_annotations:
            return annotated(found.manifest, str(name), found.descriptor.digest)
        return found.manifest if self.config.quirks.manifest_labels else bare(found.manifest)

    # The content.

    def concurrent(self, fetcher: Fetcher) -> Downloads:
        """Threads that fetch blobs."""
        limit = self.config.max_concurrent_downloads
        if self.config.quirks.unlimited_downloads:
            limit = 0
        return self.downloads(fetcher.fetch, limit, fetcher.cancellation)

    def fetch_and_unpack(
        self, found: Found, matcher: PlatformMatcher, fetcher: Fetcher, request: Request
    ) -> Path | None:
        """Fetch config and layers; apply each layer as soon as it and those below are there."""
        manifest = found.manifest
        if request.unpack:
            self.check_keys(manifest)
        if request.unpack and self.config.discard_unpacked_layers:
            fetcher.fetch(manifest.config)
            diff_ids = self.read_config(found, matcher).diff_ids
            if self.unpacker(request).has(diff_ids):
                return self.unpacker(request).rootfs(diff_ids)
        with self.concurrent(fetcher) as downloads:
            downloads.start(manifest.content)
            downloads.wait(manifest.config)
            config = self.read_config(found, matcher)
            rootfs = None
            if request.unpack:
                unpacker = self.unpacker(request)
                unpacker.prepare(
                    self.content, manifest, config, downloads.wait, fetcher.cancellation.check
                )
                rootfs = unpacker.rootfs(config.diff_ids)
            downloads.wait_all()
        return rootfs

    def check_keys(self, manifest: Manifest) -> None:
        """Refuse an encrypted image that nobody here may read, before its layers are fetched."""
        if any(is_encrypted_type(layer.media_type) for layer in manifest.layers):
            from reference.encryption import Keys

            Keys(self.config.decryption_keys).check(manifest.layers)

    def unpacker(self, request: Request) -> Snapshots:
        """The snapshotter of the runtime that the image is for (MISC-01 to MISC-03)."""
        if not request.runtime_handler:
            return self.unpacked
        try:
            name = self.config.runtimes[request.runtime_handler]
        except KeyError:
            raise ConfigError(f"no runtime is called {request.runtime_handler!r}") from None
        return self.snapshotter(name) if name else self.unpacked

    def read_config(self, found: Found, matcher: PlatformMatcher) -> ImageConfig:
        """The config; of an index's entry without a platform it must say that it fits (IDX-07)."""
        manifest = found.manifest
        config = self.manifests().config(self.read(manifest.config), manifest)
        chosen_blindly = found.descriptor is not found.target and found.descriptor.platform is None
        if chosen_blindly and not matcher.matches(Platform.from_json(config.platform)):
            raise NoMatchingPlatform(
                f"no match for platform {matcher.platform}: {found.descriptor.digest} "
                f"is for {Platform.from_json(config.platform)}"
            )
        return config

    # The records.

    def record(self, name: Name, found: Found, rootfs: Path | None, *, schema1: bool) -> Pulled:
        """Make the image visible: only now, when all of it is here."""
        image_id = found.manifest.config.digest
        repo_tag = str(name) if name.tag else ""
        repo_digest = self.repo_digest(name, found.target, schema1=schema1)
        labels = {**MANAGED, **(PINNED if str(name) in self.config.pinned_images else {})}
        names = list(dict.fromkeys(filter(None, (repo_tag or repo_digest, image_id, repo_digest))))
        one_by_one = self.config.quirks.records_one_by_one
        for together in [[each] for each in names] if one_by_one else [names]:
            self.records.put_all(together, found.target, labels, anew=str(name))
        return Pulled(
            name=str(name),
            image_id=image_id,
            digest=found.target.digest,
            manifest=found.descriptor,
            repo_tag=repo_tag,
            repo_digest=repo_digest,
            rootfs=rootfs,
        )

    def repo_digest(self, name: Name, target: Descriptor, *, schema1: bool) -> str:
        """The name by which the registry gives exactly this image again."""
        if name.digest:
            return str(name)
        return "" if schema1 else f"{name.repository}@{target.digest}"
