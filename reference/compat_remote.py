"""Quirks of containerd that take more than a line: whom it answers."""

from __future__ import annotations

from dataclasses import replace

from reference.hosts import Host, Hosts
from reference.remote import Remote
from reference.transport import Answer, Ask


class RemoteForAll(Remote):
    """Answers whoever asks for a login: also the host that a redirect led to (AUTH-30, AUTH-34)."""

    def request(
        self, host: Host, method: str, url: str, headers: dict[str, str], authority: str | None
    ) -> Ask:
        """The request, which is told at each redirect what its target asked for before."""
        ask = super().request(host, method, url, headers, authority)
        return replace(ask, redirected=self.introduced)

    def introduced(self, target: Ask) -> Ask:
        """The request behind a redirect, with the authority of where it goes, if it has any."""
        authority = self.authorizer.authorize(self.stranger(target), self.scope)
        if authority is None:
            return target
        others = [pair for pair in target.private if pair[0].lower() != "authorization"]
        return replace(target, private=(*others, ("Authorization", authority)))

    def stranger(self, target: Ask) -> Host:
        """A redirect's target as a host that may be given credentials."""
        known = Hosts(self.config).auth_of(target.authority)
        return Host(target.scheme, target.authority, tls=target.tls, origin=False, auth=known)

    def challenged(self, host: Host, url: str, answer: Answer, sent: str | None) -> bool:
        """Whether a 401 is answered, whoever it is of."""
        if answer.ask.url == url:
            return super().challenged(host, url, answer, sent)
        told = [value for name, value in answer.ask.private if name == "Authorization"]
        return self.authorizer.challenged(
            self.stranger(answer.ask), answer, told[0] if told else None
        )
