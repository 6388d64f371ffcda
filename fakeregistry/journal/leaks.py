"""Leaks: secrets of one registry that another one has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakeregistry.auth.tokens import BearerAuth
from fakeregistry.proxies import asked_host

if TYPE_CHECKING:
    from fakeregistry.topology import Registries

    from .exchange import Exchange
    from .secrets import SecretSeen


@dataclass(frozen=True)
class Leak:
    """One secret where it doesn't belong.

    `name` and `kind` say which; it opens `owner`, and was seen at `seen_at`, in this place (such as
    `header:Authorization`) of a request over this scheme, the exchange with this `number`.
    `canary`: that registry must not even be contacted.
    """

    name: str
    kind: str
    owner: str
    seen_at: str
    where: str
    scheme: str
    number: int
    canary: bool = False


def leaks_of(registries: Registries, owner: str | None = None) -> list[Leak]:
    """Every secret (of one owner, or of any) that was seen where it doesn't belong, in order.

    It belongs to the registry that it opens, and to the one that this registry names as its realm:
    over https, or over http where the registry itself speaks no more.
    """
    return [
        Leak(
            seen.name,
            seen.kind,
            seen.owner,
            exchange.registry,
            seen.where,
            seen.scheme,
            exchange.number,
            registries.registry(exchange.registry).canary,
        )
        for exchange in registries.journal.exchanges()
        for seen in exchange.secrets
        if owner in (None, seen.owner) and not _belongs(registries, seen, exchange)
    ]


def _belongs(registries: Registries, seen: SecretSeen, exchange: Exchange) -> bool:
    if exchange.registry == seen.owner:
        return True
    if exchange.kind == "proxy":
        # A proxy is only on the way.
        asked = registries.at(asked_host(exchange))
        return asked is not None and asked.name == seen.owner
    known = registries.registries.get(seen.owner)
    auth = None if known is None else known.auth
    if known is None or not isinstance(auth, BearerAuth):
        return False
    named = auth.realm_registry.name == exchange.registry
    return named and (seen.scheme == "https" or known.tls is None)


__all__ = ["Leak", "leaks_of"]
