"""A topology: several named registries that share a journal, a CA and a store of secrets."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from .honest.storage import Placed
from .journal.journal import Journal
from .journal.leaks import Leak, leaks_of
from .journal.secrets import Secrets
from .proxies import Proxy
from .registry import Registry
from .rules.clock import Clock
from .rules.rule import Rule
from .wire.certificates import Certificates
from .wire.door import ADDRESS

ORIGIN = "origin"


class Registries:
    """Named registries, each on its own loopback port, made on first use. A context manager.

    `names` gives a registry's host name in references and URLs; without one, the origin is
    `127.0.0.1` and every other is `localhost`: two hosts to every puller. With TLS, a registry
    is called by `names["<name>-tls"]`, if there is one.

    `clock` is that of all registries: tokens, signed URLs and rate limits live by it. `honest`
    makes every rule count and change nothing; `salt` is mixed into all that is added. `exposed` is
    an address that all listen on instead of loopback; names and URLs stay as they are.
    """

    def __init__(
        self, seed: str = "0", *, names: Mapping[str, str] | None = None, salt: str = ""
    ) -> None:
        self.seed = seed
        self._given = dict(names or {})
        self.names: dict[str, str] = dict(self._given)
        self.salt = salt
        self.honest = False
        self.exposed = ""
        self.secrets = Secrets(seed)
        self.clock = Clock()
        self.journal = Journal(self.secrets)
        self.certificates = Certificates(self.names.values())
        self.request_cap = 2000
        self.connection_cap = 4000
        self.runaway = False
        self.refused_requests = 0
        self._requests = 0
        self._connections = 0
        self._lock = threading.RLock()
        self._registries: dict[str, Registry] = {}
        self._rules: dict[str, Rule] = {}

    def __repr__(self) -> str:
        return f"<Registries {', '.join(self._registries) or 'none'}>"

    def registry(self, name: str = ORIGIN, port: int = 0, address: str = ADDRESS) -> Registry:
        """Return a registry by name; the first call makes and starts it.

        `port` and `address` (`127.0.0.1`, or `::1` for IPv6 alone) are for that first call; raises
        OSError where the port is taken.
        """
        with self._lock:
            if name not in self._registries:
                made = Registry(self, name, port, address)
                made.start()
                self._registries[name] = made
            return self._registries[name]

    def proxy(self, name: str = "proxy", port: int = 0, address: str = ADDRESS) -> Proxy:
        """Return a proxy by name; the first call makes and starts it, as of a registry.

        It leads to the registries of this topology alone. ValueError where a registry has its name.
        """
        with self._lock:
            if name not in self._registries:
                made = Proxy(self, name, port, address)
                made.start()
                self._registries[name] = made
            found = self._registries[name]
        if not isinstance(found, Proxy):
            raise ValueError(f"{name!r} is a registry: a proxy needs another name")
        return found

    def call(self, name: str, host: str) -> None:
        """Call a registry by a host name from now on, by plain HTTP and by TLS.

        Certificates that are made from now on cover it. Whether it leads here, its resolver knows.
        """
        self.names |= {name: host, f"{name}-tls": host}
        self.certificates = Certificates(self.names.values())

    def names_of(self, name: str) -> set[str]:
        """The host names by which a registry is called, by plain HTTP or by TLS."""
        return {self.names[key] for key in (name, f"{name}-tls") if key in self.names}

    @property
    def registries(self) -> dict[str, Registry]:
        """The registries made so far, by name."""
        with self._lock:
            return dict(self._registries)

    def host_name(self, name: str, *, tls: bool, address: str = ADDRESS) -> str:
        """Return the host name by which a registry at an address is called."""
        usual = ADDRESS if name == ORIGIN else "localhost"
        plain = self.names.get(name, usual if address == ADDRESS else address)
        return self.names.get(f"{name}-tls", plain) if tls else plain

    def at(self, url: str) -> Registry | None:
        """Return the registry that a URL, or a host with its port, leads to; or None."""
        host = urlsplit(url if "://" in url else f"//{url}").netloc.rpartition("@")[2]
        return next((r for r in self.registries.values() if r.host == host), None)

    def leaks(self, owner: str | None = None) -> list[Leak]:
        """Secrets (of one registry, or of any) that came where they don't belong, in order."""
        return leaks_of(self, owner)

    def contacted_canaries(self) -> list[str]:
        """The names of the registries with `canary = True` to which somebody has connected."""
        return [one.name for one in self.registries.values() if one.canary and one.contacted]

    def place_url(self, url: str, placed: Placed) -> bool:
        """Serve an object at a URL of this topology; False where it leads elsewhere."""
        registry = self.at(url)
        if registry is None:
            return False
        registry.storage.place(urlsplit(url).path, placed)
        return True

    def rule(self, name: str) -> Rule | None:
        """Return a rule of any registry by its name or its id, or None."""
        return self._rules.get(name)

    def know_rule(self, rule: Rule) -> None:
        """Let a rule be found, also when it is gone; ValueError where another has its name."""
        with self._lock:
            known = self._rules.get(rule.name or "")
            if known is not None and not known.gone:
                raise ValueError(f"there is a rule named {rule.name!r} already")
            self._rules |= {key: rule for key in (rule.id, rule.name) if key is not None}

    def forget_rule(self, rule: Rule) -> None:
        """Let a rule be found no more, and its name be free."""
        with self._lock:
            self._rules = {key: one for key, one in self._rules.items() if one is not rule}

    def count_request(self) -> bool:
        """Count a request; False beyond the cap, which makes the topology `runaway`."""
        with self._lock:
            self._requests += 1
            if self._requests <= self.request_cap:
                return True
            self.runaway = True
            self.refused_requests += 1
            return False

    def count_connection(self) -> bool:
        """Count a connection; False beyond the cap."""
        with self._lock:
            self._connections += 1
            if self._connections > self.connection_cap:
                self.runaway = True
                return False
            return True

    def wipe(self) -> None:
        """Make every registry as new, on the port that it has, and forget the journal."""
        for registry in self.registries.values():
            registry.wipe()
        with self._lock:
            self._requests = self._connections = self.refused_requests = 0
            self.runaway = False
        self.names = dict(self._given)
        self.certificates = Certificates(self.names.values())
        self.clock.reset()
        self.journal.clear()

    def close(self) -> None:
        """Stop every registry; what was held up is released or cut."""
        for registry in self.registries.values():
            if registry.is_running():
                registry.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
