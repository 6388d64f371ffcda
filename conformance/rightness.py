"""Whether what a puller has is what the image is: every byte, and the whole tree.

Looked at after each pull that claims success. Where the content itself was a lie, only the store's
own promise is checked: nothing stands under a digest that it doesn't have.
"""

from __future__ import annotations

from pathlib import Path

from conformance.contract import Evidence, HarnessError, PullRequest, Session
from conformance.evidence import differences, mislabelled, powers_here, tree_of
from conformance.golden import NotGolden, golden_tree
from fakeregistry import Image
from fakeregistry.content import ImageSpec, IndexSpec

__all__ = ["mislabelled_blobs", "platform_image", "wrong_content"]

DEFAULT_PLATFORM = "linux/amd64"
_MOST = 5
_DEPTH = 4
"""How far below a store's root a folder ``blobs`` is looked for."""


def wrong_content(
    session: Session,
    request: PullRequest,
    image: Image | None,
    evidence: frozenset[Evidence],
    *,
    honest: bool,
    with_rootfs: bool,
    tree_is_told: bool = False,
) -> list[str]:
    """What is wrong with the content after a pull that succeeded, a line each.

    ``honest``: the image's own content is no lie, so it can be compared with what arrived.
    ``tree_is_told``: the unpacked tree can be, whatever else is a lie of the content.
    """
    spec = None if image is None else platform_image(image, request.platform)
    problems: list[str] = []
    if Evidence.LAYOUT in evidence:
        problems += _layout(session, request, image, spec, honest=honest)
    wanted = with_rootfs or Evidence.LAYOUT not in evidence
    if Evidence.ROOTFS in evidence and wanted and (honest or tree_is_told) and spec is not None:
        problems += _rootfs(session, request, spec)
    return problems[:_MOST]


def platform_image(image: Image, platform: str | None) -> ImageSpec | None:
    """The image that a pull for this platform should bring; None where that isn't said."""
    spec = image.spec
    if isinstance(spec, ImageSpec):
        return spec
    if isinstance(spec, IndexSpec):
        try:
            return spec.image(platform or DEFAULT_PLATFORM)
        except LookupError:
            return None
    return None


def mislabelled_blobs(*roots: Path) -> list[str]:
    """Content below these folders that stands under another digest, a line each.

    Looks at every folder ``blobs`` with a folder per algorithm in it: OCI layouts, containerd's
    content store and most stores have that form.
    """
    lines: list[str] = []
    for root in roots:
        for depth in range(_DEPTH + 1):
            pattern = "/".join(["*"] * depth + ["blobs"])
            for blobs in root.glob(pattern):
                lines += mislabelled(blobs)
    return lines


def _layout(
    session: Session,
    request: PullRequest,
    image: Image | None,
    spec: ImageSpec | None,
    *,
    honest: bool,
) -> list[str]:
    layout = session.layout(request.image, request)
    if layout is None:
        return ["claims success, and the image isn't there"]
    try:
        problems = layout.verify()
        if problems or not honest or spec is None or image is None:
            return problems
        if layout.manifest_digest != spec.digest:
            return [f"holds the manifest {layout.manifest_digest}, asked for was {spec.digest}"]
    except HarnessError as error:
        # The store can be found and read; that its content makes no sense is the puller's doing.
        return [str(error)]
    return []


def _rootfs(session: Session, request: PullRequest, spec: ImageSpec) -> list[str]:
    try:
        golden = golden_tree(spec.layers)
    except NotGolden:
        return []
    path = session.rootfs(request.image, request)
    if path is None:
        return ["claims success, and no unpacked tree is there"]
    return differences(golden, tree_of(path), powers_here())
