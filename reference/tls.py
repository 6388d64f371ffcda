"""TLS of one host: which roots, which client certificate, or no verification at all."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from reference.config import TLSConfig
from reference.errors import ConfigError


@dataclass(frozen=True)
class TLSOptions:
    """What differs from the default. `ca_files` add to the system's roots.

    `client_pairs` are (certificate, key) files; without a key it is in the certificate's file.
    """

    ca_files: tuple[Path, ...] = ()
    client_pairs: tuple[tuple[Path, Path | None], ...] = ()
    skip_verify: bool = False

    @classmethod
    def from_config(cls, config: TLSConfig, *, lenient: bool = False) -> TLSOptions:
        """Read `TLSConfig`; a certificate without key, or the reverse, is an error (TLS-06).

        `lenient`: a CA file without a certificate in it counts for nothing (TLS-05).
        """
        if config.cert_file and not config.key_file:
            raise ConfigError(
                f"cert file {str(config.cert_file)!r} was specified, "
                "but no corresponding key file was specified"
            )
        if config.key_file and not config.cert_file:
            raise ConfigError(
                f"key file {str(config.key_file)!r} was specified, "
                "but no corresponding cert file was specified"
            )
        ca_file = config.ca_file
        if lenient and ca_file and ca_file.is_file():
            ca_file = ca_file if b"-----BEGIN CERTIFICATE" in ca_file.read_bytes() else None
        return cls(
            ca_files=(ca_file,) if ca_file else (),
            client_pairs=((config.cert_file, config.key_file),) if config.cert_file else (),
            skip_verify=config.insecure_skip_verify,
        )


class Trust:
    """One `ssl.SSLContext`, with the system's roots read only when they are needed.

    Reading them takes some 20 ms, which is more than a whole pull from a near registry, and a host
    with a CA of its own seldom needs them. So the first handshake trusts the own CA alone, and when
    that doesn't suffice, `widen` adds the system's roots for a second one.
    """

    def __init__(self, options: TLSOptions) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["http/1.1"])
        self._own_roots = bool(options.ca_files)
        self.wide = False
        """Whether the system's roots are trusted too; set once they are."""
        self._lock = threading.Lock()
        if options.skip_verify:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
            self.wide = True
        for ca_file in options.ca_files:
            self._add_roots(ca_file)
        for certificate, key in options.client_pairs:
            self._add_client(certificate, key)

    @property
    def context(self) -> ssl.SSLContext:
        """The context to connect with."""
        if not self._own_roots:
            self.widen()
        return self._context

    def widen(self) -> None:
        """Add the system's roots; when it returns they are there, whichever thread read them."""
        with self._lock:
            if not self.wide:
                self._context.load_default_certs()
                self.wide = True

    def _add_roots(self, path: Path) -> None:
        try:
            self._context.load_verify_locations(cafile=path)
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError: no certificate in the file ends here too (TLS-04, TLS-05).
            raise ConfigError(f"failed to load CA file {str(path)!r}: {_why(error)}") from None

    def _add_client(self, certificate: Path, key: Path | None) -> None:
        try:
            # A password would be asked for on the terminal; an encrypted key is an error instead.
            self._context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"failed to load cert file {str(certificate)!r}: {_why(error)}"
            ) from None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not usable as PEM ({error.reason or 'no certificate or key found'})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
