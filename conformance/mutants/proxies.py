"""Mutants that go around proxies, or through one where there is no need."""

from __future__ import annotations

from conformance.mutate import mutant
from reference.errors import TransportError
from reference.proxies import check_proxy
from reference.pull import Puller
from reference.transport import Answer, Ask, Transport


class _Direct(Transport):
    def proxy_for(self, url: str) -> str | None:
        """None."""
        return None


@mutant(
    "ignores-proxies",
    area="transport",
    kills={"incident/proxy-asks-for-a-password", "incident/proxy-password-is-wrong"},
)
class IgnoresProxies(Puller):
    """Connects directly though it was told of a proxy."""

    transport = _Direct


class _Around(Transport):
    around = False

    def proxy_for(self, url: str) -> str | None:
        """The one that was told, for as long as it does what is asked."""
        return None if self.around else super().proxy_for(url)

    def hop(self, ask: Ask) -> Answer:
        """There is more than one way."""
        try:
            return super().hop(ask)
        except TransportError:
            self.around = True
            return super().hop(ask)


@mutant(
    "goes-around-proxies",
    area="transport",
    kills={"incident/proxy-answers-connect-by-502", "incident/proxy-password-is-wrong"},
)
class GoesAroundProxies(Puller):
    """Connects directly as soon as its proxy refuses."""

    transport = _Around


class _ForThisMachineToo(Transport):
    def proxy_for(self, url: str) -> str | None:
        """The one that was told, for every URL."""
        return check_proxy(self.config.proxy) if self.config.proxy else None


@mutant(
    "asks-proxies-for-this-machine",
    area="transport",
    kills={"incident/own-machine-behind-a-proxy"},
)
class AsksProxiesForThisMachine(Puller):
    """Goes through the proxy to a registry on this machine."""

    transport = _ForThisMachineToo
