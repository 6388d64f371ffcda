"""A wrapper round the reference or a mutant of it: ``adapted_wrapper.py module:Class``."""

from __future__ import annotations

import json
import sys
from typing import Any

from conformance.contract import PullRequest
from conformance.pullers.answers import answer
from conformance.pullers.refpull import ReferencePuller
from reference.config import Config
from reference.errors import PullError


def answered(question: dict[str, Any], target: str) -> dict[str, Any]:
    adapted = ReferencePuller(target)
    if question["operation"] == "describe":
        return answer(
            "described",
            name="adapted",
            puller_version="1",
            roles=["resolve", "copy", "unpack"],
            evidence=["layout", "rootfs", "image-id", "status"],
            features=[],
        )
    if question["operation"] not in ("pull", "status"):
        return answer("unsupported", feature=question["operation"])
    request = PullRequest.from_json(question["request"])
    if question["operation"] == "status":
        return answer("status", **adapted.status(question["image"], request).to_json())
    try:
        outcome = adapted.pull(request)
    except PullError as error:
        return answer("failed", error=str(error))
    layout = request.output / "layout"
    store = adapted.puller_class(Config(), request.store / "root")
    store.export_layout(request.image, layout, platform=request.platform)
    return answer(
        "pulled",
        image_id=outcome.image_id,
        digest=outcome.digest,
        layout=str(layout),
        rootfs=str(adapted.rootfs(request.image, request)),
    )


if __name__ == "__main__":
    print(json.dumps(answered(json.load(sys.stdin), sys.argv[1])))
