"""What containerd does that the specs, or caution, would do otherwise: one named switch each.

All are off by default. `Config.compat` = "containerd" turns all of them on, so that the reference
can be compared with containerd case by case; `Config.quirks` turns on single ones. What each costs,
and what containerd does that no switch repeats, is in docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeVar, cast

from reference.errors import ConfigError

Part = TypeVar("Part")


@dataclass(frozen=True)
class Quirks:
    """Switches, named after what happens while they are on. The seed is containerd 1.7.0-beta.0."""

    unlimited_downloads: bool = False
    """`max_concurrent_downloads` is ignored: the seed looks at the field for uploads."""

    # Credentials and tokens.

    server_address_is_a_url: bool = False
    """The server address of credentials has to be a URL with exactly this host. Without a scheme it
    means nobody, or is an error; Docker Hub has no other names (PA-08 to PA-11, Q-04)."""
    credentials_for_whoever_asks: bool = False
    """Credentials without a server address go to every host that asks for a login: to mirrors, and
    to where a redirect leads; configured ones count only when none are given (Q-05, AUTH-30)."""
    nuls_cut_off_passwords: bool = False
    """A password in `auth` loses the NULs at its ends, also those that are its own (Q-08)."""
    one_challenge_a_line: bool = False
    """Of a WWW-Authenticate line only the first challenge is read, and of that nothing behind a
    blank beside ``=`` (AUTH-17, AUTH-18)."""
    typed_token_answers: bool = False
    """A token answer fails by any field of another type, looked at or not (AUTH-25, AUTH-26)."""
    tokens_without_end: bool = False
    """Nobody looks at how long a token lives; what was refused is sent again, up to six times in
    all, unless the second refusal names an error (AUTH-20 to AUTH-24)."""
    token_errors_kept: bool = False
    """What failed to bring a token fails for all that want the same one later (Q-32, AUTH-27)."""
    tokens_of_each_phase: bool = False
    """Resolving and fetching each get a token of their own (AUTH-28, Q-24)."""

    # TLS, hosts and mirrors.

    localhost_unverified: bool = False
    """Where an http registry on this machine sends its clients to https on this machine, be it by a
    redirect or to its token service, nobody looks at the certificate (Q-03, TLS-11)."""
    localhost_is_http: bool = False
    """This machine without a scheme is http, also with TLS configured for it (HOST-06, TLS-10)."""
    certificates_for_others: bool = False
    """The client certificate of a host is offered to its token service and to where it redirects,
    too (AUTH-29)."""
    ca_files_may_be_empty: bool = False
    """`ca_file` of `configs` may hold no certificate (Q-10, TLS-05)."""
    broken_hosts_files_ignored: bool = False
    """A hosts.toml that can't be understood, or has a `server` and no hosts, is as if it wasn't
    there: the registry itself is asked (HOST-20, HOST-24)."""
    capabilities_ignored: bool = False
    """Content is asked of every host if any of them has the capability (HOST-32, Q-29)."""
    docker_hub_twice: bool = False
    """Docker Hub's own host is asked again as the last, where it is configured (HOST-05, Q-02)."""
    empty_roots: bool = False
    """An empty folder in `config_path` is the current one (Q-19)."""

    # Requests.

    first_answer_decides: bool = False
    """A host that answered HEAD and then can't say what the tag is ends the pull (HOST-37)."""
    first_body_decides: bool = False
    """Content that began to come and isn't right, or isn't all, ends the pull: no other host is
    asked for it (HOST-38)."""
    rate_limits_ignored: bool = False
    """408 and 429 are repeated at once, five times, by any host (NET-08, Q-29)."""
    errors_not_repeated: bool = False
    """A server error, or a connection lost before an answer, isn't repeated, and no request for a
    token is (NET-07, NET-10)."""
    answers_may_take_for_ever: bool = False
    """There is no limit to the wait for an answer but `progress_timeout`, which one silent mirror
    uses up (Q-27, NET-04)."""
    subdomains_are_one_host: bool = False
    """A redirect to a name below a host's own keeps what is the host's: Authorization, headers and
    TLS (NET-13)."""
    downgrades_followed: bool = False
    """A redirect from https to http is followed, without credentials (NET-16)."""
    configured_accept: bool = False
    """An `Accept` among the configured headers takes the place of the resolver's own (NET-02)."""

    # Manifests and indexes.

    literal_content_types: bool = False
    """A Content-Type is compared letter by letter, up to the semicolon: one in upper case, or with
    a blank before its parameter, is unknown (MAN-12, MAN-13)."""
    head_length_is_final: bool = False
    """A manifest has to have the length that a HEAD stated, and none if that is 0; nobody asks
    again by GET (MAN-23, MAN-24)."""
    get_digest_header_ignored: bool = False
    """A manifest that had to be read to know its digest isn't compared with the digest in that
    answer's header (MAN-07)."""
    manifests_as_blobs: bool = False
    """What is pulled by digest and isn't found as a manifest is looked for among the blobs, whose
    Content-Type then says what it is (MAN-10, MAN-11)."""
    mistyped_manifest_limit: bool = False
    """A manifest may have 4 x 1048 x 1048 bytes, whatever `max_manifest_size` says (MAN-21)."""
    inner_types_ignored: bool = False
    """A document may say that it is of another type of its kind than it was served as, or of
    another `schemaVersion` (MAN-17)."""
    unknown_index_entries: bool = False
    """An entry of a type that nobody can read is chosen if its platform fits (IDX-09)."""
    os_features_ignored: bool = False
    """An entry is chosen though it needs an OS feature that nobody promised (IDX-14)."""
    octet_stream_configs_refused: bool = False
    """An image whose config is called application/octet-stream can't be pulled: the unpacker
    doesn't know the type, and so never fetches the layers (MAN-34, Q-12)."""
    unknown_layers_passed_over: bool = False
    """Layers of a type that isn't a file system's are fetched and not applied, if the config has no
    diff id for them (LAYER-10)."""
    rootfs_types_ignored: bool = False
    """A config's `rootfs.type` may be anything (LAYER-34)."""
    unsigned_schema1_refused: bool = False
    """A schema 1 manifest without a signature is of unknown type (S1-03)."""

    # Content.

    empty_content_refused: bool = False
    """Nothing of size 0 is fetched, not even an empty layer (BLOB-29)."""
    embedded_data_ignored: bool = False
    """What a descriptor carries in its `data` is fetched all the same (BLOB-35)."""
    sha256_only: bool = False
    """All content is hashed with SHA-256: what has a sha512 digest never matches (BLOB-36)."""
    urls_first: bool = False
    """A descriptor's own URLs are asked before the registry (BLOB-31)."""
    urls_of_anything: bool = False
    """URLs count for any content, not only for layers that may not be redistributed (BLOB-31)."""
    unlimited_resumes: bool = False
    """A body may break off any number of times, as long as bytes come in between (BLOB-06)."""
    refused_resume_is_the_end: bool = False
    """Where the rest isn't sent as asked for, the download fails, and with the error before: that
    the body broke off (BLOB-08, BLOB-10)."""
    resets_are_the_end: bool = False
    """A connection that is reset in the middle of a body isn't resumed (BLOB-12)."""
    bad_downloads_kept: bool = False
    """Bytes that failed the verification stay: the next pull hashes them again, asks nobody, and
    fails. Here that is one pull, in containerd all until its collector has run (BLOB-28)."""

    # Layers, records, progress.

    whiteouts_hide_own_files: bool = False
    """A whiteout also hides what its own layer brought before it (LAYER-14)."""
    aufs_names_unpacked: bool = False
    """What AUFS kept for itself below `.wh..wh.plnk` becomes visible files (LAYER-37)."""
    manifest_labels: bool = False
    """What a manifest annotates its layers with (`containerd.io/snapshot/`) reaches the snapshotter
    as labels, also while `disable_snapshot_annotations` is on (ANN-07)."""
    records_rewritten: bool = False
    """Every pull writes its records anew, with the time, though nothing changed (IMG-07)."""
    records_one_by_one: bool = False
    """Of an image's records each is visible on its own: a failure leaves those before (IMG-10)."""
    idle_time_counts: bool = False
    """A request is charged for the time without one before it, since the last look (PROG-14)."""
    active_until_stored: bool = False
    """A request counts as active until its content is in the store: a slow disk looks like a
    stalled registry (PROG-13)."""

    @classmethod
    def containerd(cls) -> Quirks:
        """All of them."""
        return cls(**dict.fromkeys(cls.names(), True))

    def on(self, names: Iterable[str]) -> Quirks:
        """These, and those of the names too. Raises ConfigError for a name that is none."""
        names = list(names)
        if unknown := [name for name in names if name not in self.names()]:
            raise ConfigError(f"no quirk is called {unknown[0]!r}: {', '.join(self.names())}")
        return replace(self, **dict.fromkeys(names, True))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the switches, in the order in which they are declared."""
        return tuple(each.name for each in fields(cls))


AS_STORED = Quirks(
    inner_types_ignored=True,
    unknown_layers_passed_over=True,
    rootfs_types_ignored=True,
    os_features_ignored=True,
    mistyped_manifest_limit=True,
)
"""For reading what is in a store: a pull let it in, with whatever switches."""


def switched(part: type[Part], quirks: Quirks) -> type[Part]:
    """The same part of a puller with these switches."""
    if not any(vars(quirks).values()):
        return part
    return cast("type[Part]", type(part.__name__, (part,), {"quirks": quirks}))
