"""The JSON Schema of scenario files says what the parser reads: the same keys, no others."""

import json
import subprocess
import sys
import tomllib
from typing import Any

import jsonschema
import pytest

from fakeregistry.faults import FAULTS
from fakeregistry.scenario import ScenarioError, Source, find, read, shipped
from fakeregistry.scenario.reader import Table
from fakeregistry.scenario.schema import schema

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

FULL: dict[str, Any] = {
    "incident": {"title": "t"},
    "registry": [{"auth": {"scheme": "bearer"}}],
    "proxy": [{}],
    "image": [
        {"layer": [{"lie": {"cut": 1}}], "config": {"labels": {"a": "b"}}, "lie": {"omit": []}}
    ],
    "rule": [{"on": "blob", "status": 500}],
    "pull": [
        {"auth": {"of": "origin"}, "proxy": {"name": "proxy"}, "hosts": [{"registry": "origin"}]}
    ],
    "expect": {
        "outcome": "pulled",
        "requests": [{"on": "blob", "at_most": 1}],
        "connections": [{"at_most": 1}],
    },
}


def test_the_schema_is_sound_and_printed() -> None:
    VALIDATOR.check_schema(SCHEMA)
    command = [sys.executable, "-m", "fakeregistry", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)

    assert json.loads(done.stdout) == SCHEMA


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_scenario_fits(name: str) -> None:
    VALIDATOR.validate(tomllib.loads(find(name).read_text()))


def test_parser_and_schema_know_the_same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, set[str]] = {}
    take, has = Table.take, Table.has

    def name_of(table: Table) -> str:
        return ".".join(str(part) for part in table.place if not isinstance(part, int))

    def taking(table: Table, key: str) -> Any:
        asked.setdefault(name_of(table), set()).add(key)
        return take(table, key)

    def having(table: Table, key: str) -> bool:
        asked.setdefault(name_of(table), set()).add(key)
        return has(table, key)

    monkeypatch.setattr(Table, "take", taking)
    monkeypatch.setattr(Table, "has", having)
    read(Source("full", FULL))

    tables = SCHEMA["$defs"]
    known = {name: set(tables[name]["properties"]) for name in tables}
    known["rule"] -= set(FAULTS) - asked["rule"]
    assert asked.pop("") == set(SCHEMA["properties"])
    assert asked.pop("image.layer") == known.pop("layer")
    assert asked.pop("expect.requests") == known.pop("requests")
    assert asked.pop("expect.connections") == known.pop("connections")
    assert asked.pop("pull.hosts") == known.pop("host")
    assert asked.pop("pull.auth") == {"of"}
    assert asked.pop("pull.proxy") == {"name", "auth"}
    # A proxy is read as a registry; what it can't have is refused by name.
    assert known.pop("proxy") < asked.pop("proxy")
    lies = tables["layer"]["properties"]["lie"]["properties"]
    assert asked.pop("image.layer.lie") == set(lies)
    for name in ("config", "lie"):
        assert asked.pop(f"image.{name}") == set(tables["image"]["properties"][name]["properties"])
    auth = tables["registry"]["properties"]["auth"]["anyOf"][1]["properties"]
    assert asked.pop("registry.auth") == set(auth)
    assert asked == known


FAULT_VALUES: list[tuple[str, Any]] = [
    ("status", 503),
    ("status", {"code": 429, "retry_after": 1}),
    ("status", True),
    ("status", False),
    ("status", {"body": "x"}),
    ("status", {"code": 500, "bdy": "x"}),
    ("truncate_after", "1KiB"),
    ("truncate_after", {"n": 5, "terminated": True}),
    ("truncate_after", {"n": 5, "terminated": 1}),
    ("drip", True),
    ("drip", {"every": "20s"}),
    ("drip", {"every": "20 hours"}),
    ("delay_headers", "forever"),
    ("delay_headers", False),
    ("delay_headers", True),
    ("delay_headers", "2.5s"),
    ("digest_header", "wrong"),
    ("digest_header", False),
    ("chunked", True),
    ("chunked", 1),
    ("reset_before_headers", True),
    ("header", {"name": "X", "value": "y"}),
    ("header", "X"),
    ("redirect", {"to": "https://x.example/"}),
    ("redirect", True),
    ("error_body", {"detail": [1, {"a": None}]}),
    ("too_many_requests", 3),
    ("throttle", "64KiB"),
    ("throttle", "fast"),
    ("swap", "a text"),
    ("swap", {"layer": 1}),
    ("swap", {"other": {"image": "app/web", "part": "config"}}),
    ("swap", {"layer": -1}),
    ("swap", {"part": "blob"}),
    ("swap", {"other": {}}),
    ("swap", {}),
    ("swap", {"layr": 1}),
    ("swap", 5),
    ("other_content_from_offset", {"other": {"layer": 0}, "n": "1KiB"}),
    ("other_content_from_offset", {"layer": 0}),
    ("body", {"layer": 0}),
    ("body", {"data": "x", "content_type": "a/b"}),
    ("content_type_alternate", ["a/b", "c/d"]),
    ("content_type_alternate", {"values": ["a/b"]}),
    ("content_type_alternate", []),
    ("content_type_alternate", "a/b"),
    ("content_type_alternate", [1]),
    ("multirange", 400),
    ("multirange", "multipart"),
    ("raw_header", "X y"),
    ("accept_ranges", False),
    ("content_encode", {"coding": "gzip", "always": True}),
]


@pytest.mark.parametrize(("fault", "value"), FAULT_VALUES)
def test_parser_and_schema_agree_about_faults(fault: str, value: Any) -> None:
    document = {"image": [{}], "rule": [{"on": "blob", fault: value}]}
    try:
        read(Source("r", document))
    except ScenarioError:
        accepted = False
    else:
        accepted = True

    assert VALIDATOR.is_valid(document) == accepted


@pytest.mark.parametrize("table", ["incident", "registry", "image", "rule", "pull", "expect"])
def test_unknown_keys_are_unknown_to_both(table: str) -> None:
    part = FULL[table][0] if isinstance(FULL[table], list) else FULL[table]
    changed = {**FULL, table: {**part, "unknown": 1}}

    assert VALIDATOR.is_valid(FULL)
    assert not VALIDATOR.is_valid(changed)
    with pytest.raises(ScenarioError, match="unknown key 'unknown'"):
        read(Source("r", changed))


def test_every_fault_is_described() -> None:
    for name in FAULTS:
        assert SCHEMA["$defs"]["rule"]["properties"][name]["description"].endswith((".", ")."))
