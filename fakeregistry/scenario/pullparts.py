"""Reads ``[pull]`` and ``[expect]``: the steps of a pull, and what a right puller makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from .asked import (
    AUTHS,
    CAPABILITIES,
    CLIENT_CERTIFICATES,
    DECRYPTION_KEYS,
    OUTCOMES,
    TRUSTS,
    ConnectionsPart,
    ExpectPart,
    HostPart,
    PullPart,
    RequestsPart,
)
from .model import RulePart
from .reader import Table, suggestion
from .worldparts import WorldReader

STOPS = ("cancel_at", "kill_at", "leave_at")
_MOST_PULLS = 1000
"""More pulls than any incident needs: a typo shall not keep a puller busy for hours."""
_STORE = re.compile(r"[a-z0-9][a-z0-9-]*")


class PullReader(WorldReader):
    """Reads what is asked, against the registries, images and rules that were read before."""

    rules_read: tuple[RulePart, ...] = ()

    def pulls(self, top: Table) -> tuple[PullPart, ...]:
        """Read ``[pull]``, or ``[[pull]]`` as steps."""
        return tuple(self._pull(table) for table in top.tables("pull", one=True))

    def _pull(self, table: Table) -> PullPart:
        image = self.image_of(table)
        auth, auth_of = self._auth_given(table)
        proxy, proxy_auth = self._proxy_given(table)
        trust = table.choice("trust", TRUSTS, "right")
        client = table.choice("client_certificate", CLIENT_CERTIFICATES, "right")
        key = table.choice("decryption_key", DECRYPTION_KEYS, "right")
        stops = {name: table.text(name) or None for name in STOPS}
        outcome = table.choice("outcome", OUTCOMES, "") or None
        part = PullPart(
            image=image.id if image else "",
            platform=self.platform_of(table, image),
            by_digest=table.flag("by_digest"),
            auth=cast(Any, auth),
            auth_of=auth_of,
            trust=cast(Any, trust),
            client_certificate=cast(Any, client),
            decryption_key=cast(Any, key),
            plain_http=table.flag("plain_http") if table.has("plain_http") else None,
            http2=table.flag("http2"),
            proxy=proxy,
            proxy_auth=cast(Any, proxy_auth),
            hosts=self._hosts(table),
            headers=self._texts_by_name(table, "headers"),
            timeout=table.seconds("timeout"),
            progress_timeout=table.seconds("progress_timeout"),
            max_concurrent_downloads=table.integer("max_concurrent_downloads", least=1),
            times=self._pulls_at_most(table, "times"),
            parallel=self._pulls_at_most(table, "parallel"),
            store=self._store(table),
            **stops,
            without=table.texts("without"),
            outcome=cast(Any, outcome),
            line=table.line,
        )
        given = [key for key in STOPS if stops[key]]
        for key in given:
            self._known_rule(table, key, stops[key] or "")
        if len(given) > 1:
            table.problem(given[1], f"{' and '.join(given)}: a step ends in one way")
        elif given and part.times * part.parallel > 1:
            table.problem(given[0], f"{given[0]} goes with a single pull, not with several")
        for name in part.without:
            self._known_rule(table, "without", name)
        table.finish()
        return part

    def _auth_given(self, table: Table) -> tuple[str, str | None]:
        value = table.take("auth")
        if isinstance(value, dict):
            inner = Table(self.source, value, (*table.place, "auth"))
            of = inner.required("of")
            if of:
                self.known_registry(table, "auth", of)
            inner.finish()
            return "right", of or None
        if value is None or value in AUTHS:
            return value or "right", None
        near = suggestion(str(value), AUTHS)
        table.problem("auth", f"auth = {value!r} is unknown{near}; or say {{ of = REGISTRY }}")
        return "right", None

    def _proxy_given(self, table: Table) -> tuple[str | None, str]:
        value = table.take("proxy")
        if value is None:
            return None, "right"
        if not isinstance(value, str | dict):
            table.problem("proxy", "proxy must be the name of a [[proxy]], or { name, auth }")
            return None, "right"
        given = {"name": value} if isinstance(value, str) else value
        inner = Table(self.source, given, (*table.place, "proxy"))
        name = inner.required("name")
        auth = inner.choice("auth", AUTHS, "right")
        inner.finish()
        if name and name not in self.proxies:
            near = suggestion(name, self.proxies) or ": the file has no [[proxy]]"
            table.problem("proxy", f"there is no proxy {name!r}{near}")
        return name or None, auth

    def _hosts(self, table: Table) -> tuple[HostPart, ...]:
        value = table.take("hosts")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str | dict) for one in value):
            table.problem("hosts", "hosts must be a list of names of registries, or of tables")
            return ()
        hosts = []
        for number, one in enumerate(value):
            given = {"registry": one} if isinstance(one, str) else one
            hosts.append(self._host(Table(self.source, given, (*table.place, "hosts", number))))
        return tuple(hosts)

    def _host(self, table: Table) -> HostPart:
        registry = table.required("registry")
        if registry:
            self.known_registry(table, "registry", registry)
        capabilities = table.texts("capabilities")
        for word in capabilities:
            if word not in CAPABILITIES:
                near = suggestion(word, CAPABILITIES)
                table.problem("capabilities", f"capability {word!r} is unknown{near}")
        path = table.text("path")
        if path and not path.startswith("/"):
            table.problem("path", f"path = {path!r}: it begins with '/'")
        part = HostPart(
            registry=registry,
            server=table.flag("server"),
            capabilities=capabilities,
            path=path,
            override_path=table.flag("override_path"),
            headers=self._texts_by_name(table, "headers"),
            dial_timeout=table.seconds("dial_timeout"),
            trust=cast(Any, table.choice("trust", TRUSTS, "right")),
            client_certificate=table.flag("client_certificate"),
            resolves=table.flag("resolves", True),
        )
        table.finish()
        return part

    @staticmethod
    def _texts_by_name(table: Table, key: str) -> Mapping[str, str]:
        value = table.take(key)
        if value is None:
            return {}
        if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            return value
        table.problem(key, f'{key} must be a table of texts: {{ X-Name = "value" }}')
        return {}

    @staticmethod
    def _pulls_at_most(table: Table, key: str) -> int:
        count = table.integer(key, 1, least=1) or 1
        if count > _MOST_PULLS:
            table.problem(key, f"{key} = {count}: at most {_MOST_PULLS}")
            return 1
        return count

    @staticmethod
    def _store(table: Table) -> str:
        store = table.text("store", "main")
        if not _STORE.fullmatch(store):
            table.problem("store", f"store = {store!r}: lower-case letters, digits and '-' only")
        return store

    def _known_rule(self, table: Table, key: str, name: str) -> None:
        names = [rule.name for rule in self.rules_read if rule.name]
        if name not in names:
            near = suggestion(name, names) or ': give one a name = "…"'
            table.problem(key, f"there is no rule with the name {name!r}{near}")

    def expectation(self, table: Table | None) -> ExpectPart | None:
        """Read ``[expect]``."""
        if table is None:
            return None
        named = table.has("outcome")
        outcome = table.choice("outcome", OUTCOMES, "")
        if not outcome and not named:
            table.problem("outcome", f"[expect] needs outcome = one of {', '.join(OUTCOMES)}")
        untouched = table.texts("untouched")
        for host in untouched:
            self.known_registry(table, "untouched", host)
        part = ExpectPart(
            outcome=cast(Any, outcome),
            content=table.flag("content", outcome == "pulled"),
            rootfs=table.flag("rootfs"),
            absent=table.flag("absent"),
            no_leak=table.flag("no_leak"),
            requests=tuple(self._requests(one) for one in table.tables("requests")),
            connections=tuple(self._connections(one) for one in table.tables("connections")),
            untouched=untouched,
            fetched_at_most=self._factor(table, "fetched_at_most"),
            at_least_s=table.seconds("at_least_s"),
            at_most_s=table.seconds("at_most_s"),
            requirements=table.texts("requirements"),
            capabilities=table.texts("capabilities"),
            lines={key: table.line_of(key) for key in ("requirements", "capabilities")},
        )
        self._sensible(table, part)
        table.finish()
        return part

    @staticmethod
    def _sensible(table: Table, part: ExpectPart) -> None:
        if part.outcome == "either" and not part.asserts:
            table.problem(
                "outcome",
                "outcome = 'either' asserts nothing alone: add requests, connections, untouched, "
                "content, no_leak or a bound",
            )
        if part.content and part.outcome == "refused":
            table.problem("content", "content can't be judged where the pull must be refused")
        if part.rootfs and part.outcome == "refused":
            table.problem("rootfs", "rootfs can't be judged where the pull must be refused")
        if part.absent and part.outcome == "pulled":
            table.problem("absent", "absent contradicts outcome = 'pulled'")
        if part.at_least_s is not None and part.at_least_s > (part.at_most_s or float("inf")):
            table.problem("at_least_s", "at_least_s is more than at_most_s")

    @staticmethod
    def _factor(table: Table, key: str) -> float | None:
        value = table.take(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1:
            table.problem(key, f"{key} = {value!r}: it must be a number of at least 1")
            return None
        return float(value)

    def _requests(self, table: Table) -> RequestsPart:
        target = self.target(table)
        authz = target.asking.get("authz")
        if isinstance(authz, dict) and "subject" in authz:
            table.problem("authz", "authz: subject is for rules: the journal hides who asked")
        part = RequestsPart(
            target=target,
            at_least=table.integer("at_least"),
            at_most=table.integer("at_most"),
            in_flight_at_most=table.integer("in_flight_at_most", least=1),
            bytes_at_most=table.size("bytes_at_most", 0) if table.has("bytes_at_most") else None,
            apart_s=table.seconds("apart_s"),
            line=table.line,
        )
        others = (part.in_flight_at_most, part.bytes_at_most, part.apart_s)
        self._bounds(table, part, asks=any(bound is not None for bound in others))
        table.finish()
        return part

    def _connections(self, table: Table) -> ConnectionsPart:
        registry = table.text("registry", "origin")
        self.known_registry(table, "registry", registry)
        part = ConnectionsPart(
            registry, table.integer("at_least"), table.integer("at_most"), table.line
        )
        self._bounds(table, part, asks=False)
        table.finish()
        return part

    @staticmethod
    def _bounds(table: Table, part: RequestsPart | ConnectionsPart, *, asks: bool) -> None:
        least, most = part.at_least, part.at_most
        if least is None and most is None and not asks:
            where = "requests" if isinstance(part, RequestsPart) else "connections"
            table.problem("", f"[[expect.{where}]] needs at_least, at_most, or both")
        elif least is not None and most is not None and least > most:
            table.problem("at_least", "at_least is more than at_most")
