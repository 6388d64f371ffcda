"""Bytes made when they are asked for, and layers that are larger than the memory they take."""

import hashlib
import re
import subprocess
import sys
import zlib
from dataclasses import replace

import httpx
import pytest

from fakeregistry import Registry
from fakeregistry.content import File, Generated, Layer, a_layer, an_image, bytes_of, digest_of
from fakeregistry.content.data import Spool, gathered, sha256_of, slices


def test_generated_bytes_are_those_of_their_seed_wherever_one_looks() -> None:
    whole = Generated(100_000, "a")[:]

    assert len(whole) == len(Generated(100_000, "a")) == 100_000
    assert Generated(100_000, "a")[12_345:12_399] == whole[12_345:12_399]
    assert Generated(100_000, "a")[99_990:200_000] == whole[-10:]
    assert Generated(100_000, "a")[-10:] == whole[-10:]
    assert Generated(20, "a")[:] == whole[:20] != Generated(20, "b")[:]
    assert Generated(20)[:] == bytes(20)
    assert len(zlib.compress(whole)) > 99_000
    with pytest.raises(ValueError, match="no stride"):
        Generated(20)[::2]


def test_generated_bytes_are_pinned() -> None:
    pinned = "e19b1165d4d2a6cced1e89ac8e934dc90af236db824c6f9c20a8a3cd2d52c1c6"
    assert sha256_of(Generated(3_000_000, "layer 0")) == pinned


def test_slices_do_not_show_where_parts_end() -> None:
    parts = [b"abc", b"", memoryview(b"defg"), Generated(5), b"h"]

    assert b"".join(slices(parts)) == b"abcdefg\0\0\0\0\0h"
    assert [bytes(piece) for piece in slices(parts, 4)] == [b"abcd", b"efg\0", b"\0\0\0\0", b"h"]
    assert list(slices([], 4)) == []


def test_a_spool_gives_back_what_it_took() -> None:
    small, large = Spool(10), Spool(10)
    for spool, pieces in ((small, [b"abc", b"def"]), (large, [b"abcdef", b"ghijkl", b"m"])):
        for piece in pieces:
            spool.write(piece)

    assert (small.buffer(), small.count) == (b"abcdef", 6)
    assert isinstance(large.buffer(), memoryview)
    assert Spool().buffer() == b""


def test_a_mapped_buffer_outlives_its_file() -> None:
    buffer = gathered(slices([Generated(9 << 20, "x")]))

    assert isinstance(buffer, memoryview)
    assert digest_of(buffer) == f"sha256:{sha256_of(Generated(9 << 20, 'x'))}"


@pytest.mark.parametrize(
    ("said", "count"),
    [(5, 5), ("5", 5), ("64KiB", 65_536), ("2 MB", 2_000_000), ("2GiB", 2**31), ("3b", 3)],
)
def test_sizes_may_be_written(said: int | str, count: int) -> None:
    assert bytes_of(said) == count


@pytest.mark.parametrize("said", ["", "x", "-1", "5iB", "1TiB", "1.5GiB"])
def test_what_is_no_size_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="no size"):
        bytes_of(said)


def test_a_large_layer_is_a_layer_like_any_other() -> None:
    layer = a_layer(size="9MiB").salted("s")
    inflate = zlib.decompressobj(31)

    tar = inflate.decompress(layer.blob)

    assert (inflate.eof, inflate.unused_data) == (True, b"")
    assert tar == layer.tar
    assert layer.diff_id == digest_of(tar)
    assert layer.digest == digest_of(layer.blob)
    assert replace(layer, entries=layer.entries).digest == layer.digest


def test_an_image_keeps_what_its_large_layer_has_built() -> None:
    layer = a_layer(size="9MiB")

    assert an_image([layer]).layers[0] is layer
    assert an_image([layer], docker=True).layers[0] is not layer


def test_a_large_layer_is_served_whole_and_in_parts(registry: Registry) -> None:
    image = registry.add(an_image([a_layer(size="9MiB")]))
    layer = image.layers[0]
    url = registry.url_for(f"/v2/app/web/blobs/{layer.digest}")

    whole = httpx.get(url, trust_env=False)
    part = httpx.get(url, headers={"Range": "bytes=5000000-5000099"}, trust_env=False)

    assert digest_of(whole.content) == layer.digest
    assert (part.status_code, part.content) == (206, whole.content[5_000_000:5_000_100])


MEASURED = """
import re, resource
from fakeregistry.content import a_layer, an_image

def mebibytes(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

# Beyond that the kernel gives no more memory of one's own: the peak is bounded, not only the end.
limit = (mebibytes("VmData") + 64) << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
before = mebibytes("RssAnon")
image = an_image([a_layer(size="256MiB")], salt="s")
assert sum(len(item.data) for item in image.objects()) > 256 << 20
print(mebibytes("RssAnon") - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells what memory is a process' own"
)
def test_a_large_layer_takes_little_memory() -> None:
    command = [sys.executable, "-c", MEASURED]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 32


def test_a_bomb_is_small_and_never_whole_in_memory() -> None:
    layer = Layer((File("zeros", Generated(64 << 20)),))

    assert layer.size < 100_000
    assert hashlib.sha256(layer.tar).hexdigest() == layer.diff_id.partition(":")[2]
    assert re.fullmatch(rb"\0*", bytes(layer.tar[512:4096]))
