"""Everything that a pull can be told: one `Config` per puller, one `Request` per pull."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from reference.compat import Quirks
from reference.errors import ConfigError

Headers = Mapping[str, "str | Sequence[str]"]
"""Header name to one value or several."""


@dataclass(frozen=True)
class AuthConfig:
    """Credentials as the CRI's AuthConfig carries them; all fields are optional.

    `server_address` limits them to one host. The first that is set wins: `username` (with
    `password`), `identity_token` (a refresh token), `auth` (base64 of ``user:password``).
    `registry_token` is accepted and not used, as containerd does.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    server_address: str = ""
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class TLSConfig:
    """TLS of one registry: a CA added to the system's, a client pair, or no verification."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure_skip_verify: bool = False


@dataclass(frozen=True)
class RegistryConfig:
    """What is known of one registry host when there is no hosts.toml tree."""

    auth: AuthConfig | None = None
    tls: TLSConfig | None = None


@dataclass(frozen=True)
class Config:
    """Settings of a puller, for all its pulls. Durations are seconds, sizes bytes.

    Hosts are read from `config_path` when it has a root, else from `mirrors` (registry host, or
    ``*``, to endpoints) and `configs` (endpoint host to auth and TLS). `plain_http` names hosts
    that are spoken to without TLS beside localhost (``*`` is all). `tls` is the default where a
    host's own configuration has no TLS keys.
    """

    config_path: tuple[Path, ...] = ()
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    configs: Mapping[str, RegistryConfig] = field(default_factory=dict)
    plain_http: frozenset[str] = frozenset()
    tls: TLSConfig | None = None
    headers: Headers = field(default_factory=dict, repr=False)

    platform: str | None = None
    max_concurrent_downloads: int = 3
    concurrent_layer_fetch_buffer: int = 0
    """Longest part of a blob: longer blobs are fetched in parts of so many bytes, up to
    `max_concurrent_downloads` at a time, each kept in memory until its turn to be written. Less
    than 512 bytes, or one download at a time, mean no parts (BLOB-15)."""

    progress_timeout: float = 300.0
    """Cancel when requests are active and no byte arrives for so long; 0 switches it off."""
    progress_interval: float = 10.0
    """How often progress is looked at, when the timeout isn't shorter."""
    progress_interval_floor: float = 5.0
    """... and never more often than this."""
    min_rate: int = 0
    """Bytes a second, over the progress timeout, that count as progress; 0: any byte does. It is
    for the drip that else keeps a pull alive for ever (PROG-07)."""

    connect_timeout: float = 30.0
    tls_handshake_timeout: float = 10.0
    response_header_timeout: float = 30.0
    """Longest wait for an answer to begin; how long its body may take is `progress_timeout`'s."""
    timeout: float | None = None
    """Longest time for a whole pull; None is no limit."""

    snapshotter: str = "native"
    """What unpacked images are kept in: ``native`` (a folder each), or ``overlayfs``."""
    decryption_keys: tuple[Path, ...] = ()
    """Private keys for encrypted layers: files, or folders of files."""
    runtimes: Mapping[str, str] = field(default_factory=dict)
    """Runtime handler to its snapshotter; "" is the default one."""
    disable_snapshot_annotations: bool = True
    """Tell snapshotters nothing of layers beside their content; see `reference.labels`."""
    pinned_images: frozenset[str] = frozenset()
    """Normalised names of images that a kubelet shall not remove to make room."""
    discard_unpacked_layers: bool = False
    """Keep no layer of an image that is unpacked: its files are there, its blobs can be fetched."""

    max_manifest_size: int = 4 * 1024 * 1024
    max_layer_size: int = 64 * 1024**3
    """Longest tar that a layer may unpack to (LAYER-31); 0 is no limit."""
    max_index_depth: int = 4
    max_redirects: int = 10
    resume_attempts: int = 3
    """How often a broken body may be continued without a new byte in between."""
    resume_budget: int = 100
    """... and how often at all."""
    retry_attempts: int = 3
    """How often one request is sent again after 408, 429 or 5xx."""
    retry_after_cap: float = 10.0
    """Longest pause that a Retry-After header is granted; longer ones fail at once."""

    http2: bool = False
    """Speak HTTP/2 to registries that offer it. containerd never does: it sets its own dialer, and
    not ``ForceAttemptHTTP2``, and Go then keeps to HTTP/1.1."""

    trust_env: bool = True
    """Honour HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""
    proxy: str | None = field(default=None, repr=False)
    """One proxy for every host but loopback, instead of the environment's."""

    compat: Literal["containerd"] | None = None
    """Do all that containerd does, quirks included: the same as all of `quirks` on."""
    quirks: Quirks = field(default_factory=Quirks)
    """Single quirks of containerd; see `reference.compat`."""

    def __post_init__(self) -> None:
        """Refuse values that no pull can work with."""
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "int" and value < 0:
                raise ConfigError(f"{each.name} must not be negative")
            if each.type not in ("float", "float | None") or value is None:
                continue
            if not 0 <= value <= threading.TIMEOUT_MAX:
                raise ConfigError(
                    f"{each.name} must be 0 to {threading.TIMEOUT_MAX:.0f} seconds, not {value:g}"
                )
        if self.min_rate and not self.progress_timeout:
            raise ConfigError("min_rate is looked at over progress_timeout, which must not be 0")
        if self.compat not in (None, "containerd"):
            raise ConfigError(f'compat must be "containerd" or absent, not {self.compat!r}')
        if self.compat == "containerd":
            object.__setattr__(self, "quirks", Quirks.containerd())
        if self.quirks.mistyped_manifest_limit:
            object.__setattr__(self, "max_manifest_size", 4 * 1048 * 1048)


@dataclass(frozen=True)
class Request:
    """One pull: the image as a user types it, and what is known of its registry."""

    image: str
    auth: AuthConfig | None = None
    platform: str | None = None
    """``os/architecture[/variant]``; None is `Config.platform`, or this machine."""
    runtime_handler: str = ""
    """The runtime that the image is for, which may have a snapshotter of its own."""
    unpack: bool = True
    """Apply the layers too; False only fills the store."""
