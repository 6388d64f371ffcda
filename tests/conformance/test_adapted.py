"""The whole way from a puller through its adapter to a verdict, for each kind of adapter.

What is wrong with a puller has to arrive as what it is, whichever way it is driven: the same
pullers stand behind a command line, a wrapper, a CRI endpoint and a Python class.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from naive import a_case

from conformance.applicability import Subject
from conformance.case import Case, load_cases
from conformance.contract import Evidence
from conformance.judge import Judge
from conformance.profile import load as load_profile
from conformance.pullers import make_puller
from conformance.requirements import ROLES
from conformance.requirements import load as load_requirements
from conformance.results import Record
from fakeregistry import an_image, blob

HERE = Path(__file__).parent

HEAD = """
version = 1
name = "adapted"
kind = {kind!r}
roles = ["resolve", "copy", "unpack", "runtime"]
evidence = {evidence}
"""

PYTHON = """
[python]
entry = "conformance.pullers.refpull:ReferencePuller"
refusals = ["reference.errors:PullError"]
arguments = {{ puller = {target!r} }}
"""

COMMAND = """
[command]
pull = [
    {python!r}, "{here}/adapted_command.py", {target!r}, "pull", "--quiet",
    "--root", "{{store}}/root", "--output", "{{output}}/layout", "{{options}}", "{{image}}",
]
[layout]
form = "oci"
path = "{{output}}/layout"
[options.plain-http]
argv = ["--plain-http"]
[options.platform]
argv = ["--platform", "{{platform}}"]
"""

WRAPPER = """
[wrapper]
argv = [{python!r}, "{here}/adapted_wrapper.py", {target!r}]
inputs = ["plain-http", "platform", "mirrors"]
"""

CRI = """
[cri]
socket = "{{socket}}"
[layout]
form = "store"
path = "{{dir}}/root/blobs"
[options.plain-http]
[options.mirrors]
[daemon]
argv = [{python!r}, "{here}/adapted_cri.py", {target!r}, "{{socket}}", "{{dir}}"]
socket = "{{dir}}/c.sock"
"""

KINDS = {
    "python": (PYTHON, ["layout", "rootfs", "image-id", "status"]),
    "command": (COMMAND, ["layout", "status"]),
    "wrapper": (WRAPPER, ["layout", "rootfs", "image-id", "status"]),
    "cri": (CRI, ["layout", "image-id", "status"]),
}

REFERENCE = "reference.pull:Puller"


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., Record]:
    def judge(kind: str, target: str, case: str | Case, template: str = "") -> Record:
        if kind == "cri":
            pytest.importorskip("grpc")
        text, evidence = KINDS[kind]
        profile = tmp_path / "adapted.toml"
        tables = (template or text).format(python=sys.executable, here=HERE, target=target)
        profile.write_text(HEAD.format(kind=kind, evidence=evidence) + textwrap.dedent(tables))
        loaded = load_profile(str(profile))
        subject = Subject(
            name="adapted",
            version="1",
            roles=frozenset(ROLES),
            evidence=frozenset(map(Evidence, evidence)),
            capabilities=loaded.capabilities,
        )
        sessions = make_puller(loaded).session
        plays = Judge(subject, load_requirements(), sessions, "seed", tmp_path / "p")
        return plays.judge(load_cases()[case] if isinstance(case, str) else case).record

    return judge


def _corrupted_in_time(world: Any, registry: Any, puller: Any) -> None:
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[0])).flip_byte(-40)

    assert puller.pull(image, within=30 if world.honest else 2).refused


IN_TIME = a_case(_corrupted_in_time)
CORRUPTED = "blob/corrupted-is-refused"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("target", "case", "verdict", "how"),
    [
        (REFERENCE, CORRUPTED, "pass", ""),
        ("adapted_faults:Trusts", CORRUPTED, "fail", "wrong-content"),
        ("adapted_faults:Crashes", CORRUPTED, "fail", "crashed"),
        ("adapted_faults:Escapes", CORRUPTED, "fail", "escaped"),
        ("adapted_faults:Hangs", IN_TIME, "fail", "hung"),
    ],
)
def test_each_end_arrives_as_what_it_is(
    judged: Callable[..., Record], kind: str, target: str, case: str | Case, verdict: str, how: str
) -> None:
    record = judged(kind, target, case)

    assert (record.verdict, record.kind) == (verdict, how), record.note or record.actual
    assert record.neighbour["pulls"][0]["outcome"] == "pulled"


@pytest.mark.parametrize(
    ("kind", "mutant", "case", "how"),
    [
        (
            "command",
            "integrity:NegativeIsUnknown",
            "blob/negative-size-is-refused",
            "wrong-content",
        ),
        ("command", "names:PrefersTag", "names/tag-and-digest-takes-the-digest", "wrong-content"),
        ("command", "manifests:TakesAnotherTag", "manifests/unknown-tag-is-refused", "accepted"),
        ("wrapper", "unpack:NoZstd", "unpack/zstd-layer", "refused"),
        (
            "wrapper",
            "unpack_whiteouts:IgnoresWhiteouts",
            "unpack/whiteout-removes-what-is-below",
            "wrong-content",
        ),
        (
            "wrapper",
            "unpack_safety:DotDotClimbsOut",
            "unpack/dot-dot-names-stay-inside",
            "escaped",
        ),
        ("cri", "integrity:NoDigestCheck", CORRUPTED, "wrong-content"),
        ("cri", "redirect:NoLocationIsHere", "redirects/no-location-is-refused", "refused"),
        ("cri", "unpack:NoDiffIDCheck", "unpack/swapped-diff-ids-are-refused", "accepted"),
    ],
)
def test_mutants_die_behind_any_adapter(
    judged: Callable[..., Record], kind: str, mutant: str, case: str, how: str
) -> None:
    right = judged(kind, REFERENCE, case)
    wrong = judged(kind, f"conformance.mutants.{mutant}", case)

    assert right.verdict == "pass", right.note or right.actual
    assert wrong.verdict in ("fail", "deviates")
    assert wrong.kind == how


NO_PROGRAM = """
[command]
pull = ["/no/such/program", "{{image}}"]
[options.plain-http]
"""

NO_ANSWER = """
[wrapper]
argv = [{python!r}, "-c", "print('pulled, I think')"]
"""

NO_DAEMON = """
[cri]
socket = "{{socket}}"
[options.plain-http]
[daemon]
argv = [{python!r}, "-c", "raise SystemExit('no such option: {target}')"]
socket = "{{dir}}/c.sock"
"""


@pytest.mark.parametrize(
    ("kind", "template", "words"),
    [
        ("command", NO_PROGRAM, "/no/such/program"),
        ("wrapper", NO_ANSWER, "wrote no JSON object but 'pulled, I think'"),
        ("cri", NO_DAEMON, "ended while it started: no such option: here"),
    ],
)
def test_what_cannot_be_driven_is_an_error_and_no_verdict(
    judged: Callable[..., Record], kind: str, template: str, words: str
) -> None:
    record = judged(kind, "here", CORRUPTED, template)

    assert record.verdict == "error"
    assert words in record.note


@pytest.mark.parametrize("kind", ["command", "wrapper", "cri"])
def test_what_cannot_be_asked_for_is_not_applicable(
    judged: Callable[..., Record], kind: str
) -> None:
    def case(registry: Any, puller: Any) -> None:
        puller.pull(registry.add(an_image()), headers={"X-Mine": "1"})

    record = judged(kind, REFERENCE, a_case(case))

    assert (record.verdict, record.note) == ("not-applicable", "can't be given: headers")
