"""Who may see which secret, and who did.

A secret belongs to the registry that it opens. It may be seen by that registry, by the registry
that the registry names as its token realm (over https, or where the registry itself speaks plain
http), and by whom a case allows. What a mirror gets to see is a policy, and only recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

from conformance.requirements import Requirements
from conformance.results import Breach, Record
from conformance.world import ORIGIN, World
from fakeregistry import BearerAuth, SecretSeen
from fakeregistry.proxies import Proxy

__all__ = ["SECRETS_CASE", "breaches_of", "owner_of", "secrets_record"]

SECRETS_CASE = "auth/secrets-stay-with-their-hosts"
"""The one record for all breaches of a run: id of a case that has no function."""


def owner_of(secret: str) -> str:
    """The registry that a secret opens: the last word of its name (``password of origin``)."""
    return secret.rpartition(" ")[2] or ORIGIN


def breaches_of(world: World) -> list[Breach]:
    """Every secret that was seen where it must not be, once per place."""
    found: dict[tuple[str, str, str], Breach] = {}
    for exchange in world.registries.journal.exchanges():
        for seen in exchange.secrets:
            if _may_see(world, seen, exchange.registry):
                continue
            key = (seen.name, exchange.registry, seen.scheme)
            found.setdefault(
                key,
                Breach(
                    secret=seen.name,
                    seen_by=exchange.registry,
                    scheme=seen.scheme,
                    where=seen.where,
                    case=world.case,
                    policy=exchange.registry in world.mirrors,
                ),
            )
    return list(found.values())


def _may_see(world: World, seen: SecretSeen, registry: str) -> bool:
    owner = owner_of(seen.name)
    if registry == owner or (seen.name, registry) in world.allowed:
        return True
    if isinstance(world.registries.registries.get(registry), Proxy):
        # Who speaks plain http through a proxy shows it everything; a tunnel shows nothing.
        return owner in world.known and world.registry(owner).real.tls is None
    return registry == _realm_of(world, owner) and _as_safe(world, owner, seen)


def _realm_of(world: World, owner: str) -> str | None:
    if owner not in world.known:
        return None
    auth = world.registry(owner).real.auth
    return auth.realm_registry.name if isinstance(auth, BearerAuth) else None


def _as_safe(world: World, owner: str, seen: SecretSeen) -> bool:
    """A realm may see what it issues or checks: by https, or by http if its registry is http."""
    return seen.scheme == "https" or world.registry(owner).real.tls is None


def secrets_record(records: Iterable[Record], requirements: Requirements) -> Record | None:
    """All breaches of a run as one record; None where no case was played.

    A case about a leak judges its own under its own requirement: counted here as well, a known leak
    of that case would hide a new one in another.
    """
    played = [record for record in records if record.traffic]
    if not played:
        return None
    requirement = requirements["SECRET-01"]
    breaches = [
        breach
        for record in played
        for breach in record.breaches
        if not breach.policy and record.kind != "leaked"
    ]
    policies = [breach for record in played for breach in record.breaches if breach.policy]
    record = Record(
        case=SECRETS_CASE,
        verdict="fail" if breaches else "pass",
        kind="leaked" if breaches else "",
        requirement=requirement.id,
        level=requirement.level,
        authority=requirement.authority.id,
        expected=requirement.text,
        breaches=[*breaches, *policies],
        actual="\n".join(
            f"{breach.secret} was seen by {breach.seen_by} ({breach.where}, {breach.scheme}) "
            f"in {breach.case}"
            for breach in breaches
        ),
    )
    if policies:
        seen = sorted({f"{breach.secret} at {breach.seen_by}" for breach in policies})
        record.values["credentials at mirrors"] = ", ".join(seen)
    return record
