import pytest

from reference.errors import InvalidReference
from reference.names import Names

SHA256 = "sha256:" + "a" * 64
SHA512 = "sha512:" + "b" * 128


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),  # REF-01
        ("index.docker.io/x", "docker.io/library/x:latest"),  # REF-02
        ("docker.io/x", "docker.io/library/x:latest"),
        ("docker.io/library/x:1", "docker.io/library/x:1"),
        ("foo/bar", "docker.io/foo/bar:latest"),  # REF-03
        ("localhost/foo", "localhost/foo:latest"),  # REF-04
        ("localhost:5000/foo", "localhost:5000/foo:latest"),
        ("127.0.0.1:5000/foo:v1", "127.0.0.1:5000/foo:v1"),
        ("[::1]:5000/foo", "[::1]:5000/foo:latest"),
        ("localhost", "docker.io/library/localhost:latest"),
        ("example.com", "docker.io/library/example.com:latest"),
        ("EXAMPLE/foo", "EXAMPLE/foo:latest"),  # REF-05
        ("Foo/bar", "Foo/bar:latest"),
        (f"a/b:t@{SHA256}", f"docker.io/a/b@{SHA256}"),  # REF-07
        (f"a@{SHA256}", f"docker.io/library/a@{SHA256}"),  # REF-08
        (f"a@{SHA512}", f"docker.io/library/a@{SHA512}"),  # REF-10
        ("a.b/c_d/e__f/g-h/i---j.k", "a.b/c_d/e__f/g-h/i---j.k:latest"),  # REF-16
        ("a:" + "t" * 128, "docker.io/library/a:" + "t" * 128),
        ("h.io/" + "a" * 255, "h.io/" + "a" * 255 + ":latest"),  # REF-15
    ],
)
def test_what_a_user_types_becomes_a_full_name(text: str, full: str) -> None:
    assert str(Names().parse(text)) == full


@pytest.mark.parametrize(
    "text",
    [
        "foo/Bar",  # REF-06
        "a@sha256:abcd",  # REF-09
        "a@sha256:" + "A" * 64,
        "a@md5:" + "a" * 32,  # REF-11
        "a" * 64,  # REF-12
        "https://a.io/b",  # REF-13
        "",
        " a",
        "a ",
        "a\n",
        "foo:",
        "foo@",
        "a:" + "t" * 129,  # REF-14
        "a:-t",
        "h.io/" + "a" * 256,  # REF-15
        "a___b",  # REF-16
        "a..b",
        "a//b",
        "/a",
        "a/",
        "-a/b.c",
        "h.io/../x",
        "h.io/a:b:c",
        "h.io:port/a",
    ],
)
def test_what_is_no_name_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidReference, match="failed to parse image reference") as caught:
        Names().parse(text)

    assert "\n" not in str(caught.value)


def test_the_parts_of_a_name() -> None:
    """REF-17: a parsed name always has a host and something to ask for; nobody parses it again."""
    name = Names().parse("registry.test:5000/app/web:v1")

    assert (name.domain, name.path, name.tag, name.digest) == (
        "registry.test:5000",
        "app/web",
        "v1",
        None,
    )
    assert name.object == "v1"
    assert name.repository == "registry.test:5000/app/web"
