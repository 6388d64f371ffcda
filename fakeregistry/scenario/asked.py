"""``[pull]`` and ``[expect]`` as frozen values: what is asked of a puller, and what is right.

Fields are named as the keys of the file. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .model import TargetPart

OUTCOMES = ("pulled", "refused", "either")
AUTHS = ("right", "wrong", "none")
TRUSTS = ("right", "none", "skip")
CLIENT_CERTIFICATES = ("right", "wrong", "none")
DECRYPTION_KEYS = ("right", "wrong", "none")
CAPABILITIES = ("pull", "resolve", "push")

Outcome = Literal["pulled", "refused", "either"]
Auth = Literal["right", "wrong", "none"]
TrustWord = Literal["right", "none", "skip"]
ClientCertificate = Literal["right", "wrong", "none"]
DecryptionKey = Literal["right", "wrong", "none"]


@dataclass(frozen=True)
class HostPart:
    """One host of ``hosts``: a mirror, or with ``server`` what replaces the image's own host.

    ``path`` is appended to the registry's URL; with ``override_path`` it is the API's root, and no
    ``/v2`` follows. ``capabilities`` empty: the puller's default. ``headers`` go to this host only.
    ``resolves`` False: its name can't be looked up (a lie of the request).
    """

    registry: str
    server: bool = False
    capabilities: tuple[str, ...] = ()
    path: str = ""
    override_path: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    dial_timeout: float | None = None
    trust: TrustWord = "right"
    client_certificate: bool = False
    resolves: bool = True


@dataclass(frozen=True)
class PullPart:
    """One step of ``[pull]``: what is asked of the puller, and by what name the store is kept.

    ``auth``, ``trust``, ``client_certificate`` and ``decryption_key`` say what the puller is given:
    ``right`` is what the world accepts (and nothing where it asks for nothing), anything that can't
    work there is a lie. ``auth_of``: the credentials of that registry. ``plain_http`` None: as the
    registry speaks. ``http2``: speak that where it is offered. ``proxy``: the ``[[proxy]]`` to go
    through, with ``proxy_auth`` as what it is to be told. ``hosts``: in the order in which they are
    to be tried. ``times``: so often, one after the other; ``parallel``: at once.

    ``cancel_at``, ``kill_at`` and ``leave_at`` name a rule. Once it holds an answer (one that can't
    hold: once it has fired), the pull is cancelled, killed, or left under way while the next step
    begins; what is left ends when all steps are done. ``without``: rules that end before this step.
    ``outcome`` None: what ``[expect]`` says; a step that is ended or left need only end cleanly.
    """

    image: str = ""
    platform: str | None = None
    by_digest: bool = False
    auth: Auth = "right"
    auth_of: str | None = None
    trust: TrustWord = "right"
    client_certificate: ClientCertificate = "right"
    decryption_key: DecryptionKey = "right"
    plain_http: bool | None = None
    http2: bool = False
    proxy: str | None = None
    proxy_auth: Auth = "right"
    hosts: tuple[HostPart, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    timeout: float | None = None
    progress_timeout: float | None = None
    max_concurrent_downloads: int | None = None
    times: int = 1
    parallel: int = 1
    store: str = "main"
    cancel_at: str | None = None
    kill_at: str | None = None
    leave_at: str | None = None
    without: tuple[str, ...] = ()
    outcome: Outcome | None = None
    line: int = 0

    @property
    def stopped_at(self) -> str | None:
        """The rule at which this step is cancelled, killed or left; None: it ends by itself."""
        return self.cancel_at or self.kill_at or self.leave_at


@dataclass(frozen=True)
class RequestsPart:
    """``[[expect.requests]]``: what a registry may and must have seen of one kind of request.

    ``in_flight_at_most``: so many under way at once. ``bytes_at_most``: in all their bodies
    together. ``apart_s``: from one to the next at least so long.
    """

    target: TargetPart
    at_least: int | None = None
    at_most: int | None = None
    in_flight_at_most: int | None = None
    bytes_at_most: int | None = None
    apart_s: float | None = None
    line: int = 0


@dataclass(frozen=True)
class ConnectionsPart:
    """``[[expect.connections]]``: how many connections a registry may and must have seen."""

    registry: str = "origin"
    at_least: int | None = None
    at_most: int | None = None
    line: int = 0


@dataclass(frozen=True)
class ExpectPart:
    """``[expect]``: what a right puller does.

    ``content`` True: what was pulled is the image, byte for byte; ``rootfs``: the unpacked tree is
    the right one. ``absent``: at the end the store doesn't resolve the reference to the image.
    ``no_leak``: no secret came to a registry that it isn't for. ``untouched``: registries that see
    no connection. ``fetched_at_most``: bytes of all answers with content, as a multiple of what the
    image has. ``at_least_s`` / ``at_most_s``: bounds of one pull, margin included.
    ``capabilities``: what a puller must be able to do, or it isn't asked. ``lines``: where the keys
    stand that only the suite can check.
    """

    outcome: Outcome = "pulled"
    content: bool = False
    rootfs: bool = False
    absent: bool = False
    no_leak: bool = False
    requests: tuple[RequestsPart, ...] = ()
    connections: tuple[ConnectionsPart, ...] = ()
    untouched: tuple[str, ...] = ()
    fetched_at_most: float | None = None
    at_least_s: float | None = None
    at_most_s: float | None = None
    requirements: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def asserts(self) -> bool:
        """Whether something is asked beside the outcome."""
        bounds = (self.at_least_s, self.at_most_s, self.fetched_at_most)
        flags = (self.content, self.rootfs, self.absent, self.no_leak)
        lists = (self.requests, self.connections, self.untouched)
        return any(flags) or any(lists) or any(bound is not None for bound in bounds)
