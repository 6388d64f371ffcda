"""The contract's JSON forms: nothing is lost on the way, and the schemas say what is sent."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conformance.contract import (
    AuthConfig,
    HostConfig,
    Limits,
    Outcome,
    PullRequest,
    Status,
    Trust,
)

FULL = PullRequest(
    image="registry.test:5000/app/web:v1",
    store=Path("/run/store"),
    output=Path("/run/output"),
    platform="linux/arm64",
    auth=AuthConfig(username="u", password="p", server_address="http://registry.test:5000"),
    trust=Trust(ca=Path("/run/ca.pem"), client_certificate=Path("/run/c.pem")),
    plain_http=True,
    http2=True,
    hosts=(
        HostConfig(
            "http://mirror.test:1",
            capabilities=("pull",),
            headers={"X-A": "b"},
            dial_timeout_s=1.5,
            override_path=True,
        ),
        HostConfig("http://registry.test:5000", server=True, skip_verify=True),
    ),
    hosts_tree={"registry.test:5000/hosts.toml": "server = 'http://a'\n"},
    headers={"X-Trace": "1"},
    proxy="http://proxy.test:3128",
    limits=Limits(timeout_s=3, progress_timeout_s=1, max_concurrent_downloads=2),
    decryption_keys=(Path("/run/key.pem"),),
    runtime_handler="kata",
    annotations={"a": "b"},
)
PLAIN = PullRequest(image="a/b:c", store=Path("/s"), output=Path("/o"))


def validator(name: str) -> Draft202012Validator:
    text = (files("conformance") / "schemas" / f"{name}.schema.json").read_text()
    schema: dict[str, Any] = json.loads(text)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("request_", [FULL, PLAIN])
def test_request_survives_json(request_: PullRequest) -> None:
    document = json.loads(json.dumps(request_.to_json()))
    assert PullRequest.from_json(document) == request_
    validator("request").validate({"version": 1, "operation": "pull", "request": document})


def test_outcome_and_status_survive_json() -> None:
    outcome = Outcome("failed", "no", code="NOT_FOUND", exit_status=1, argv=("a", "b"), seconds=0.1)
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    status = Status(True, image_id="sha256:0", repo_tags=("a:b",))
    assert Status.from_json(json.loads(json.dumps(status.to_json()))) == status


def test_inputs_name_what_is_asked_for() -> None:
    assert PLAIN.inputs() == frozenset()
    assert FULL.inputs() == {
        "annotations",
        "auth",
        "ca",
        "client-certificate",
        "decryption-keys",
        "headers",
        "hosts-toml",
        "http2",
        "max-concurrent-downloads",
        "mirrors",
        "plain-http",
        "platform",
        "progress-timeout",
        "proxy",
        "runtime-handler",
        "server-address",
        "timeout",
    }


def test_empty_auth_is_not_no_auth() -> None:
    assert AuthConfig().inputs() == {"auth-empty"}
    assert AuthConfig(auth="dTpw").inputs() == {"auth-encoded"}
    assert AuthConfig(identity_token="t").inputs() == {"identity-token"}


def test_secrets_are_not_in_the_repr() -> None:
    text = repr(AuthConfig(username="u", password="hunter2", auth="dTpw", identity_token="tok"))
    assert "hunter2" not in text
    assert "dTpw" not in text
    assert "tok'" not in text


@pytest.mark.parametrize(
    "answer",
    [
        {"version": 1, "answer": "pulled", "image_id": "sha256:0"},
        {"version": 1, "answer": "failed", "error": "no such tag"},
        {"version": 1, "answer": "unsupported", "feature": "platform"},
        {"version": 1, "answer": "status", "present": False},
        {"version": 1, "answer": "removed"},
    ],
)
def test_answers_of_the_schema(answer: dict[str, Any]) -> None:
    validator("answer").validate(answer)
    assert not validator("answer").is_valid({**answer, "surprise": 1})
    assert not validator("answer").is_valid({**answer, "version": 2})
