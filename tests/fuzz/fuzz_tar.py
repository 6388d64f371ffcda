"""The tar reader: the same entries however the bytes are cut up, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator

from harness import PromiseError, held

from fakeregistry import Directory, File, Hardlink, RawEntry, Symlink, Whiteout
from fakeregistry.content import Device, Fifo, OpaqueWhiteout, pax_header, tar_bytes
from fakeregistry.content.hostile import EVIL
from reference.errors import LayerError
from reference.tar import BLOCK_SIZE, TarReader
from reference.tar_fields import number

CANARY = "/canary-of-the-fuzzer"
"""Where hostile entries aim."""
MENDED = 1
"""In an input's first byte: put the right checksums into its headers first."""
LONG = "long/" * 30 + "name"
ENTRIES = [
    Directory("etc", mode=0o1777, xattrs={"user.a": b"b"}),
    File("etc/file", b"x" * 700, mode=0o4755, uid=1, gid=2, mtime=1_600_000_000),
    Symlink("link", "etc/file"),
    Hardlink("hard", "etc/file"),
    Fifo("fifo"),
    Device("null", "char", 1, 3),
    Whiteout("gone"),
    OpaqueWhiteout("etc"),
    File(LONG, b"y"),
    Symlink("far", LONG * 2),
    RawEntry("pax", pax={"mtime": b"-1.5", "uid": b"9", "SCHILY.xattr.user.x": b"\0\xff"}),
    RawEntry("old", "7", data=b"z"),
]
SPARSE = [
    RawEntry("s0", data=b"ab", pax={"GNU.sparse.size": b"99", "GNU.sparse.map": b"0,1,50,1"}),
    RawEntry(
        "s1",
        data=b"2\n0\n1\n600\n1\n".ljust(512, b"\0") + b"ab",
        pax={
            "GNU.sparse.major": b"1",
            "GNU.sparse.minor": b"0",
            "GNU.sparse.name": b"real",
            "GNU.sparse.realsize": b"700",
        },
    ),
]


def old_sparse(pairs: list[tuple[int, int]], size: int, data: bytes) -> bytes:
    """A sparse file in GNU's own form, with its map in the header and in further blocks."""
    block = bytearray(tar_bytes([RawEntry("s2", "S", data=data)], "gnu")[:BLOCK_SIZE])
    fields = [b"%011o\0%011o\0" % pair for pair in pairs]
    block[386:482] = b"".join(fields[:4]).ljust(96, b"\0")
    block[482] = len(fields) > 4
    block[483:495] = b"%011o\0" % size
    more = b""
    for at in range(4, len(fields), 21):
        more += b"".join(fields[at : at + 21]).ljust(504, b"\0")
        more += bytes([len(fields) > at + 21]) + bytes(7)
    return mended(bytes(block)) + more + data + bytes(-len(data) % BLOCK_SIZE)


def mended(data: bytes) -> bytes:
    """The same with right checksums, so that a changed header is read all the same."""
    whole = bytearray(data)
    at = 0
    while at + BLOCK_SIZE <= len(whole):
        block = whole[at : at + BLOCK_SIZE]
        size = 0
        if any(block):
            block[148:156] = b" " * 8
            whole[at + 148 : at + 156] = b"%06o\0 " % sum(block)
            if block[156:157] not in b"123456":
                size = length(bytes(block[124:136]))
        at += BLOCK_SIZE + size + -size % BLOCK_SIZE
    return bytes(whole)


def length(field: bytes) -> int:
    """The size that a header says; 0 for none."""
    try:
        return max(0, number(field))
    except LayerError:
        return 0


WORDS = [
    *(b"ustar\x0000", b"ustar  \0", b"\x80\0\0\0\0\0\0\0\0\0\0\1", b"\xff" * 12, b"0000644\0"),
    *(b"%011o\0" % size for size in (0, 1, 512, 2**30)),
    *(
        b"../",
        b"/",
        b".wh.",
        b".wh..wh..opq",
        b"\0",
        b" ",
        b"0",
        b"1",
        b"2",
        b"5",
        b"L",
        b"x",
        b"S",
    ),
    *(b"30 mtime=", b"12 path=a\n", b"SCHILY.xattr.", b"GNU.sparse.map=", b"GNU.sparse.major=1\n"),
]
SEEDS = [
    *(b"", b"\1", bytes(1024), bytes([MENDED]) + bytes(512) + b"x" * 512),
    *(b"\1" + tar_bytes(ENTRIES, form) for form in ("pax", "gnu")),
    *(b"\1" + tar_bytes([entry]) for entry in (*ENTRIES, *SPARSE)),
    b"\0" + tar_bytes(ENTRIES),
    *(b"\1" + tar_bytes(make(CANARY).entries) for make in EVIL.values()),
    b"\1" + old_sparse([(0, 1), (10, 1)], 20, b"ab"),
    b"\1" + old_sparse([(n * 10, 1) for n in range(50)], 1000, b"a" * 50),
    b"\1" + tar_bytes([RawEntry("x", size=2**33)]),
    b"\1" + pax_header({"size": b"9" * 19}) + tar_bytes([File("x")]),
    b"\1" + pax_header({"a": b"x" * 5000}) * 5 + tar_bytes([File("x")]),
]


def read(data: bytes, size: int) -> Iterator[object]:
    """Everything that the reader says, and in the end how it ended."""
    reader = TarReader(data[at : at + size] for at in range(0, len(data), size))
    try:
        for entry in reader:
            yield entry
            yield b"".join(reader.body())
        reader.drain()
    except LayerError as error:
        yield str(error)


def fuzz_one(data: bytes) -> None:
    """Read the same bytes in one piece, and in pieces that fit nothing."""
    archive = mended(data[1:]) if data[:1] and data[0] & MENDED else data[1:]
    with held(data, steps=(20_000, 30)):
        whole = list(read(archive, max(1, len(archive))))
        if whole != list(read(archive, 509)):
            raise PromiseError("the entries depend on how the bytes come")
