import pytest

from reference.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'Bearer realm="https://a/t?x=1,2",service="s e",scope="repository:a:pull,push r:b"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://a/t?x=1,2",
                        "service": "s e",
                        "scope": "repository:a:pull,push r:b",
                    },
                )
            ],
        ),
        # Two challenges in one line, which containerd takes for one (AUTH-17).
        (
            'Basic realm="x", Bearer realm="y",service=s',
            [
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "y", "service": "s"}),
            ],
        ),
        ('bEaReR REALM = "a" ,\tservice= b', [Challenge("bearer", {"realm": "a", "service": "b"})]),
        (r'Bearer realm="a\"b\\c"', [Challenge("bearer", {"realm": 'a"b\\c'})]),
        ("Negotiate abc+/==, Basic realm=x", [
            Challenge("negotiate", {}, "abc+/=="),
            Challenge("basic", {"realm": "x"}),
        ]),
        ("Basic", [Challenge("basic")]),
        ("Negotiate, Basic realm=x", [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        (", ,Bearer realm=a,, service=b,", [Challenge("bearer", {"realm": "a", "service": "b"})]),
        ('Bearer realm="a",realm="b"', [Challenge("bearer", {"realm": "a"})]),
        ('Bearer realm="never closed', [Challenge("bearer")]),
        ('Bearer realm="a" service="b"', [Challenge("bearer")]),
        ("", []),
        ("=;@", []),
    ],
)  # fmt: skip
def test_a_header_line_is_read_as_rfc_9110_says(line: str, expected: list[Challenge]) -> None:
    assert list(parse_challenges([line])) == expected


def test_lines_keep_their_order_and_long_ones_end() -> None:
    found = parse_challenges(['Basic realm="a"', "Bearer " + "x=y, " * 100_000, "Digest"])

    assert [challenge.scheme for challenge in found] == ["basic", "bearer", "digest"]
