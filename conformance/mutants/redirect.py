"""Mutants that are led astray, or that take along what isn't theirs to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from conformance.mutate import mutant
from reference.config import Config
from reference.descriptors import Descriptor
from reference.errors import RedirectError
from reference.fetch import Fetcher, Source
from reference.hosts import Host
from reference.pull import Puller
from reference.remote import Remote
from reference.store import Store
from reference.transport import Answer, Ask, Transport


class _StaysAtHome(Transport):
    def may_follow(self, ask: Ask, target: Ask) -> bool:
        """Only where it was sent by its user."""
        return self.same_host(ask, target)


@mutant(
    "follows-nobody",
    area="redirects",
    kills={
        "redirects/redirect-is-followed",
        "redirects/authorization-stays",
        "redirects/authorization-at-another-port",
        "redirects/configured-headers-stay",
    },
)
class FollowsNobody(Puller):
    """Refuses redirects to other hosts."""

    transport = _StaysAtHome


class _TakesCredentials(Transport):
    def for_other_host(self, target: Ask) -> Ask:
        """The storage will ask for them anyway."""
        ours = tuple(pair for pair in target.private if pair[0] == "Authorization")
        return replace(super().for_other_host(target), private=ours)


@mutant(
    "credentials-to-redirects",
    area="redirects",
    kills={
        "incident/storage-refuses-authorization",
        "redirects/authorization-at-another-port",
        "redirects/authorization-stays",
    },
)
class CredentialsToRedirects(Puller):
    """Shows the registry's credentials to whatever host it redirects to."""

    transport = _TakesCredentials


class _TakesHeaders(Transport):
    def for_other_host(self, target: Ask) -> Ask:
        """They are configured, so they are meant."""
        ours = tuple(pair for pair in target.private if pair[0] != "Authorization")
        return replace(super().for_other_host(target), private=ours)


@mutant("headers-to-redirects", area="redirects", kills={"redirects/configured-headers-stay"})
class HeadersToRedirects(Puller):
    """Sends the headers of one host to whatever host it redirects to."""

    transport = _TakesHeaders


class _SameName(Transport):
    def may_follow(self, ask: Ask, target: Ask) -> bool:
        """Anywhere."""
        return True

    def same_host(self, ask: Ask, target: Ask) -> bool:
        """A host is a name; ports and schemes are its own matter."""
        return urlsplit(ask.url).hostname == urlsplit(target.url).hostname


@mutant(
    "hosts-are-names",
    area="redirects",
    kills={
        "redirects/authorization-at-another-port",
        "redirects/https-to-http-has-no-credentials",
    },
)
class HostsAreNames(Puller):
    """Takes another port, and plain http, for the same host: as Go's standard client does."""

    transport = _SameName


class _Endless(Transport):
    def send(self, ask: Ask) -> Answer:
        """As far as it takes."""
        while True:
            answer = self.hop(ask)
            if answer.status not in (302, 307):
                return answer
            answer.discard()
            ask = self.redirected(ask, answer)


@mutant("redirects-without-end", area="redirects", kills={"redirects/loop-ends"})
class RedirectsWithoutEnd(Puller):
    """Follows redirects for as long as they come."""

    transport = _Endless


class _HereThen(Transport):
    def redirected(self, ask: Ask, answer: Answer) -> Ask:
        """Nowhere else must be here."""
        try:
            return super().redirected(ask, answer)
        except RedirectError:
            return ask


@mutant("no-location-is-here", area="redirects", kills={"redirects/no-location-is-refused"})
class NoLocationIsHere(Puller):
    """Asks the same URL again where a redirect doesn't say where to."""

    transport = _HereThen


class _Remembers(Fetcher):
    """Goes on where a redirect has led it before."""

    def __init__(self, config: Config, remote: Remote, hosts: Sequence[Host], store: Store) -> None:
        super().__init__(config, remote, hosts, store)
        self.led: dict[str, str] = {}

    def open(self, source: Source, descriptor: Descriptor, offset: int) -> Answer:
        """Ask where the content was found last."""
        led = self.led.get(descriptor.digest)
        answer = super().open(Source(url=led) if led else source, descriptor, offset)
        self.led[descriptor.digest] = answer.ask.url
        return answer


@mutant("remembers-redirects", area="redirects", kills={"redirects/resume-behind-a-redirect"})
class RemembersRedirects(Puller):
    """Resumes at the storage, by a URL that may have expired."""

    fetcher = _Remembers
