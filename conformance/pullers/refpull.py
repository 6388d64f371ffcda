"""The reference behind the contract: with the mutants, all of the suite that knows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.contract import Outcome, PullRequest, Status
from conformance.pullers.hostfiles import host_of, write_hosts_tree
from conformance.pullers.python_child import resolve
from reference.config import AuthConfig, Config, Request, TLSConfig
from reference.errors import PullError
from reference.pull import Puller

__all__ = ["ReferencePuller"]


class ReferencePuller:
    """Adapts ``reference.pull.Puller``, or a subclass of it, to a `PullRequest`.

    `puller` names the class as ``module:Class``: a mutant is the reference with another one.
    `progress_interval_floor` is in seconds; the reference's own 5 s would make every stall case
    wait for so long.
    """

    def __init__(
        self, puller: str = "reference.pull:Puller", progress_interval_floor: str = "0.2"
    ) -> None:
        self.puller_class: type[Puller] = resolve(puller)
        self._floor = float(progress_interval_floor)

    def pull(self, request: PullRequest) -> Outcome:
        """Pull and unpack. Raises PullError for a refusal."""
        pulled = self._puller(request).pull(
            Request(request.image, auth=_auth(request), platform=request.platform)
        )
        return Outcome("pulled", image_id=pulled.image_id, digest=pulled.digest)

    def status(self, image: str, request: PullRequest) -> Status:
        """The record of that reference."""
        puller = self._puller(request)
        record = puller.status(image)
        if record is None:
            return Status(False)
        names = [each.name for each in puller.records.list() if each.target == record.target]
        return Status(
            True,
            image_id=self._image_id(puller, image, request),
            digest=record.target.digest,
            repo_tags=tuple(n for n in names if "@" not in n and "/" in n),
            repo_digests=tuple(n for n in names if "@" in n),
        )

    def remove(self, image: str, request: PullRequest) -> None:
        """Remove the record of that reference."""
        self._puller(request).remove(image)

    def layout(self, image: str, request: PullRequest) -> tuple[Path, str] | None:
        """The store's blobs, and the digest that the reference stands for."""
        puller = self._puller(request)
        record = puller.status(image)
        if record is None:
            return None
        digest = record.target.digest
        return puller.content.path(digest).parents[1], digest

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """The folder in which the pull unpacked that reference."""
        puller = self._puller(request)
        if puller.status(image) is None:
            return None
        manifest = puller.here(image, request.platform).manifest
        config = puller.manifests().config(puller.read(manifest.config), manifest)
        unpacked = puller.unpacked
        return unpacked.rootfs(config.diff_ids) if unpacked.has(config.diff_ids) else None

    def _puller(self, request: PullRequest) -> Puller:
        root = request.store / "root"
        root.mkdir(parents=True, exist_ok=True)
        return self.puller_class(self._config(request), root)

    def _config(self, request: PullRequest) -> Config:
        limits = request.limits
        given: dict[str, Any] = {
            "progress_timeout": limits.progress_timeout_s,
            "max_concurrent_downloads": limits.max_concurrent_downloads,
            "timeout": limits.timeout_s,
            "proxy": request.proxy,
            "http2": request.http2 or None,
        }
        return Config(
            **self._hosts(request),
            headers=dict(request.headers),
            progress_interval_floor=self._floor,
            trust_env=False,
            decryption_keys=request.decryption_keys,
            **{name: value for name, value in given.items() if value is not None},
        )

    def _hosts(self, request: PullRequest) -> Mapping[str, Any]:
        """By a ``hosts.toml`` tree where there is more than the image's own host to say."""
        if request.hosts or request.hosts_tree is not None:
            tree = write_hosts_tree(request.store / "certs.d", request, "server")
            return {"config_path": (tree,)}
        trust = request.trust
        tls = TLSConfig(
            ca_file=trust.ca,
            cert_file=trust.client_certificate,
            key_file=trust.client_key,
            insecure_skip_verify=trust.skip_verify,
        )
        plain = frozenset({host_of(request.image)} if request.plain_http else ())
        return {"plain_http": plain, "tls": None if tls == TLSConfig() else tls}

    @staticmethod
    def _image_id(puller: Puller, image: str, request: PullRequest) -> str | None:
        try:
            return puller.here(image, request.platform).manifest.config.digest
        except PullError:
            # The record stands and what it names does not: that is the layout's to show.
            return None


def _auth(request: PullRequest) -> AuthConfig | None:
    return None if request.auth is None else AuthConfig(**request.auth.to_json())
