"""The puller contract: what is asked of a puller, and what it may answer.

Every kind of profile (``python``, ``command``, ``wrapper``, ``cri``) speaks the same four
dataclasses: a `PullRequest` goes in, an `Outcome` comes out, `Status` and `Description` answer the
two questions beside a pull. Requests and answers also have a JSON form, whose schemas are shipped
in ``conformance/schemas``; the ``wrapper`` kind speaks that form over a pipe.

A request never names the case that it serves: a puller must not be able to tell cases apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from conformance.evidence import Layout
    from conformance.profile import Profile

__all__ = [
    "CONTRACT_VERSION",
    "AuthConfig",
    "Description",
    "Evidence",
    "HarnessError",
    "HostConfig",
    "Kind",
    "Limits",
    "NotUsable",
    "Outcome",
    "PullRequest",
    "Puller",
    "Running",
    "Session",
    "Status",
    "Trust",
]

CONTRACT_VERSION = 1
"""Version number of the JSON forms; a puller that sees another one answers ``unsupported``."""

Kind = Literal["pulled", "failed", "unsupported", "crashed", "hung"]
"""How a pull ended: ``failed`` is a clean refusal, ``crashed`` and ``hung`` never are one."""


class HarnessError(Exception):
    """Our side failed: something could not be started, read or parsed. The verdict is ``error``."""


class NotUsable(HarnessError):  # noqa: N818 - the word that the exit status and the docs use
    """This puller can't run on this machine. One line says why and what to do; exit status 10."""


class Evidence(StrEnum):
    """What a puller lets us see after a pull."""

    LAYOUT = "layout"
    """An OCI layout or a content store: every byte can be verified."""
    ROOTFS = "rootfs"
    """The unpacked tree, to be compared with the golden tree."""
    ARCHIVE = "archive"
    """A docker-archive: config digest and diffIDs."""
    IMAGE_ID = "image-id"
    """The puller reports the image id (the digest of the config)."""
    STATUS = "status"
    """Whether a reference resolves to something in the store."""
    LOG = "log"
    """Exit, stderr and the registry's journal: always there."""


def _without_none(document: Mapping[str, Any]) -> dict[str, Any]:
    """Drop absent members, so that 'not asked for' and 'not in the document' are one thing."""
    return {key: value for key, value in document.items() if value is not None}


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


@dataclass(frozen=True)
class AuthConfig:
    """Credentials, in the fields of the CRI ``AuthConfig``; None is a field that wasn't given.

    ``auth`` is base64 of ``user:password``; ``server_address`` says which host these credentials
    are for; ``identity_token`` is an OAuth2 refresh token.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: str | None = field(default=None, repr=False)
    server_address: str | None = None
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)

    def inputs(self) -> set[str]:
        """The inputs that a puller has to have a way for, by name."""
        asked = set()
        if self.username is not None or self.password is not None:
            asked.add("auth")
        for name in ("auth", "server_address", "identity_token", "registry_token"):
            if getattr(self, name) is not None:
                asked.add("auth-encoded" if name == "auth" else name.replace("_", "-"))
        # An AuthConfig without any field is still an input: "empty" isn't "none given".
        return asked or {"auth-empty"}

    def to_json(self) -> dict[str, Any]:
        """The fields that were given."""
        return _without_none(vars(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AuthConfig:
        """The reverse of `to_json`."""
        return cls(**document)


@dataclass(frozen=True)
class Trust:
    """Whom to trust and who we are, in PEM files. ``client_key`` None: it is in the same file."""

    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    skip_verify: bool = False

    def to_json(self) -> dict[str, Any]:
        """Paths as text; absent members are left out."""
        document = {
            name: None if getattr(self, name) is None else str(getattr(self, name))
            for name in ("ca", "client_certificate", "client_key")
        }
        return _without_none(document) | {"skip_verify": self.skip_verify}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trust:
        """The reverse of `to_json`."""
        return cls(
            ca=_path(document.get("ca")),
            client_certificate=_path(document.get("client_certificate")),
            client_key=_path(document.get("client_key")),
            skip_verify=bool(document.get("skip_verify", False)),
        )


@dataclass(frozen=True)
class HostConfig:
    """One host to ask for an image: a mirror, or with ``server`` the last one of the list.

    Neutral between pullers: an adapter writes it as ``hosts.toml``, ``registries.conf`` or whatever
    the puller reads. Mirrors are asked in the order of the request.

    Attributes:
        url: scheme, host and port, perhaps with a path: ``http://127.0.0.1:4711``.
        capabilities: ``pull``, ``resolve``, ``push``; None leaves the puller's default (all).
        headers: extra request headers for this host alone.
        override_path: the URL's path is the API's root; no ``/v2`` is appended.
        dial_timeout_s: limit for the TCP connection, in seconds.
        namespace: the host (and port) in image references that this entry serves; None means the
            host of the request's image.
        server: this entry takes the place of the namespace's own host.
    """

    url: str
    capabilities: tuple[str, ...] | None = None
    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    skip_verify: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    override_path: bool = False
    dial_timeout_s: float | None = None
    namespace: str | None = None
    server: bool = False

    def to_json(self) -> dict[str, Any]:
        """Paths as text; absent members are left out."""
        return _without_none(
            {
                "url": self.url,
                "capabilities": None if self.capabilities is None else list(self.capabilities),
                **Trust(
                    self.ca, self.client_certificate, self.client_key, self.skip_verify
                ).to_json(),
                "headers": dict(self.headers) or None,
                "override_path": self.override_path,
                "dial_timeout_s": self.dial_timeout_s,
                "namespace": self.namespace,
                "server": self.server,
            }
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HostConfig:
        """The reverse of `to_json`."""
        trust = Trust.from_json(document)
        capabilities = document.get("capabilities")
        return cls(
            url=document["url"],
            capabilities=None if capabilities is None else tuple(capabilities),
            ca=trust.ca,
            client_certificate=trust.client_certificate,
            client_key=trust.client_key,
            skip_verify=trust.skip_verify,
            headers=dict(document.get("headers", {})),
            override_path=bool(document.get("override_path", False)),
            dial_timeout_s=document.get("dial_timeout_s"),
            namespace=document.get("namespace"),
            server=bool(document.get("server", False)),
        )


@dataclass(frozen=True)
class Limits:
    """Limits that the *puller* is asked to keep; None leaves its default. Seconds and counts."""

    timeout_s: float | None = None
    progress_timeout_s: float | None = None
    max_concurrent_downloads: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The limits that were given."""
        return _without_none(vars(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Limits:
        """The reverse of `to_json`."""
        return cls(**document)


@dataclass(frozen=True)
class PullRequest:
    """One pull.

    Attributes:
        image: the reference as a user would type it, with tag or digest.
        store: folder that is kept between the pulls of one case: what the puller keeps, it keeps
            there.
        output: empty folder of this pull alone: results that the puller writes out.
        platform: ``os/architecture[/variant]``; None leaves the puller's default.
        auth: None is 'no credentials', which differs from an `AuthConfig` without fields.
        trust: CA, client certificate and verification for the image's own host.
        plain_http: the image's own host speaks http.
        http2: speak HTTP/2 to hosts that offer it by ALPN.
        hosts: mirrors, in order, and perhaps the server that replaces the image's own host.
        hosts_tree: files of a ``hosts.toml`` tree, word by word (path below the root -> text), for
            what `hosts` can't say; replaces whatever would be written from `hosts`, `trust` and
            `plain_http`.
        headers: extra headers for every request to a registry.
        proxy: URL of an HTTP proxy.
        decryption_keys: PEM private keys for encrypted layers.
        runtime_handler: CRI's runtime handler.
        annotations: annotations of the CRI sandbox config.
    """

    image: str
    store: Path
    output: Path
    platform: str | None = None
    auth: AuthConfig | None = None
    trust: Trust = Trust()
    plain_http: bool = False
    http2: bool = False
    hosts: tuple[HostConfig, ...] = ()
    hosts_tree: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    proxy: str | None = None
    limits: Limits = Limits()
    decryption_keys: tuple[Path, ...] = ()
    runtime_handler: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def inputs(self) -> frozenset[str]:
        """Names of the inputs this request asks for beyond an image (see ``docs/write-a-profile``).

        A puller that has no way to be given one of them can't be asked: the adapter answers
        ``unsupported`` with that name.
        """
        asked = self.auth.inputs() if self.auth else set()
        flags = {
            "platform": self.platform is not None,
            "ca": self.trust.ca is not None,
            "client-certificate": self.trust.client_certificate is not None,
            "skip-verify": self.trust.skip_verify,
            "plain-http": self.plain_http,
            "http2": self.http2,
            "mirrors": bool(self.hosts),
            "hosts-toml": self.hosts_tree is not None,
            "headers": bool(self.headers),
            "proxy": self.proxy is not None,
            "timeout": self.limits.timeout_s is not None,
            "progress-timeout": self.limits.progress_timeout_s is not None,
            "max-concurrent-downloads": self.limits.max_concurrent_downloads is not None,
            "decryption-keys": bool(self.decryption_keys),
            "runtime-handler": self.runtime_handler is not None,
            "annotations": bool(self.annotations),
        }
        return frozenset(asked | {name for name, given in flags.items() if given})

    def to_json(self) -> dict[str, Any]:
        """The JSON form; ``hosts_dir`` is added by the adapter that wrote such a tree."""
        return _without_none(
            {
                "image": self.image,
                "store": str(self.store),
                "output": str(self.output),
                "platform": self.platform,
                "auth": None if self.auth is None else self.auth.to_json(),
                "trust": self.trust.to_json(),
                "plain_http": self.plain_http,
                "http2": self.http2 or None,
                "hosts": [host.to_json() for host in self.hosts],
                "hosts_tree": None if self.hosts_tree is None else dict(self.hosts_tree),
                "headers": dict(self.headers),
                "proxy": self.proxy,
                "limits": self.limits.to_json(),
                "decryption_keys": [str(key) for key in self.decryption_keys],
                "runtime_handler": self.runtime_handler,
                "annotations": dict(self.annotations),
            }
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PullRequest:
        """The reverse of `to_json`."""
        auth = document.get("auth")
        return cls(
            image=document["image"],
            store=Path(document["store"]),
            output=Path(document["output"]),
            platform=document.get("platform"),
            auth=None if auth is None else AuthConfig.from_json(auth),
            trust=Trust.from_json(document.get("trust", {})),
            plain_http=bool(document.get("plain_http", False)),
            http2=bool(document.get("http2", False)),
            hosts=tuple(HostConfig.from_json(host) for host in document.get("hosts", ())),
            hosts_tree=document.get("hosts_tree"),
            headers=dict(document.get("headers", {})),
            proxy=document.get("proxy"),
            limits=Limits.from_json(document.get("limits", {})),
            decryption_keys=tuple(Path(key) for key in document.get("decryption_keys", ())),
            runtime_handler=document.get("runtime_handler"),
            annotations=dict(document.get("annotations", {})),
        )


@dataclass(frozen=True)
class Outcome:
    """How one pull ended.

    Attributes:
        kind: see `Kind`.
        error: one line in the puller's own words, for ``failed``, ``crashed`` and ``hung``.
        feature: the input or operation that the puller lacks, for ``unsupported``.
        image_id: digest of the config, where the puller reports it.
        digest: digest of the manifest or index that was resolved, where the puller reports it.
        code: the class of the error where the puller has one: a gRPC status name, for example.
        exit_status: as the shell would see it; negative for a signal; None without a process.
        stderr: what the puller wrote there, bounded: the beginning and the end.
        argv: the command line, for the reader who wants to repeat it.
        seconds: wall time of the pull alone, without the start of a daemon.
    """

    kind: Kind
    error: str = ""
    feature: str = ""
    image_id: str | None = None
    digest: str | None = None
    code: str | None = None
    exit_status: int | None = None
    stderr: str = field(default="", repr=False)
    argv: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The JSON form; absent members are left out."""
        return _without_none({**vars(self), "argv": list(self.argv)})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Outcome:
        """The reverse of `to_json`."""
        return cls(**{**document, "argv": tuple(document.get("argv", ()))})


@dataclass(frozen=True)
class Status:
    """Whether a reference resolves to something in the store, and to what."""

    present: bool
    image_id: str | None = None
    digest: str | None = None
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The JSON form; absent members are left out."""
        return _without_none(
            {
                **vars(self),
                "repo_tags": list(self.repo_tags),
                "repo_digests": list(self.repo_digests),
            }
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Status:
        """The reverse of `to_json`."""
        return cls(
            present=bool(document["present"]),
            image_id=document.get("image_id"),
            digest=document.get("digest"),
            repo_tags=tuple(document.get("repo_tags", ())),
            repo_digests=tuple(document.get("repo_digests", ())),
        )


@dataclass(frozen=True)
class Description:
    """What a puller says of itself before the first pull."""

    name: str
    version: str
    roles: frozenset[str]
    evidence: frozenset[Evidence]
    features: frozenset[str]


class Running(Protocol):
    """A pull on its way."""

    def wait(self) -> Outcome:
        """The outcome, at the latest when the budget is used up (then ``hung``)."""

    def cancel(self) -> None:
        """Ask the puller to give up as its user would: Ctrl-C, or the RPC's cancellation."""

    def kill(self) -> None:
        """End the puller as a power cut would: SIGKILL to its process, or to its daemon."""


class Session(Protocol):
    """One puller with private state, for one case in one world. Close it: it may own a daemon."""

    def pull(self, request: PullRequest, budget_s: float) -> Outcome:
        """Pull and wait; after `budget_s` seconds the puller is killed and the outcome ``hung``."""

    def start(self, request: PullRequest, budget_s: float) -> Running:
        """Begin a pull; several may be on their way at once."""

    def status(self, image: str, request: PullRequest) -> Status:
        """Whether `image` resolves in the store of `request`."""

    def remove(self, image: str, request: PullRequest) -> bool:
        """Remove the reference `image` from that store; False: this puller can't remove."""

    def layout(self, image: str, request: PullRequest) -> Layout | None:
        """The content that `image` resolves to in that store; None when there is none."""

    def rootfs(self, image: str, request: PullRequest) -> Path | None:
        """The unpacked tree of `image`, readable until the session closes; None without one."""

    def close(self) -> None:
        """Stop what was started, undo what was mounted. Safe to call twice."""


class Puller(Protocol):
    """A profile that has been made usable."""

    profile: Profile

    def describe(self) -> Description:
        """Name, version and claims; raises `NotUsable` with one line when it can't run here."""

    def session(self, directory: Path) -> Session:
        """A session with its private state below `directory` (which exists and is empty)."""
