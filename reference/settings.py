"""A configuration file in containerd's own keys, so that an existing one can be tried.

The settings of the CRI plugin stand in ``[plugins."io.containerd.grpc.v1.cri"]`` (containerd 1.x)
or ``[plugins."io.containerd.cri.v1.images"]`` (2.x), as containerd's ``docs/cri/registry.md`` and
``internal/cri/config`` have them. Everything else in the file belongs to other parts of containerd
and is passed over. In ``registry`` an unknown key is an error: a mirror that was
meant and isn't used is worse than a file that is refused.

One table is not containerd's, which passes it over in turn: ``[refpull]``, with ``compat``,
``quirks`` (a list of names; see `reference.compat`), ``max_layer_size`` and ``min_rate``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reference.config import AuthConfig, Config, RegistryConfig, TLSConfig
from reference.errors import ConfigError, one_line, safe_url
from reference.hostfile import parse_duration

NODE = "node"
"""The key model by which the keys of the machine decrypt."""
PLUGINS = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images")


def load_config(path: Path, defaults: Config | None = None) -> Config:
    """The settings of a file, over `defaults`. Raises ConfigError with the key that is wrong."""
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} isn't TOML: {one_line(str(error))}") from None
    config = defaults or Config()
    top = Section(document, str(path))
    config = with_own(config, top.section("refpull"))
    config = replace(config, decryption_keys=config.decryption_keys + key_paths(top))
    plugins = top.section("plugins")
    for name in PLUGINS:
        if name in plugins.table:
            config = with_plugin(config, plugins.section(name))
    return config


def with_own(config: Config, section: Section) -> Config:
    """What containerd has no key for; and what is to be done as containerd does it."""
    limits = ("max_layer_size", "min_rate")
    section.only("compat", "quirks", *limits)
    changes: dict[str, Any] = {
        name: section.whole(name) for name in limits if name in section.table
    }
    changes["quirks"] = config.quirks.on(section.texts("quirks"))
    if "compat" in section.table:
        changes["compat"] = section.text("compat")
    return replace(config, **changes)


def with_plugin(config: Config, plugin: Section) -> Config:
    """The settings of one CRI plugin's section."""
    images = [plugin, plugin.section("containerd")]  # the seed had three of them one level lower
    changes: dict[str, Any] = {}
    for section in images:
        for name in ("max_concurrent_downloads", "concurrent_layer_fetch_buffer"):
            if name in section.table:
                changes[name] = section.whole(name)
        if "image_pull_progress_timeout" in section.table:
            changes["progress_timeout"] = section.duration("image_pull_progress_timeout")
        if "snapshotter" in section.table:
            changes["snapshotter"] = section.text("snapshotter")
        for name in ("discard_unpacked_layers", "disable_snapshot_annotations"):
            if name in section.table:
                changes[name] = section.flag(name)
    runtimes = {
        name: runtime.text("snapshotter")
        for table in (images[1].section("runtimes"), plugin.section("runtime_platforms"))
        for name, runtime in table.sections()
    }
    if plugin.section("image_decryption").text("key_model", NODE) != NODE:
        changes["decryption_keys"] = ()  # keys of this machine are nobody's business then (ENC-01)
    pinned = plugin.section("pinned_images")
    changes["pinned_images"] = config.pinned_images.union(map(pinned.text, pinned.table))
    changes["runtimes"] = {**config.runtimes, **runtimes}
    return with_registry(replace(config, **changes), plugin.section("registry"))


def key_paths(top: Section) -> tuple[Path, ...]:
    """Where ocicrypt's stream processors are told to find private keys."""
    found = []
    for _, processor in top.section("stream_processors").sections():
        arguments = processor.texts("args")
        found += [
            Path(value) for name, value in pairwise(arguments) if name == "--decryption-keys-path"
        ]
    return tuple(dict.fromkeys(found))


def with_registry(config: Config, registry: Section) -> Config:
    """The settings of `registry`: hosts, credentials, TLS, headers."""
    registry.only("config_path", "mirrors", "configs", "auths", "headers")
    roots = registry.text("config_path")
    mirrors = {
        name: mirror.only("endpoint").texts("endpoint")
        for name, mirror in registry.section("mirrors").sections()
    }
    folders = roots.split(os.pathsep) if roots else []
    if not (all(folders) or config.quirks.empty_roots):
        raise ConfigError(f"{registry.place}: config_path has an empty folder in it")
    if roots and mirrors:
        raise ConfigError(f"{registry.place}: mirrors can't be set beside config_path")
    # `auths` has whole URLs, and belongs to the host in them; `configs` says it more exactly.
    found = {
        host_in(url): RegistryConfig(auth=credentials(auth))
        for url, auth in registry.section("auths").sections()
    }
    found |= {name: host(table) for name, table in registry.section("configs").sections()}
    if roots and any(each.tls for each in found.values()):  # it wouldn't be used (HOST-42)
        raise ConfigError(f"{registry.place}: tls can't be set in configs beside config_path")
    headers = registry.section("headers")
    return replace(
        config,
        config_path=tuple(map(Path, folders)),
        mirrors=mirrors,
        configs=found,
        headers={name: headers.texts(name) for name in headers.table},
    )


def host_in(url: str) -> str:
    """The host[:port] of a key of `auths`."""
    try:
        return urlsplit(url).netloc or url
    except ValueError:
        raise ConfigError(f"auths: {safe_url(url)} can't be parsed") from None


def host(section: Section) -> RegistryConfig:
    """One entry of `configs`."""
    section.only("auth", "tls")
    auth = tls = None
    if "auth" in section.table:
        auth = credentials(section.section("auth"))
    if "tls" in section.table:
        table = section.section("tls")
        table.only("insecure_skip_verify", "ca_file", "cert_file", "key_file")
        files = {
            name: Path(table.text(name)) if table.text(name) else None
            for name in ("ca_file", "cert_file", "key_file")
        }
        tls = TLSConfig(**files, insecure_skip_verify=table.flag("insecure_skip_verify"))
    return RegistryConfig(auth, tls)


def credentials(section: Section) -> AuthConfig:
    """An `auth` table."""
    section.only("username", "password", "auth", "identitytoken")
    return AuthConfig(
        username=section.text("username"),
        password=section.text("password"),
        auth=section.text("auth"),
        identity_token=section.text("identitytoken"),
    )


class Section:
    """A table of the file that knows where it stands, for messages. Values are never in those."""

    def __init__(self, table: Mapping[str, Any], place: str) -> None:
        self.table = table
        self.place = place

    def section(self, key: str) -> Section:
        """The table of that name; an empty one where there is none."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table")
        return Section(value, f"{self.place}: {key}")

    def sections(self) -> list[tuple[str, Section]]:
        """The tables in this one, by name."""
        return [(key, self.section(key)) for key in self.table]

    def only(self, *keys: str) -> Section:
        """Refuse any other key; returns the section itself."""
        unknown = sorted(self.table.keys() - set(keys))
        if unknown:
            known = ", ".join(keys)
            raise ConfigError(f"{self.place}: {unknown[0]} is unknown: there are {known}")
        return self

    def text(self, key: str, default: str = "") -> str:
        """A string; the default where there is none."""
        value = self.table.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings")
        return tuple(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.table.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def whole(self, key: str) -> int:
        """A number of 0 or more."""
        value = self.table[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(key, "a number of 0 or more")
        return value

    def duration(self, key: str) -> float:
        """A Go duration, in seconds."""
        try:
            return parse_duration(self.text(key))
        except ValueError as error:
            raise ConfigError(f"{self.place}: {key}: {error}") from None

    def wrong(self, key: str, wanted: str) -> ConfigError:
        """The error for a value of another kind."""
        return ConfigError(f"{self.place}: {key} must be {wanted}")
