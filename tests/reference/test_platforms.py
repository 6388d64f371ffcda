from dataclasses import replace

import pytest

from reference.descriptors import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from reference.errors import ConfigError, NoMatchingPlatform
from reference.platforms import Platform, PlatformMatcher


def entry(number: int, platform: str | None, media_type: str = OCI_MANIFEST) -> Descriptor:
    document = None
    if platform is not None:
        system, architecture, *variant = platform.split("/")
        document = {"os": system, "architecture": architecture}
        if variant:
            document["variant"] = variant[0]
    return Descriptor(media_type, f"sha256:{number:064x}", 10, platform=document)


def chosen(wanted: str, *platforms: str | None) -> int:
    entries = [entry(number, platform) for number, platform in enumerate(platforms)]
    return entries.index(PlatformMatcher(Platform.parse(wanted)).choose(entries, "the index"))


@pytest.mark.parametrize(
    ("wanted", "platforms", "number"),
    [
        ("linux/amd64", ("linux/arm64", "linux/amd64", "linux/s390x"), 1),  # IDX-01
        ("linux/amd64", ("linux/386", "linux/amd64"), 1),  # IDX-03
        ("linux/arm/v7", ("linux/arm/v6", "linux/arm/v7"), 1),
        ("linux/amd64", ("linux/386",), 0),  # IDX-04
        ("linux/arm/v8", ("linux/arm/v5", "linux/arm/v6"), 1),
        ("linux/arm64", ("linux/arm/v7", "linux/arm/v8"), 1),
        ("linux/amd64", ("linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v1"), 2),  # IDX-05
        ("linux/amd64/v3", ("linux/amd64", "linux/amd64/v2", "linux/amd64/v4"), 1),
        ("linux/amd64", ("linux/amd64", "linux/amd64"), 0),  # IDX-06
        ("linux/amd64", (None, "linux/amd64"), 1),  # IDX-07
        ("linux/amd64", (None, "linux/arm64"), 0),
        ("linux/amd64", ("unknown/unknown", "linux/amd64"), 1),  # IDX-08
        ("Linux/x86_64", ("linux/amd64",), 0),  # IDX-15
        ("linux/aarch64", ("linux/arm64/v8",), 0),
        ("linux/armhf", ("linux/arm/v7",), 0),
        ("linux/arm", ("linux/arm",), 0),
    ],
)
def test_the_best_fit_is_chosen(
    wanted: str, platforms: tuple[str | None, ...], number: int
) -> None:
    assert chosen(wanted, *platforms) == number


@pytest.mark.parametrize(
    "platforms", [("linux/s390x",), (), ("linux/amd64/v2",), ("windows/amd64",)]
)
def test_nothing_that_fits_is_an_error(platforms: tuple[str, ...]) -> None:
    with pytest.raises(NoMatchingPlatform, match="linux/amd64 in the index"):
        chosen("linux/amd64", *platforms)


def test_unknown_types_are_passed_over_and_indexes_are_not() -> None:
    matcher = PlatformMatcher(Platform.parse("linux/amd64"))
    entries = [
        entry(1, "linux/amd64", "application/x-foo"),
        entry(2, "linux/amd64", OCI_INDEX),
        entry(3, "linux/amd64", DOCKER_MANIFEST),
    ]

    assert matcher.candidates(entries) == entries[1:]


def test_required_os_features_are_respected() -> None:
    special = Descriptor(
        OCI_MANIFEST,
        "sha256:" + "1" * 64,
        1,
        platform={"os": "linux", "architecture": "amd64", "os.features": ["x"], "os.version": "9"},
    )
    plain = entry(2, "linux/amd64")

    matcher = PlatformMatcher(Platform.parse("linux/amd64"))
    assert matcher.candidates([special, plain]) == [plain]  # IDX-14
    document = {"os": "linux", "architecture": "amd64", "os.version": "10.0.1"}
    versioned = replace(plain, platform=document)
    assert matcher.candidates([versioned, plain]) == [versioned, plain]  # IDX-13


def test_one_word_is_an_os_or_an_architecture_of_this_machine() -> None:
    here = Platform.here()
    assert Platform.parse("linux").architecture == here.architecture
    assert Platform.parse("s390x") == Platform(here.os, "s390x")


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "linux/*", "l nux/amd64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Platform.parse(text)
