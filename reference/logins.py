"""Logins that other tools keep: docker's config.json, containers' auth.json, credential helpers.

Sources: docker/cli `cli/config/configfile`, containers-auth.json(5), and the protocol of
docker/docker-credential-helpers, in which the server goes to stdin and the secret comes from
stdout. No secret is ever an argument, and none gets into a message: what a helper says when it
fails is thrown away, as some quote what they were given.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from reference.auth import names_host
from reference.config import AuthConfig
from reference.errors import ConfigError, InvalidAuth
from reference.names import DEFAULT_DOMAIN, Name
from reference.settings import Section

HELPER_TIMEOUT = 30.0
"""Seconds in which a helper has to answer; some ask the user first."""
_HUB_SERVER = "https://index.docker.io/v1/"
"""What Docker Hub is called when a helper is asked, and in most files."""
_TOKEN_USER = "<token>"
"""The user that stands for none: the secret is an identity token."""
_NOT_FOUND = b"credentials not found"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def default_files(environ: Mapping[str, str]) -> list[Path]:
    """Where to look when no file is named: the first variable that is set says it alone."""
    if given := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(given)]
    if given := environ.get("DOCKER_CONFIG"):
        return [Path(given, "config.json")]
    found = []
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime, "containers/auth.json"))
    if home := environ.get("HOME"):
        settings = environ.get("XDG_CONFIG_HOME") or Path(home, ".config")
        found += [Path(settings, "containers/auth.json"), Path(home, ".docker/config.json")]
    return found


def login(name: Name, files: Iterable[Path]) -> AuthConfig | None:
    """What the first file that knows the image's registry has for it; None where none does.

    Raises ConfigError for a file that can't be used, and InvalidAuth for a helper that can't.
    """
    for path in files:
        if found := in_file(name, path):
            return found
    return None


def in_file(name: Name, path: Path) -> AuthConfig | None:
    """The login for the image's repository, for a path above it, or for its registry."""
    top = Section(read(path), str(path))
    helpers, auths = top.section("credHelpers"), top.section("auths")
    helper = next((helpers.text(key) for key in matching(helpers.table, name)), "")
    if helper := helper or top.text("credsStore"):
        if not _HELPER.fullmatch(helper):
            raise ConfigError(f"{path}: a credential helper's name has letters, digits and -._")
        server = _HUB_SERVER if name.domain == DEFAULT_DOMAIN else name.domain
        if found := ask(f"docker-credential-{helper}", server):
            return found
    for key in matching(auths.table, name):
        entry = auths.section(key)
        if token := entry.text("identitytoken"):
            return AuthConfig(identity_token=token)
        user, auth = entry.text("username"), entry.text("auth")
        if user or auth:
            return AuthConfig(username=user, password=entry.text("password"), auth=auth)
    return None


def read(path: Path) -> Mapping[str, object]:
    """The document in a file; an empty one where there is no file."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} isn't JSON") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} isn't a JSON object")
    return document


def matching(keys: Iterable[str], name: Name) -> Iterator[str]:
    """Those of the keys that mean the image, the most specific first.

    A key is a registry, in docker's files also as a URL, or (containers) a path below one.
    """
    meant = [(key, place(key, name.domain)) for key in keys]
    path = name.path
    while True:
        yield from (key for key, found in meant if found == path)
        if not path:
            return
        path = path.rpartition("/")[0]


def place(key: str, domain: str) -> str | None:
    """The path that a key means within the registry; "" is all of it, None another registry."""
    with suppress(InvalidAuth):
        if names_host(key, domain):
            path = "" if "://" in key else key.partition("/")[2].strip("/")
            return "" if path in ("v1", "v2") else path
    return None


def ask(program: str, server: str) -> AuthConfig | None:
    """What a helper has for a server; None when it says that it has nothing."""
    try:
        # A group of its own: what a helper has started has to end with it.
        helper = subprocess.Popen(
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError as error:
        raise InvalidAuth(f"can't run {program}: {error.strerror}") from None
    answered = False
    with helper:
        try:
            answer, _ = helper.communicate(server.encode(), timeout=HELPER_TIMEOUT)
            answered = True
        except subprocess.TimeoutExpired:
            raise InvalidAuth(
                f"{program} gave no answer for {server} in {HELPER_TIMEOUT:g} s"
            ) from None
        finally:
            if not answered:
                with suppress(ProcessLookupError):
                    os.killpg(helper.pid, signal.SIGKILL)
    if helper.returncode:
        if _NOT_FOUND in answer.lower():
            return None
        raise InvalidAuth(f"{program} failed for {server} (exit code {helper.returncode})")
    return understood(answer, program)


def understood(answer: bytes, program: str) -> AuthConfig | None:
    """The credentials in a helper's answer."""
    try:
        document = json.loads(answer)
        user, secret = document["Username"], document["Secret"]
        known = isinstance(user, str) and isinstance(secret, str)
    except (ValueError, RecursionError, KeyError, TypeError):
        known = False
    if not known:
        raise InvalidAuth(f"{program} answered something else than Username and Secret in JSON")
    if not user and not secret:
        return None
    if user == _TOKEN_USER:
        return AuthConfig(identity_token=secret)
    return AuthConfig(username=user, password=secret)
