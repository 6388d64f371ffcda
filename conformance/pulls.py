"""Pulling, as case authors see it: one call, one `Pulled`, and questions about the store.

A `CasePuller` fills in what every request needs (plain http, the world's CA, store and output),
keeps what happened for the judge, and turns 'can't be asked' into `NotApplicable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.contract import (
    AuthConfig,
    Evidence,
    HostConfig,
    Limits,
    Outcome,
    PullRequest,
    Session,
    Status,
    Trust,
)
from conformance.evidence import Layout, tree_of
from conformance.neighbours import Recall
from conformance.pulled import NotApplicable, Pulled, RunningPull
from conformance.rightness import wrong_content
from conformance.tree import Tree
from conformance.world import World, WorldRegistry
from fakeregistry import Image

__all__ = ["CANT_BE_GIVEN", "CasePuller", "NotApplicable", "Pulled", "RunningPull"]

CANT_BE_GIVEN = "can't be given: "
"""How the note of a case begins whose input the puller has no way to take."""


class CasePuller:
    """The puller under test, in one world, with private stores."""

    def __init__(
        self,
        open_session: Callable[[], Session],
        world: World,
        evidence: frozenset[Evidence],
        *,
        directory: Path,
        longest_s: float,
        memory: Recall | None = None,
        with_rootfs: bool = False,
    ) -> None:
        self._open_session = open_session
        self._session: Session | None = None
        self.world = world
        self.evidence = evidence
        self.directory = directory
        self.longest_s = longest_s
        self.memory = memory
        self.with_rootfs = with_rootfs
        self.tree_is_told = False
        """The right tree is that of the declared entries, though the content has a lie."""
        self.pulls: list[Pulled] = []
        self.running: list[RunningPull] = []

    @property
    def session(self) -> Session:
        """The puller's session, begun when first needed: it may start a daemon."""
        if self._session is None:
            self._session = self._open_session()
        return self._session

    def close(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            self._session.close()

    def pull(
        self,
        image: Image | str,
        *,
        auth: Any = None,
        platform: str | None = None,
        trust: Trust | None = None,
        hosts: Sequence[HostConfig | WorldRegistry] = (),
        hosts_tree: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        http2: bool = False,
        timeout: float | None = None,
        progress_timeout: float | None = None,
        max_concurrent_downloads: int | None = None,
        by_digest: bool = False,
        store: str = "main",
        within: float | None = None,
        watch: float | None = None,
        **more: Any,
    ) -> Pulled:
        """Pull and wait.

        `auth`: a registry's ``credentials``, an `AuthConfig`, or None for none. `trust` None: the
        world's CA where the image's host speaks TLS. `timeout`, `progress_timeout` and
        `max_concurrent_downloads` are limits that the puller is asked to keep. `within`: seconds
        after which the pull must have ended: later it has *hung*. `watch`: seconds that we look
        on without judging. `store`: the pulls of one store see each other's content. `more`:
        further fields of `PullRequest`; ``plain_http`` in place of what the image's
        own host speaks.
        """
        limits = Limits(timeout, progress_timeout, max_concurrent_downloads)
        pulled = self._prepared(
            image,
            by_digest=by_digest,
            auth=auth,
            trust=trust,
            hosts=hosts,
            store=store,
            limits=limits,
            platform=platform,
            hosts_tree=hosts_tree,
            headers=dict(headers or {}),
            proxy=proxy,
            http2=http2,
            **more,
        )
        pulled.limited = any(x is not None for x in (within, timeout, progress_timeout))
        budget = within or watch or self.longest_s
        if self.memory is not None:
            known = self.memory.pull(self.world, pulled.request)
            if known is not None:
                pulled.outcome, pulled.problems, pulled.cached = known[0], known[1], True
                self.pulls.append(pulled)
                return pulled
        pulled.outcome = self.session.pull(pulled.request, budget)
        self.ended(pulled)
        if self.memory is not None:
            self.memory.keep(pulled.outcome, pulled.problems)
        return pulled

    def start(
        self, image: Image | str, *, within: float | None = None, **options: Any
    ) -> RunningPull:
        """Begin a pull (arguments: see `pull`); several may be on their way at once."""
        if self.memory is not None:
            self.memory.in_full()
        limits = Limits(
            options.pop("timeout", None),
            options.pop("progress_timeout", None),
            options.pop("max_concurrent_downloads", None),
        )
        watch = options.pop("watch", None)
        pulled = self._prepared(image, limits=limits, **options)
        pulled.limited = within is not None or limits.timeout_s is not None
        running = self.session.start(pulled.request, within or watch or self.longest_s)
        handle = RunningPull(running, pulled, self.ended)
        self.running.append(handle)
        return handle

    def has(self, image: Image | str, *, store: str = "main") -> bool:
        """Whether the reference resolves to that image (to anything, for a bare reference)."""
        status = self.status(image, store=store)
        if not status.present or isinstance(image, str):
            return status.present
        ids = {image.spec.digest, getattr(image.spec, "image_id", None)}
        shown = {status.digest, status.image_id} - {None}
        return not shown or bool(shown & ids)

    def has_not(self, image: Image | str, *, store: str = "main") -> bool:
        """Whether the reference doesn't resolve to that image."""
        return not self.has(image, store=store)

    def has_image_id(self, image_id: str, *, store: str = "main") -> bool:
        """Whether an image with that id is there under its id."""
        return self.status(image_id, store=store).present

    def status(self, image: Image | str, *, store: str = "main") -> Status:
        """What the puller says of a reference."""
        self._need(Evidence.STATUS)
        self._fresh()
        reference = image if isinstance(image, str) else image.reference
        return self.session.status(reference, self._last(store))

    def remove(self, image: Image | str, *, store: str = "main") -> None:
        """Remove the reference."""
        self._fresh()
        reference = image if isinstance(image, str) else image.reference
        self.session.remove(reference, self._last(store))

    def layout(self, image: Image | str, *, store: str = "main") -> Layout | None:
        """The content that the reference resolves to; None when there is none."""
        self._need(Evidence.LAYOUT)
        self._fresh()
        reference = image if isinstance(image, str) else image.reference
        return self.session.layout(reference, self._last(store))

    def rootfs(self, image: Image | str, *, store: str = "main") -> Tree:
        """The unpacked tree; empty when there is none."""
        self._need(Evidence.ROOTFS)
        self._fresh()
        reference = image if isinstance(image, str) else image.reference
        path = self.session.rootfs(reference, self._last(store))
        return {} if path is None else tree_of(path)

    def offers(self, evidence: Evidence) -> bool:
        """Whether this puller shows that evidence."""
        return evidence in self.evidence

    # for the judge

    def ended(self, pulled: Pulled) -> None:
        """Take note of a pull that has ended, and look at what it left."""
        if pulled.outcome.kind == "unsupported":
            raise NotApplicable(f"{CANT_BE_GIVEN}{pulled.outcome.feature}")
        if pulled.succeeded:
            pulled.problems = wrong_content(
                self.session,
                pulled.request,
                pulled.image,
                self.evidence,
                honest=self.world.honest or not self._content_lies(),
                with_rootfs=self.with_rootfs,
                tree_is_told=self.tree_is_told,
            )
        self.pulls.append(pulled)

    def finish(self) -> None:
        """Wait for what is still on its way."""
        for handle in self.running:
            handle.wait()

    def _content_lies(self) -> bool:
        return any(lie.where in ("content", "request") for lie in self.world.lies)

    def _prepared(
        self,
        image: Image | str,
        *,
        limits: Limits,
        by_digest: bool = False,
        auth: Any = None,
        trust: Trust | None = None,
        hosts: Sequence[HostConfig | WorldRegistry] = (),
        store: str = "main",
        plain_http: bool | None = None,
        **fields: Any,
    ) -> Pulled:
        if isinstance(image, str):
            reference, placed = image, self.world.image_of(image)
        else:
            reference, placed = image.by_digest if by_digest else image.reference, image
        home = self._home(reference)
        secure = home is not None and home.real.tls is not None
        if trust is None:
            trust = Trust(ca=self.world.ca_file) if secure else Trust()
        configured = tuple(
            host.as_host() if isinstance(host, WorldRegistry) else host for host in hosts
        )
        number = len(self.pulls) + len(self.running)
        request = PullRequest(
            image=reference,
            store=_made(self.directory / "stores" / store),
            output=_made(self.directory / "outputs" / str(number)),
            auth=_auth_config(auth),
            trust=trust,
            plain_http=home is not None and not secure if plain_http is None else plain_http,
            hosts=configured,
            limits=limits,
            **fields,
        )
        waiting = Outcome(kind="hung")
        return Pulled(waiting, placed, request, limited=False)

    def _home(self, reference: str) -> WorldRegistry | None:
        for name in self.world.known:
            registry = self.world.registry(name)
            if reference.startswith(f"{registry.real.host}/"):
                return registry
        return None

    def _last(self, store: str) -> PullRequest:
        path = self.directory / "stores" / store
        for pulled in reversed([*self.pulls, *(handle.pulled for handle in self.running)]):
            if pulled.request.store == path:
                return pulled.request
        return PullRequest(image="", store=_made(path), output=_made(self.directory / "outputs"))

    def _need(self, evidence: Evidence) -> None:
        if evidence not in self.evidence:
            raise NotApplicable(f"doesn't show: {evidence}")

    def _fresh(self) -> None:
        """Answers about a store can't come from memory: play the neighbour in full."""
        if self.memory is not None:
            self.memory.in_full()


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _auth_config(auth: Any) -> AuthConfig | None:
    if auth is None or isinstance(auth, AuthConfig):
        return auth
    return AuthConfig(username=auth.username, password=auth.password)
