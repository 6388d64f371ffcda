"""`refpull serve`, spoken to by gRPC: what each call answers, and how each failure is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc")

from fakeregistry import (  # noqa: E402
    Image,
    Registries,
    Registry,
    an_image,
    an_index,
    basic,
    blob,
    manifest,
)
from reference import cri  # noqa: E402
from reference.config import Config  # noqa: E402
from reference.cri_messages import message  # noqa: E402
from reference.errors import StoreError  # noqa: E402
from reference.platforms import Platform  # noqa: E402
from reference.pull import Puller  # noqa: E402

MACHINE = str(Platform.here())
Call = Callable[..., Any]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("cri") as registries:
        yield registries.registry()


@pytest.fixture
def image(registry: Registry) -> Image:
    made = an_image(2, platform=MACHINE, config_fields={"config": {"User": "1000:1000"}})
    return registry.add(made)


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(Config(trust_env=False), tmp_path / "store")


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def call(puller: Puller, address: Path) -> Iterator[Call]:
    server = cri.listen(puller, address)
    with grpc.insecure_channel(f"unix:{address}") as channel:

        def called(name: str, service: str = "ImageService", **fields: Any) -> Any:
            method = channel.unary_unary(
                f"/runtime.v1.{service}/{name}",
                request_serializer=message(f"{name}Request").SerializeToString,
                response_deserializer=message(f"{name}Response").FromString,
            )
            timeout = fields.pop("timeout", 10)
            future = fields.pop("future", False)
            request = message(f"{name}Request")(**fields)
            return (method.future if future else method)(request, timeout=timeout)

        yield called
    server.stop(None).wait()


def spec(name: str) -> Any:
    return message("ImageSpec")(image=name)


def test_a_pulled_image_is_known_by_every_name(call: Call, image: Image) -> None:
    """IMG-17"""
    assert call("PullImage", image=spec(image.reference)).image_ref == image.image_id
    for name in (image.reference, f"{image.name}@{image.digest}", image.image_id):
        found = call("ImageStatus", image=spec(name)).image
        assert found.id == image.image_id
        assert list(found.repo_tags) == [image.reference]
        assert list(found.repo_digests) == [f"{image.name}@{image.digest}"]
        assert found.uid.value == 1000
        document = json.loads(image.manifest)
        sizes = [each["size"] for each in (document["config"], *document["layers"])]
        assert found.size == len(image.manifest) + sum(sizes)
    (listed,) = call("ListImages").images
    assert listed.id == image.image_id
    (filtered,) = call("ListImages", filter={"image": {"image": image.reference}}).images
    assert filtered == listed


def test_two_tags_of_an_image_are_told_together(
    call: Call, registry: Registry, image: Image
) -> None:
    """IMG-17"""
    second = registry.add(image.spec, tag="v2")
    for each in (image, second):
        call("PullImage", image=spec(each.reference))
    (listed,) = call("ListImages").images
    assert sorted(listed.repo_tags) == sorted([image.reference, second.reference])
    assert list(listed.repo_digests) == [f"{image.name}@{image.digest}"]


def test_verbose_status_has_the_config(call: Call, image: Image) -> None:
    call("PullImage", image=spec(image.reference))
    info = json.loads(call("ImageStatus", image=spec(image.reference), verbose=True).info["info"])
    assert info["imageSpec"]["config"]["User"] == "1000:1000"
    assert info["chainID"].startswith("sha256:")


def test_what_isnt_here_is_an_empty_answer(call: Call, image: Image) -> None:
    assert not call("ImageStatus", image=spec(image.reference)).HasField("image")
    assert not call("ListImages").images
    assert not call("ListImages", filter={"image": {"image": image.reference}}).images
    call("RemoveImage", image=spec(image.reference))


def test_a_removed_image_is_gone_under_every_name(call: Call, image: Image, puller: Puller) -> None:
    call("PullImage", image=spec(image.reference))
    call("RemoveImage", image=spec(image.image_id))
    assert not call("ListImages").images
    assert puller.records.list() == []
    assert list(puller.content.digests()) == []


def test_removing_an_image_waits_for_no_pull(
    call: Call, registry: Registry, image: Image, puller: Puller
) -> None:
    call("PullImage", image=spec(image.reference))
    slow = registry.add(an_image(3, size=9000, platform=MACHINE), "app/slow")
    held = registry.on(blob(slow.layers[2])).stall_after(10)
    pulling = call("PullImage", image=spec(slow.reference), future=True, timeout=30)
    assert held.wait_holding()
    call("RemoveImage", image=spec(image.reference))
    assert not call("ListImages").images
    held.release()
    assert pulling.result().image_ref == slow.image_id
    assert puller.check() == []


def test_the_disk_that_images_take(call: Call, image: Image, puller: Puller) -> None:
    call("PullImage", image=spec(image.reference))
    (usage,) = call("ImageFsInfo").image_filesystems
    assert usage.fs_id.mountpoint == str(puller.root / "snapshots")
    assert usage.used_bytes.value > 0
    assert usage.inodes_used.value > 3
    assert usage.timestamp > 1e18


def test_credentials_are_used_and_told_to_nobody(
    call: Call, registry: Registry, image: Image
) -> None:
    registry.auth = basic("me")
    auth = registry.auth.credentials
    with pytest.raises(grpc.RpcError) as caught:
        call("PullImage", image=spec(image.reference), auth={"username": "me", "password": "no!"})
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "no!" not in caught.value.details()
    right = {"username": auth.username, "password": auth.password}
    assert call("PullImage", image=spec(image.reference), auth=right).image_ref


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lambda rule: rule.status(404), "NOT_FOUND"),
        (lambda rule: rule.status(403), "PERMISSION_DENIED"),
        (lambda rule: rule.status(503), "UNAVAILABLE"),
        (lambda rule: rule.body(b"{}", "application/json"), "FAILED_PRECONDITION"),
    ],
)
def test_a_failure_has_its_code(
    call: Call, registry: Registry, image: Image, fault: Any, code: str
) -> None:
    fault(registry.on(manifest(image)))
    with pytest.raises(grpc.RpcError) as caught:
        call("PullImage", image=spec(image.reference), timeout=30)
    assert caught.value.code().name == code
    assert caught.value.details().startswith("RegistryUnavailable: ") == (code == "UNAVAILABLE")


@pytest.mark.parametrize("name", ["", "UPPER", "a:b:c"])
def test_a_bad_name_is_an_invalid_argument(call: Call, name: str) -> None:
    for method in ("PullImage", "ImageStatus", "RemoveImage"):
        with pytest.raises(grpc.RpcError) as caught:
            call(method, image=spec(name))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_index_without_a_match_is_a_failed_precondition(call: Call, registry: Registry) -> None:
    other = registry.add(an_index(an_image(1, platform="linux/s390x")))
    with pytest.raises(grpc.RpcError) as caught:
        call("PullImage", image=spec(other.reference))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_client_that_hangs_up_cancels_its_pull(
    call: Call, registry: Registry, image: Image, puller: Puller
) -> None:
    held = registry.on(blob(image.layers[0])).stall_after(10)
    pulling = call("PullImage", image=spec(image.reference), future=True)
    assert held.wait_holding()
    pulling.cancel()
    assert registry.journal.wait_quiet()
    assert [e.ended for e in registry.requests(blob(image.layers[0]))] == ["client_gone"]
    assert puller.records.list() == []


def test_a_clients_deadline_is_told_as_one(
    call: Call, registry: Registry, image: Image, puller: Puller
) -> None:
    """CANC-04"""
    registry.on(blob(image.layers[0])).stall_after(10)
    with pytest.raises(grpc.RpcError) as caught:
        call("PullImage", image=spec(image.reference), timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert registry.journal.wait_quiet()
    assert puller.records.list() == []


@pytest.mark.parametrize(
    ("pod", "runtime", "handler"),
    [
        (None, "", ""),  # MISC-01
        ({}, "", ""),
        ({cri.RUNTIME_HANDLER: "kata"}, "", "kata"),  # MISC-02
        ({cri.RUNTIME_HANDLER: "kata"}, "runc", "runc"),  # MISC-04
        (None, "runc", ""),
    ],
)
def test_the_runtime_is_the_pods(pod: dict[str, str] | None, runtime: str, handler: str) -> None:
    asked = {"image": {"image": "x", "runtime_handler": runtime}}
    sandbox = {} if pod is None else {"sandbox_config": {"annotations": pod}}
    assert cri.handler_of(message("PullImageRequest")(**asked, **sandbox)) == handler


def test_the_runtime_says_that_it_runs_nothing(call: Call) -> None:
    version = call("Version", "RuntimeService")
    assert (version.runtime_name, version.runtime_api_version) == ("refpull", "v1")
    conditions = call("Status", "RuntimeService").status.conditions
    assert {each.type: each.status for each in conditions} == {
        "RuntimeReady": False,
        "NetworkReady": False,
    }


def test_the_socket_is_its_owners_alone(call: Call, address: Path) -> None:
    mode = address.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_a_path_that_is_taken_is_refused(tmp_path: Path, puller: Puller) -> None:
    taken = tmp_path / "file"
    taken.write_text("mine")
    with pytest.raises(StoreError, match="is not a socket"):
        cri.listen(puller, taken)
    assert taken.read_text() == "mine"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "used"))
        other.listen()
        with pytest.raises(StoreError, match="somebody is listening"):
            cri.listen(puller, tmp_path / "used")
    cri.free_socket(tmp_path / "used")
    assert not (tmp_path / "used").exists()


def test_the_command_serves_until_it_is_stopped(tmp_path: Path, image: Image) -> None:
    address = tmp_path / "s"
    command = [sys.executable, "-m", "reference", "serve", "--root", str(tmp_path / "store")]
    with subprocess.Popen(
        [*command, "--address", f"unix://{address}"],
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"serving unix://{address}\n"
            with grpc.insecure_channel(f"unix:{address}") as channel:
                pull = channel.unary_unary(
                    "/runtime.v1.ImageService/PullImage",
                    request_serializer=message("PullImageRequest").SerializeToString,
                    response_deserializer=message("PullImageResponse").FromString,
                )
                request = message("PullImageRequest")(image=spec(image.reference))
                assert pull(request, timeout=20).image_ref == image.image_id
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert not address.exists()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("config", "uid", "username"),
    [
        ({"User": "1000:100"}, 1000, ""),
        ({"User": "me:100"}, None, "me"),
        ({"User": "9223372036854775807"}, 2**63 - 1, ""),
        ({"User": "9223372036854775808"}, None, "9223372036854775808"),
        ({"User": "9" * 5000}, None, "9" * 5000),
        ({"User": "\u0661"}, None, "\u0661"),
        ({"User": "\ud800"}, None, "?"),
        ({"User": None}, None, ""),
        ({"User": ["me"]}, None, ""),
        ({}, None, ""),
        (None, None, ""),
        ("x", None, ""),
    ],
)
def test_any_user_of_an_image_can_be_told(config: object, uid: int | None, username: str) -> None:
    """One odd config must not end the list of all images."""
    described = message("Image")()
    cri.set_user(described, config)
    assert (described.uid.value if described.HasField("uid") else None) == uid
    assert described.username == username
