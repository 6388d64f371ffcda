"""containerd's configuration file: settings that a pull can work with, or a refusal."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fuzz_hostfile import check
from harness import ODD, SECRET, held, odd_values
from toml_text import DEEP_TOML, toml

from reference.auth import parse_auth
from reference.errors import AuthError, ConfigError
from reference.hosts import Hosts
from reference.settings import PLUGINS, load_config

_REGISTRY = {
    "mirrors": {"docker.io": {"endpoint": ["https://mirror.test", "h.test:5000/v2"]}, "*": {}},
    "configs": {
        "mirror.test": {
            "auth": {"username": "u", "password": SECRET, "auth": SECRET, "identitytoken": SECRET},
            "tls": {"insecure_skip_verify": True, "ca_file": "", "cert_file": "", "key_file": ""},
        }
    },
    "auths": {"https://registry.test": {"auth": SECRET}},
    "headers": {"x": [SECRET]},
}
_PLUGIN = {
    "max_concurrent_downloads": 3,
    "image_pull_progress_timeout": "1m",
    "snapshotter": "overlayfs",
    "discard_unpacked_layers": False,
    "image_decryption": {"key_model": "node"},
    "containerd": {"runtimes": {"kata": {"snapshotter": "native"}}},
    "runtime_platforms": {"runc": {"snapshotter": "native"}},
    "registry": _REGISTRY,
}
FULL = {
    "version": 2,
    "plugins": {PLUGINS[0]: _PLUGIN},
    "stream_processors": {"x": {"args": ["--decryption-keys-path", "/keys"]}},
}
_PATH = {"plugins": {PLUGINS[1]: {"registry": {"config_path": "/nowhere:/neither"}}}}
WORDS = [
    *(b"[plugins]", b"registry", b"mirrors", b"configs", b"auths", b"headers", b"config_path"),
    *(b"endpoint", b"auth", b"tls", b"username", b"password", b"identitytoken", b"http://["),
    *(b"true", b"[", b"]", b"{", b"}", b"=", b".", b"\n", b'"', b"'", b"\\u0000", b"9" * 40),
]
SEEDS = [
    *(b"", b"\xff", b"plugins = 1", toml(FULL), toml(_PATH)),
    *(toml(odd) for odd in odd_values(FULL, [odd for odd in ODD if odd is not None])),
    *(toml(odd) for odd in odd_values(_PATH, [odd for odd in ODD if odd is not None])),
    *DEEP_TOML,
    toml({"plugins": {PLUGINS[0]: {"registry": {"auths": {"http://[": {"auth": SECRET}}}}}}),
    toml({"plugins": {PLUGINS[0]: {"registry": {"mirrors": {"*": {"endpoint": ["x:y:z"]}}}}}}),
    toml({"plugins": {PLUGINS[0]: {"image_pull_progress_timeout": "9" * 400 + "s"}}}),
    toml({"plugins": {PLUGINS[0]: {"registry": {"config_path": "\0"}}}}),
]


def fuzz_one(data: bytes) -> None:
    """Load the file, and find the hosts of two registries and their credentials by it."""
    with tempfile.NamedTemporaryFile(prefix="fuzz-settings-") as file:
        file.write(data)
        file.flush()
        with held(data, ConfigError, AuthError, secret=known(data), steps=(40_000, 100)):
            config = load_config(Path(file.name))
            for registry in ("docker.io", "registry.test"):
                for host in Hosts(config).of(registry):
                    check(host.url("a", "manifests", "v1", registry), host.dial_timeout)
                    parse_auth(host.auth, host.authority)


def known(data: bytes) -> bool:
    """Whether the secret is only where a message must not repeat it: no key, no path."""
    secret = SECRET.encode()
    hidden = [b'"%s" = "%s"' % (key, secret) for key in (b"password", b"auth", b"identitytoken")]
    found = sum(map(data.count, (*hidden, b'"x" = ["%s"]' % secret)))
    return data.count(secret) == found and b"\\" not in data
