"""Mutants that are led astray, or that take along what isn't theirs to show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin, urlsplit

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
        "incident/every-object-is-redirected",
        "redirects/authorization-at-another-port",
        "redirects/authorization-stays",
        "redirects/configured-headers-stay",
        "redirects/redirect-is-followed",
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
        "incident/every-object-is-redirected",
        "incident/storage-is-a-subdomain",
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


class _SameSite(Transport):
    def same_host(self, ask: Ask, target: Ask) -> bool:
        """A name below a name is of the same house."""
        below = f".{urlsplit(ask.url).hostname}"
        return super().same_host(ask, target) or str(urlsplit(target.url).hostname).endswith(below)


@mutant("subdomains-are-trusted", area="redirects", kills={"incident/storage-is-a-subdomain"})
class SubdomainsAreTrusted(Puller):
    """Takes a name below the registry's for the registry: as Go's standard client does."""

    transport = _SameSite


class _WholeUrls(Transport):
    def redirected(self, ask: Ask, answer: Answer) -> Ask:
        """A Location is a URL."""
        location = answer.headers.get("location", "")
        if "://" not in location:
            raise RedirectError("a Location without a scheme")
        return super().redirected(ask, answer)


@mutant("location-is-a-whole-url", area="redirects", kills={"incident/location-is-relative"})
class LocationIsAWholeUrl(Puller):
    """Follows no Location but one with scheme and host."""

    transport = _WholeUrls


class _FirstHost(Transport):
    def send(self, ask: Ask) -> Answer:
        """All of it is about the registry."""
        first = ask.url
        for _ in range(10):
            answer = self.hop(ask)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            answer.discard()
            location = urljoin(first, answer.headers.get("location", ""))
            answer.headers["location"] = location
            ask = self.redirected(ask, answer)
        raise RedirectError("too many redirects")


@mutant(
    "location-is-about-the-first",
    area="redirects",
    kills={"incident/location-is-relative", "redirects/no-location-is-refused"},
)
class LocationIsAboutTheFirst(Puller):
    """Resolves every Location against the URL that it began with, after a redirect as before."""

    transport = _FirstHost


class _Keeping(Transport):
    """Knows where every manifest went, and writes it down."""

    book: ClassVar[Path]

    @property
    def went(self) -> dict[str, str]:
        """What was written down."""
        return dict(json.loads(self.book.read_text())) if self.book.exists() else {}

    def send(self, ask: Ask) -> Answer:
        """It has moved."""
        return super().send(replace(ask, url=self.went.get(ask.url, ask.url)))

    def redirected(self, ask: Ask, answer: Answer) -> Ask:
        """Note where to."""
        target = super().redirected(ask, answer)
        if "/manifests/" in ask.url:
            self.book.write_text(json.dumps({**self.went, ask.url: target.url}))
        return target


@mutant("redirects-are-for-ever", area="redirects", kills={"incident/tag-is-sent-to-a-web-page"})
class RedirectsAreForEver(Puller):
    """Asks for a manifest where it was once redirected to, also in the pulls after."""

    transport = _Keeping

    def __init__(self, config: Config, root: Path) -> None:
        super().__init__(config, root)
        _Keeping.book = root / "redirects.json"


class _WithTokens(Transport):
    """Shows the token of a redirect's target there."""

    tokens: ClassVar[dict[str, str]] = {}

    def for_other_host(self, target: Ask) -> Ask:
        """With what it has asked for."""
        token = self.tokens.get(target.authority)
        asked = super().for_other_host(target)
        return replace(asked, private=(("Authorization", f"Bearer {token}"),)) if token else asked


class _Everywhere(Remote):
    def challenged(self, host: Host, url: str, answer: Answer, sent: str | None) -> bool:
        """Whoever asks is told, by whatever is known for the registry."""
        if answer.ask.url == url:
            return super().challenged(host, url, answer, sent)
        lines = answer.headers.get_list("www-authenticate")
        challenge = self.authorizer.choose(self.authorizer.challenges(lines))
        if challenge is None or challenge.scheme != "bearer":
            return False
        token = self.authorizer.fetch(host, challenge, (self.scope,))
        _WithTokens.tokens[answer.ask.authority] = token.value
        return True


@mutant(
    "redirects-are-answered",
    area="redirects",
    kills={
        "incident/redirect-leads-to-a-registry-with-tokens",
        "incident/storage-asks-for-a-token",
    },
)
class RedirectsAreAnswered(Puller):
    """Fetches a token wherever a redirect's target asks for one, with the registry's password."""

    transport = _WithTokens
    remote = _Everywhere


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

    def open(
        self, source: Source, descriptor: Descriptor, offset: int, end: int | None = None
    ) -> Answer:
        """Ask where the content was found last."""
        led = self.led.get(descriptor.digest)
        answer = super().open(Source(url=led) if led else source, descriptor, offset, end)
        self.led[descriptor.digest] = answer.ask.url
        return answer


@mutant(
    "remembers-redirects",
    area="redirects",
    kills={
        "incident/signed-url-expires-in-a-layer",
        "redirects/resume-behind-a-redirect",
    },
)
class RemembersRedirects(Puller):
    """Resumes at the storage, by a URL that may have expired."""

    fetcher = _Remembers
