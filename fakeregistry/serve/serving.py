"""Serves a world until it is told to stop, and tells scripts where (the ready file)."""

import ipaddress
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from fakeregistry.auth.tokens import BearerAuth
from fakeregistry.content import IndexSpec
from fakeregistry.honest.layouts import LaidOut, Layout, LayoutError
from fakeregistry.placed import Image
from fakeregistry.scenario import Scenario
from fakeregistry.topology import Registries

from .control import Control
from .pulllines import pull_lines
from .world import EMPTY, World

READY_VERSION = 1
"""Version of the ready file: raised when a key changes its meaning or goes."""


_TRUSTED_CAP = 100_000
"""How many requests an honest registry answers where nothing else is said."""


class ServeError(Exception):
    """Serving can't begin. One line."""


class ReportError(Exception):
    """What was served can't be reported. One line."""


@dataclass(frozen=True)
class Options:
    """How to serve. ``port`` 0: any free one for the origin (the others always take any).

    ``layout``: an OCI layout to serve from the origin. ``request_cap``: so many requests, then 503
    to all; None: 2,000 for a scenario (a puller may run wild), 100,000 where none is given.
    ``as_json``: the first line of the output is the ready document, and no other follows.
    ``host``: an address to listen on instead of loopback. ``keep``: the journal keeps so many
    requests, the newest.
    """

    seed: str = "0"
    port: int = 0
    ready_file: Path | None = None
    journal: Path | None = None
    honest: bool = False
    layout: Path | None = None
    request_cap: int | None = None
    as_json: bool = False
    host: str = ""
    keep: int = 10_000


def serve(scenario: Scenario | None, options: Options, out: TextIO) -> None:
    """Serve a scenario, a layout, or with neither an empty registry, until SIGINT or SIGTERM.

    Raises :class:`ServeError` where it can't begin, and :class:`ReportError` at the end where the
    journal can't be written.
    """
    # Blocked before any thread starts, so that a signal ends the wait below and nothing else.
    # Threads inherit the mask.
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        _serve(scenario, options, out, lambda: signal.sigwait(ends))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    scenario: Scenario | None, options: Options, out: TextIO, wait: Callable[[], object]
) -> None:
    if options.journal is not None:
        _write(options.journal, "")
    try:
        layout = None if options.layout is None else Layout(options.layout)
    except LayoutError as error:
        raise ServeError(str(error)) from None
    with (
        tempfile.TemporaryDirectory(prefix="fakeregistry-") as folder,
        Registries(options.seed, salt=options.seed) as registries,
    ):
        _cap(registries, options.request_cap, trusted=scenario is None)
        registries.journal.limit = options.keep
        registries.exposed = options.host
        try:
            registries.registry("origin", options.port)
        except OSError as error:
            where = f"{options.host} port {options.port}".lstrip()
            raise ServeError(f"{where}: {error.strerror}: choose another") from None
        _warn(options.host)
        world = World(registries, scenario or EMPTY, layout=layout, honest=options.honest)

        def ready() -> dict[str, Any]:
            told = ready_document(world, Path(folder), options)
            return told | {"control": {"url": control.url, "token": control.token}}

        with closing(
            Control(world, ready, lambda: os.kill(os.getpid(), signal.SIGTERM))
        ) as control:
            document = ready()
            if options.ready_file is not None:
                _write(options.ready_file, json.dumps(document, indent=2) + "\n")
            try:
                if options.as_json:
                    print(json.dumps(document), file=out, flush=True)
                else:
                    _announce(document, out)
                wait()
            finally:
                if options.ready_file is not None:
                    options.ready_file.unlink(missing_ok=True)
        registries.close()
        if options.journal is not None:
            try:
                _write(options.journal, registries.journal.to_ndjson())
            except ServeError as error:
                raise ReportError(str(error)) from None
        if not options.as_json:
            _summary(world, out)


def _cap(registries: Registries, asked: int | None, *, trusted: bool) -> None:
    """Set how much is served: people fill an honest registry, a puller under test may run wild."""
    if asked is None and not trusted:
        return
    registries.request_cap = asked or _TRUSTED_CAP
    registries.connection_cap = 2 * registries.request_cap


def ready_document(world: World, folder: Path, options: Options) -> dict[str, Any]:
    """What a script has to know: URLs, CA, credentials, images and commands that pull them.

    ``folder`` takes the files of certificates, as far as some registry speaks TLS.
    """
    registries, scenario = world.registries, world.scenario
    parts = {part.name: part for part in scenario.registries}
    tls = any(part.tls for part in parts.values())
    ca = registries.certificates.ca_file(folder) if tls else None
    client: dict[str, str] | None = None
    if any(part.client_certificate for part in parts.values()):
        certificate, key = registries.certificates.client_certificate(folder)
        client = {"certificate": str(certificate), "key": str(key)}
    return {
        "version": READY_VERSION,
        "pid": os.getpid(),
        "scenario": scenario.name,
        "file": str(scenario.path.resolve()) if scenario.path.name else None,
        "layout": None if options.layout is None else str(options.layout.resolve()),
        "seed": options.seed,
        "honest": options.honest,
        "ca": None if ca is None else str(ca),
        "client_certificate": client,
        "registries": {name: _registry(registries, name) for name in parts},
        "images": {name: _image(image, ca) for name, image in world.images.items()},
    }


def _image(image: Image | LaidOut, ca: Path | None) -> dict[str, Any]:
    if isinstance(image, LaidOut):
        platforms = list(image.platforms)
    else:
        spec = image.spec
        platforms = [one.platform for one in spec.images] if isinstance(spec, IndexSpec) else []
    return {
        "reference": image.reference,
        "by_digest": image.by_digest,
        "digest": image.digest,
        "media_type": image.media_type,
        "platforms": platforms,
        "pull": pull_lines(image, ca if image.registry.tls is not None else None),
    }


def _registry(registries: Registries, name: str) -> dict[str, Any]:
    registry = registries.registry(name)
    auth: dict[str, str] | None = None
    if registry.auth is not None:
        auth = {"scheme": "basic"}
        if isinstance(registry.auth, BearerAuth):
            auth = {"scheme": "bearer", "realm": registry.auth.realm}
        if not (isinstance(registry.auth, BearerAuth) and registry.auth.anonymous):
            given = registry.auth.credentials
            auth |= {"username": given.username, "password": given.password}
    certificate = registry.certificate
    return {
        "url": registry.base_url,
        "host": registry.host,
        "tls": None if certificate is None else certificate.fault,
        "client_certificate_required": bool(
            certificate and certificate.client_certificate_required
        ),
        "auth": auth,
    }


def _announce(document: dict[str, Any], out: TextIO) -> None:
    print(f"scenario {document['scenario']} (seed {document['seed']})", file=out)
    for name, registry in document["registries"].items():
        print(f"  {name:10} {registry['url']}", file=out)
    if document["ca"] is not None:
        print(f"  {'CA':10} {document['ca']}", file=out)
    control = document["control"]
    print(f"  {'control':10} {control['url']} (token {control['token']})", file=out)
    for image in document["images"].values():
        print(f"  {'image':10} {image['reference']}", file=out)
        for line in image["pull"].values():
            print(f"    {line}", file=out)
    print("ready; Ctrl-C ends", file=out, flush=True)


def _warn(host: str) -> None:
    """Say loudly where others than this machine can reach what is meant for tests."""
    if host and not ipaddress.ip_address(host).is_loopback:
        print(
            f"fakeregistry: warning: listening on {host}, not on loopback alone: whoever reaches"
            " this machine can read all that is served, and push",
            file=sys.stderr,
            flush=True,
        )


def _summary(world: World, out: TextIO) -> None:
    registries = world.registries
    journal = registries.journal
    kept = f" (the newest {len(journal)} are in the journal)" if journal.forgotten else ""
    print(f"{len(journal) + journal.forgotten} requests{kept}", file=out)
    for part, rule in world.rules.values():
        note = "" if rule.fired or part.bait else " (required, and never met)"
        print(f"  fired {rule.fired}: {part.target.registry}: {rule.words}{note}", file=out)
    if registries.runaway:
        print(f"  runaway: beyond {registries.request_cap} requests all were refused", file=out)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, readable by its owner alone: it may hold a password."""
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ServeError(f"can't write {path}: {error.strerror}") from None
