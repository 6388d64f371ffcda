"""The messages of the CRI that an image service needs, described without generated code.

Names and numbers are those of ``runtime.v1`` (``api.proto`` of kubernetes/cri-api). What a client
sends beyond them is skipped, as protobuf does with any field that it doesn't know.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "runtime.v1"

_KINDS = {"int64": 3, "uint64": 4, "bool": 8, "string": 9}

_PROTO = """
Int64Value: int64 value 1
UInt64Value: uint64 value 1
ImageSpec: string image 1, map annotations 2, string user_specified_image 18, \
    string runtime_handler 19, string image_ref 20
AuthConfig: string username 1, string password 2, string auth 3, string server_address 4, \
    string identity_token 5, string registry_token 6
PodSandboxConfig: map annotations 7
Image: string id 1, string* repo_tags 2, string* repo_digests 3, uint64 size 4, \
    Int64Value uid 5, string username 6, ImageSpec spec 7, bool pinned 8
ImageFilter: ImageSpec image 1
ListImagesRequest: ImageFilter filter 1
ListImagesResponse: Image* images 1
ImageStatusRequest: ImageSpec image 1, bool verbose 2
ImageStatusResponse: Image image 1, map info 2
PullImageRequest: ImageSpec image 1, AuthConfig auth 2, PodSandboxConfig sandbox_config 3
PullImageResponse: string image_ref 1
RemoveImageRequest: ImageSpec image 1
RemoveImageResponse:
ImageFsInfoRequest:
FilesystemIdentifier: string mountpoint 1
FilesystemUsage: int64 timestamp 1, FilesystemIdentifier fs_id 2, UInt64Value used_bytes 3, \
    UInt64Value inodes_used 4
ImageFsInfoResponse: FilesystemUsage* image_filesystems 1, FilesystemUsage* container_filesystems 2
VersionRequest: string version 1
VersionResponse: string version 1, string runtime_name 2, string runtime_version 3, \
    string runtime_api_version 4
StatusRequest: bool verbose 1
RuntimeCondition: string type 1, bool status 2, string reason 3, string message 4
RuntimeStatus: RuntimeCondition* conditions 1
StatusResponse: RuntimeStatus status 1, map info 2
"""


def message(name: str) -> Any:
    """The class of a message, by its name in ``runtime.v1``."""
    return _messages()[name]


@cache
def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="reference/cri.proto", package=PACKAGE, syntax="proto3"
    )
    for line in _PROTO.strip().splitlines():
        name, _, fields = line.partition(":")
        described = file.message_type.add(name=name)
        for field in filter(None, (text.strip() for text in fields.split(","))):
            _add(described, *field.split())
    # A pool of its own: another part of the process may have the real `api.proto`.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        each.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{PACKAGE}.{each.name}")
        )
        for each in file.message_type
    }


def _add(described: Any, kind: str, name: str, number: str) -> None:
    """Add a field: a scalar, a message, a list of either (`*`), or a map of strings."""
    field = described.field.add(name=name, number=int(number), label=1)
    if kind.endswith("*") or kind == "map":
        field.label = 3
    kind = kind.removesuffix("*")
    if kind == "map":
        entry = described.nested_type.add(name=name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_KINDS["string"], label=1)
        entry.field.add(name="value", number=2, type=_KINDS["string"], label=1)
        kind = f"{described.name}.{entry.name}"
    if kind in _KINDS:
        field.type = _KINDS[kind]
    else:
        field.type = 11
        field.type_name = f".{PACKAGE}.{kind}"
