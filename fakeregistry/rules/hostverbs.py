"""The verbs about hosts: where clients are sent, whom they may be, and what there is for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from fakeregistry.faults import Fault, negotiation, redirects, state, tokenfaults
from fakeregistry.messages import Buffer

if TYPE_CHECKING:
    from fakeregistry.placed import HasManifest
    from fakeregistry.registry import Registry


class HostVerbs(ABC):
    """What a rule can make of hosts and tokens; each method adds one fault and returns the rule."""

    @abstractmethod
    def add(self, *faults: Fault) -> Self:
        """Add faults; they act in the order in which they were added."""

    # redirects

    def redirect(
        self,
        to: Registry | str | None = None,
        code: int = 307,
        path: str | None = None,
        form: str = "usual",
        chain: int = 0,
        *,
        loop: bool = False,
        ttl: float | None = None,
        method_bound: bool = False,
        single_use: bool = False,
        reject_authorization: str | None = None,
        fresh: bool = True,
    ) -> Self:
        """Send the client to another registry (or a URL), which serves the very same object."""
        return self.add(
            redirects.Redirect(
                _name(to),
                code,
                path,
                form,
                chain,
                loop,
                ttl,
                method_bound,
                single_use,
                reject_authorization,
                fresh,
            )
        )

    def upload_location(self, to: Registry | str) -> Self:
        """Tell a client that pushes to go on at another registry, or at a URL."""
        return self.add(redirects.UploadLocation(to if isinstance(to, str) else to.name))

    # challenges and tokens

    def challenge(self, text: str | Sequence[str]) -> Self:
        """Refuse with this WWW-Authenticate text; several make a header each."""
        said = text if isinstance(text, str) else tuple(text)
        return self.add(tokenfaults.Challenge(said))

    def no_challenge(self) -> Self:
        """Refuse without WWW-Authenticate."""
        return self.add(tokenfaults.NoChallenge())

    def token_expired_status(self, code: int = 403) -> Self:
        """Refuse an expired token by this status."""
        return self.add(tokenfaults.TokenExpiredStatus(code))

    def token_response(
        self,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the word of the vocabulary
        drop: Sequence[str] = (),
    ) -> Self:
        """Change fields of a token answer."""
        return self.add(tokenfaults.TokenResponse(dict(set or {}), tuple(drop)))

    def token_ttl(self, seconds: float) -> Self:
        """Issue tokens that live so many seconds on the registry's clock."""
        return self.add(tokenfaults.TokenTtl(seconds))

    def token_uses(self, n: int) -> Self:
        """Issue tokens that die after `n` requests."""
        return self.add(tokenfaults.TokenUses(n))

    def token_always_rejected(self) -> Self:
        """Issue tokens that no registry will ever take."""
        return self.add(tokenfaults.TokenAlwaysRejected())

    def token_bound(
        self,
        repository: str | None = None,
        actions: Sequence[str] = (),
        host: Registry | str | None = None,
    ) -> Self:
        """Issue tokens that are good for less than they say."""
        return self.add(tokenfaults.TokenBound(repository, tuple(actions), _name(host)))

    def token_post(self, status: int = 404, body: str | None = None) -> Self:
        """Answer a token request by POST with this status."""
        return self.add(tokenfaults.TokenPost(status, body))

    def offline_token(self, status: int = 401) -> Self:
        """Refuse a token request by GET that asks for a refresh token too."""
        return self.add(tokenfaults.OfflineToken(status))

    def scope_policy(self, policy: str) -> Self:
        """Grant other scopes than were asked for: one of `grants.SCOPE_POLICIES`."""
        return self.add(tokenfaults.ScopePolicyFault(policy))

    def rotate_credentials(self, *, tokens: bool = False) -> Self:
        """Let the registry's passwords be new when the rule fires, and with `tokens` all dead."""
        return self.add(tokenfaults.RotateCredentials(tokens))

    # negotiation and what there is

    def negotiate(self, policy: str = "strict") -> Self:
        """Answer a manifest request by what Accept says: one of `negotiation.POLICIES`."""
        return self.add(negotiation.Negotiate(policy))

    def tag_flip(self, other: HasManifest | Buffer) -> Self:
        """Let a tag point at another image, or manifest."""
        data = other if isinstance(other, Buffer) else other.manifest
        return self.add(state.TagFlip(data))

    def deleted(self) -> Self:
        """Answer 404 as if the object had been deleted."""
        return self.add(state.Deleted())

    def missing_repo(self, status: int = 404, code: str | None = None) -> Self:
        """Answer as if there were no such repository."""
        return self.add(state.MissingRepo(status, code))

    def require_ns(self, ns: str | None = None, status: int = 400) -> Self:
        """Refuse what doesn't say `?ns=`."""
        return self.add(state.RequireNs(ns, status))

    def reject_unknown_query(self, status: int = 400) -> Self:
        """Refuse a query that the distribution API doesn't know."""
        return self.add(state.RejectUnknownQuery(status))


def _name(to: Registry | str | None) -> str | None:
    return to if to is None or isinstance(to, str) else to.name
