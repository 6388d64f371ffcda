"""The CRI adapter, as far as it can be told without a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.contract import PullRequest
from conformance.profile import load
from conformance.pullers.cri import CriSession, own_platform


@pytest.mark.parametrize(
    ("platform", "lacking"), [(None, None), (own_platform(), None), ("plan9/mips", "platform")]
)
def test_the_machines_own_platform_needs_no_input(
    tmp_path: Path, platform: str | None, lacking: str | None
) -> None:
    """The CRI pulls for the machine: asking for that is asking for nothing."""
    pytest.importorskip("grpc")
    (tmp_path / "session").mkdir()
    session = CriSession(load("containerd-2-cri"), tmp_path / "session", {})
    request = PullRequest(
        image="localhost/a:b", store=tmp_path, output=tmp_path, platform=platform, plain_http=True
    )
    assert session.lacking(request) == lacking
