"""Faults that send the client elsewhere: redirects, signed URLs, and where to push to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit

from fakeregistry.honest.signed import STORES, Store, Terms
from fakeregistry.messages import Headers, header_of, with_header
from fakeregistry.rules.hosting import path_of
from fakeregistry.script import Script

from .base import Faults, Setting, at_least, one_of

FORMS = (
    "usual",
    "absolute",
    "relative",
    "scheme_relative",
    "query_only",
    "parent",
    "fragment",
    "userinfo",
    "no_location",
    "empty",
)
_ON_THIS_HOST = ("relative", "query_only", "parent")
_LIMIT = 100


@dataclass(frozen=True)
class Redirect:
    """Send the client elsewhere: to a registry of the topology (by name), or to a URL.

    A registry serves the very same object there, under a path of its own and without auth. `path`
    replaces that path; with neither, the Location is a relative path on the same host. `chain`
    makes so many redirects of it more, on the other host; `loop` one that leads back here.

    `form` writes the Location: "absolute", "relative", "scheme_relative" (`//host/path`),
    "query_only", "parent" (by `..`), "fragment", "userinfo", "no_location", "empty". In a chain to
    another host, the first Location is absolute, and the form is that of the others.

    A signed URL is one that is good for less, and that is refused as a storage does: for `ttl`
    seconds on the registry's clock, for GET alone (`method_bound`), for one request (`single_use`),
    without Authorization (`reject_authorization`: "s3" or "azure", in whose words). Not `fresh`:
    the same URL is given again, be it expired or not.
    """

    to: str | None = None
    code: int = 307
    path: str | None = None
    form: str = "usual"
    chain: int = 0
    loop: bool = False
    ttl: float | None = None
    method_bound: bool = False
    single_use: bool = False
    reject_authorization: str | None = None
    fresh: bool = True

    def __post_init__(self) -> None:
        if self.code not in (300, 301, 302, 303, 307, 308):
            raise ValueError(f"redirect code {self.code}: 300, 301, 302, 303, 307 or 308")
        one_of("redirect form", self.form, FORMS)
        at_least("redirect chain", self.chain, 0)
        if self.chain > _LIMIT:
            raise ValueError(f"redirect chain is {self.chain}: it must be at most {_LIMIT}")
        at_least("redirect ttl", self.ttl or 0, 0)
        if self.reject_authorization is not None:
            one_of("redirect reject_authorization", self.reject_authorization, STORES)
        if self.to is not None and self.form in _ON_THIS_HOST and not self.chain:
            raise ValueError(f"redirect form {self.form!r} stays on this host: leave `to` out")
        if self.form == "query_only" and (self.to is not None or self.path is not None):
            raise ValueError("redirect form 'query_only' stays on this path: no `to`, no `path`")
        if self._elsewhere and (self.loop or self._terms is not None):
            raise ValueError("redirect: a URL of somewhere else has neither loop nor signature")

    @property
    def _elsewhere(self) -> bool:
        return self.to is not None and "://" in self.to

    @property
    def _terms(self) -> Terms | None:
        """What the URL is good for; None: it isn't signed."""
        store: Store = "azure" if self.reject_authorization == "azure" else "s3"
        rejects = self.reject_authorization is not None
        terms = Terms(self.ttl, self.method_bound, self.single_use, rejects, store)
        return None if terms == Terms() and self.fresh else terms

    def edit(self, script: Script, setting: Setting) -> Script:
        """Answer with a Location."""
        if script.status >= 300:
            return script
        headers: Headers = ()
        if self.form == "empty":
            headers = (("Location", ""),)
        elif self.form == "query_only":
            if setting.request.argument("redirected") is not None:
                return script
            headers = (("Location", "?redirected=1"),)
        elif self.form != "no_location":
            headers = (("Location", self._location(script, setting)),)
        return script.with_reply(self.code, headers, b"")

    def _location(self, script: Script, setting: Setting) -> str:
        """Where to, from the end of the way to its beginning."""
        host, path = setting.host, setting.request.raw_path
        if self.loop:
            url = setting.request.target
            if self.to is not None:
                url = host.hop(self.to, host.url(setting.request.target), self.code)
        else:
            url = self._end(script, setting)
        hops = self.to if not self._elsewhere else None
        written = self.form if not self.chain or hops is None else "absolute"
        for number in range(self.chain):
            # A hop leads to what comes after it: its own path isn't known before.
            form = "usual" if number == 0 and self._elsewhere else self.form
            url = host.hop(hops, _written(url, form, "/hop/x", setting, hops), self.code)
        if self.to is None and written == "usual" and self.chain:
            url = path_of(url)
        return _written(url, written, path, setting, hops)

    def _end(self, script: Script, setting: Setting) -> str:
        if self.to is not None and self._elsewhere:
            return self.to
        terms = self._terms
        if terms is None:
            return setting.place(self.to, self.path, script)
        url = setting.host.place_signed(self.to, self.path, script, terms, fresh=self.fresh)
        return path_of(url) if self.to is None else url


def _written(url: str, form: str, base: str, setting: Setting, to: str | None) -> str:
    """A URL (or a path on this host) as a Location has it, seen from the path `base`."""
    if form == "usual":
        return url
    if form == "relative":
        return path_of(url)
    if form == "parent":
        # One `..` for each folder that the base lies in.
        return "../" * (base.count("/") - 1) + path_of(url).lstrip("/")
    absolute = url if "://" in url else setting.host.url(url)
    scheme, netloc, path, query, fragment = urlsplit(absolute)
    if form == "scheme_relative":
        scheme = ""
    elif form == "fragment":
        fragment = "part"
    elif form == "userinfo":
        # It is for whom the URL leads to: who shows it there has leaked nothing.
        secret = setting.host.secret("password in a URL", "password", to)
        netloc = f"user:{secret}@{netloc}"
    return urlunsplit((scheme, netloc, path, query, fragment))


@dataclass(frozen=True)
class UploadLocation:
    """Tell a client that pushes to go on at another registry (by name), or at a URL."""

    to: str

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say another Location of the upload."""
        location = header_of(script.headers, "location")
        if setting.facts.kind != "upload" or script.status != 202 or location is None:
            return script
        there = self.to
        if "://" not in there:
            there = setting.host.url_at(self.to, path_of(location))
        return replace(script, headers=with_header(script.headers, "Location", there))


FAULTS: Faults = {"redirect": Redirect, "upload_location": UploadLocation}
