"""The tar reader agrees with the standard library's on good archives, and only refuses bad ones."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import tar, tar_sparse
from reference.errors import LayerError
from reference.tar import Entry, TarReader
from reference.tar_fields import number, pax_records, seconds


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, size: int = 1000) -> list[tuple[Entry, bytes]]:
    reader = TarReader(pieces(data, size))
    found = [(entry, b"".join(reader.body())) for entry in reader]
    reader.drain()
    return found


def expand(entry: Entry, body: bytes) -> bytes:
    """The whole file of a sparse entry."""
    if entry.extents is None:
        return body
    whole = bytearray(entry.size)
    for offset, length in entry.extents:
        whole[offset : offset + length], body = body[:length], body[length:]
    return bytes(whole)


def oracle(data: bytes) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            kind = b"0" if info.isreg() else info.type
            found.append(
                (
                    os.fsencode(info.name.rstrip("/")),
                    kind,
                    info.mode & 0o7777,
                    info.uid,
                    info.gid,
                    info.size if info.isreg() else 0,
                    int(info.mtime),
                    os.fsencode(info.linkname) if kind in (b"1", b"2") else b"",
                    file.read() if file else b"",
                )
            )
    return found


def ours(data: bytes, size: int) -> list[tuple[object, ...]]:
    return [
        (
            entry.name.rstrip(b"/"),
            entry.kind,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.size,
            entry.mtime // 10**9,
            entry.link if entry.kind in (b"1", b"2") else b"",
            expand(entry, body),
        )
        for entry, body in read(data, size)
    ]


component = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))
path = st.lists(component, min_size=1, max_size=8).map("/".join)
KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(path))
    info.type = draw(st.sampled_from(KINDS))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid = draw(st.sampled_from([0, 1000, 2**21 - 1, 2**21, 2**31]))
    info.gid = draw(st.sampled_from([0, 1000, 2**21, 2**32 - 2]))
    info.mtime = draw(st.sampled_from([0, 1, 1_700_000_000, 2**33]))
    data = draw(st.binary(max_size=1500)) if info.type == tarfile.REGTYPE else b""
    info.size = len(data)
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(path)
    return info, data


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(members(), max_size=6),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    size=st.sampled_from([1, 100, 512, 10_000]),
)
def test_reads_what_the_standard_library_writes(
    entries: list[tuple[tarfile.TarInfo, bytes]], form: int, size: int
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=form) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    assert ours(buffer.getvalue(), size) == oracle(buffer.getvalue())


def test_ustar_prefix_and_v7_directories() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a" * 120 + "/" + "b" * 90))
        info = tarfile.TarInfo("old/")
        info.type = tarfile.AREGTYPE
        archive.addfile(info)
    (long, _), (old, _) = read(buffer.getvalue())
    assert long.name == b"a" * 120 + b"/" + b"b" * 90
    assert (old.name, old.kind) == (b"old/", tar.DIRECTORY)


def archive_of(*infos: tarfile.TarInfo, pax: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    form = tarfile.PAX_FORMAT
    with tarfile.open(fileobj=buffer, mode="w:", format=form, pax_headers=pax or {}) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return buffer.getvalue()


def test_pax_xattrs_and_fractions_of_seconds() -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {
        "SCHILY.xattr.user.x": "a=b\nc",
        "SCHILY.xattr.user.empty": "",
        "mtime": "1350244992.0239601089",
        "comment": "ignored",
    }
    ((entry, _),) = read(archive_of(info))
    assert entry.xattrs == {"user.x": b"a=b\nc"}
    assert entry.mtime == 1350244992_023960108


def test_global_headers_are_passed_over() -> None:
    """LAYER-28"""
    data = archive_of(tarfile.TarInfo("kept"), pax={"path": "global", "uid": "7"})
    ((entry, _),) = read(data)
    assert (entry.name, entry.uid) == (b"kept", 0)


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"-1.25", -1_250_000_000), (b"0", 0), (b"7.", 7 * 10**9), (b"-0.000000001", -1)],
)
def test_times(text: bytes, value: int) -> None:
    assert seconds(text) == value


@given(st.integers(-(2**62), 2**62))
def test_base_256_numbers_agree_with_the_standard_library(value: int) -> None:
    field = tarfile.itn(value, 12, tarfile.GNU_FORMAT)
    assert number(field) == value


@pytest.mark.parametrize(
    ("field", "value"), [(b"0000644\0", 0o644), (b"   644 \0", 0o644), (bytes(8), 0), (b"  \0", 0)]
)
def test_octal_numbers(field: bytes, value: int) -> None:
    assert number(field) == value


@pytest.mark.parametrize("field", [b"0o644\0", b"+644\0\0", b"6_44\0", b"0009\0", b"-1\0\0", b"x"])
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(LayerError, match="number field"):
        number(field)


@pytest.mark.parametrize(
    "data", [b"x", b"5 a=b", b"99 a=b\n", b"6 a=bc", b"6 abc\n", b"5 =b\n", b"3 \n", b" a=b\n"]
)
def test_broken_pax_records_are_refused(data: bytes) -> None:
    with pytest.raises(LayerError, match="PAX"):
        pax_records(data)


@given(st.binary(max_size=60))
def test_any_pax_header_is_read_or_refused(data: bytes) -> None:
    try:
        records = pax_records(data)
    except LayerError:
        return
    assert sum(len(k) + len(v) for k, v in records) <= len(data)


def test_a_single_block_of_zeros_between_entries_is_refused() -> None:
    one = archive_of(tarfile.TarInfo("a"))[:512]
    with pytest.raises(LayerError, match="zeros"):
        read(one + bytes(512) + one)
    assert len(read(one + bytes(512))) == 1
    assert len(read(one)) == 1
    assert read(b"") == []
    assert len(read(one + bytes(1024) + b"trailing" * 100)) == 1


def test_unknown_kinds_and_long_headers_without_entry_are_refused() -> None:
    """LAYER-28"""
    info = tarfile.TarInfo("x")
    info.type = b"D"
    with pytest.raises(LayerError, match="unknown kind"):
        read(archive_of(info))
    info.type = b"L"
    info.size = 100
    with pytest.raises(LayerError, match="without its entry"):
        read(archive_of(info))
    info.size = tar.MAX_EXTENSION + 1
    with pytest.raises(LayerError, match="extended header of"):
        read(archive_of(info))


GOOD = archive_of(
    *(tarfile.TarInfo(name) for name in ("a", "b" * 200, "c")), pax={"comment": "hello"}
)


@settings(max_examples=300, deadline=None)
@given(
    at=st.integers(0, len(GOOD) - 1),
    byte=st.integers(0, 255),
    cut=st.none() | st.integers(0, len(GOOD)),
)
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    at: int, byte: int, cut: int | None
) -> None:
    data = bytearray(GOOD)
    data[at] = byte
    try:
        read(bytes(data[:cut]))
    except LayerError as error:
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=512), st.sampled_from(b"0123456789LKxgSVD\0"))
def test_any_header_with_a_right_checksum_is_read_or_refused(noise: bytes, kind: int) -> None:
    block = bytearray((noise * 512)[:512])
    block[156] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    try:
        read(bytes(block) + bytes(4096))
    except LayerError:
        return


def test_a_body_cut_short_is_refused() -> None:
    info = tarfile.TarInfo("f")
    info.size = 3000
    data = archive_of(info)
    for cut in (513, 1000, 512 + 2999, 512 + 3001):
        with pytest.raises(LayerError, match="cut short"):
            read(data[:cut])


GNU_TAR = shutil.which("tar")


@pytest.mark.skipif(GNU_TAR is None, reason="no tar command")
@pytest.mark.parametrize(
    "form",
    [
        ["--format=gnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
)
def test_sparse_files_of_gnu_tar_are_read_in_all_forms(tmp_path: Path, form: list[str]) -> None:
    with open(tmp_path / "many", "wb") as file:
        for i in range(30):
            file.seek(i * 300_000)
            file.write(b"%d" % i * 100)
        file.truncate(10_000_000)
    with open(tmp_path / "empty", "wb") as file:
        file.truncate(1_000_000)
    (tmp_path / "after").write_bytes(b"not sparse")
    names = ["many", "empty", "after"]
    command = ["tar", "--sparse", *form, "-C", str(tmp_path), "-cf", "-", *names]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"this tar can't: {made.stderr!r}")
    entries = read(made.stdout)
    assert [entry.name for entry, _ in entries] == [name.encode() for name in names]
    for entry, body in entries:
        assert expand(entry, body) == (tmp_path / os.fsdecode(entry.name)).read_bytes()


def sparse(**records: str) -> bytes:
    info = tarfile.TarInfo("s")
    info.size = 1024
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in records.items()}
    return archive_of(info)


@pytest.mark.parametrize(
    "records",
    [
        {"size": "10", "map": "0,1024"},
        {"size": "9999", "map": "0,512,100,512"},
        {"size": "9999", "map": "0,512"},
        {"size": "9999", "map": "0"},
        {"size": "x", "map": "0,1024"},
        {"size": "99999999999999999999", "map": "0,1024"},
        {"major": "2", "minor": "0", "realsize": "1"},
        {"major": "1", "minor": "0", "realsize": "1"},
        {"major": "1", "minor": "0"},
    ],
)
def test_sparse_maps_that_lie_are_refused(records: dict[str, str]) -> None:
    with pytest.raises(LayerError):
        read(sparse(**records))


def test_no_sparse_map_takes_more_than_a_megabyte() -> None:
    """LAYER-31: a few kilobytes of gzip unpack to one of any size (CVE-2025-58183)."""
    body = (b"300000\n" + b"0\n0\n" * 300_000).ljust(1_201_152, b"\0")
    info = tarfile.TarInfo("s")
    info.size = len(body)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    info.pax_headers |= {"GNU.sparse.realsize": "0", "GNU.sparse.name": "s"}
    head = archive_of(info)[:1536]
    with pytest.raises(LayerError, match="too many pieces"):
        read(head + body)
    block = bytearray(bytes(482) + b"\1" + bytes(29))
    with pytest.raises(LayerError, match="too many pieces"):
        tar_sparse.gnu_map(bytes(block), lambda: bytes(504) + b"\1" + bytes(7))
