"""The few messages of the CRI's ImageService that a pull needs, made without generated code.

Field names and numbers are those of ``runtime.v1`` (``api.proto`` of kubernetes/cri-api); fields
that are never read or written are left out, which protobuf allows. Making the descriptors here
keeps 170 kB of generated code, and its tie to one protobuf release, out of the project.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["message", "method"]

_PACKAGE: Final = "runtime.v1"
_STRING, _BOOL, _UINT64, _MESSAGE = 9, 8, 4, 11

# message -> field -> (number, type, repeated); a type that is text names a message, and
# "map" is map<string, string>.
_MESSAGES: Final[dict[str, dict[str, tuple[int, int | str, bool]]]] = {
    "ImageSpec": {
        "image": (1, _STRING, False),
        "annotations": (2, "map", True),
        "runtime_handler": (19, _STRING, False),
    },
    "AuthConfig": {
        "username": (1, _STRING, False),
        "password": (2, _STRING, False),
        "auth": (3, _STRING, False),
        "server_address": (4, _STRING, False),
        "identity_token": (5, _STRING, False),
        "registry_token": (6, _STRING, False),
    },
    "PodSandboxMetadata": {
        "name": (1, _STRING, False),
        "uid": (2, _STRING, False),
        "namespace": (3, _STRING, False),
    },
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata", False),
        "annotations": (7, "map", True),
    },
    "PullImageRequest": {
        "image": (1, "ImageSpec", False),
        "auth": (2, "AuthConfig", False),
        "sandbox_config": (3, "PodSandboxConfig", False),
    },
    "PullImageResponse": {"image_ref": (1, _STRING, False)},
    "Image": {
        "id": (1, _STRING, False),
        "repo_tags": (2, _STRING, True),
        "repo_digests": (3, _STRING, True),
        "size": (4, _UINT64, False),
        "pinned": (8, _BOOL, False),
    },
    "ImageStatusRequest": {"image": (1, "ImageSpec", False), "verbose": (2, _BOOL, False)},
    "ImageStatusResponse": {"image": (1, "Image", False), "info": (2, "map", True)},
    "RemoveImageRequest": {"image": (1, "ImageSpec", False)},
    "RemoveImageResponse": {},
    "VersionRequest": {"version": (1, _STRING, False)},
    "VersionResponse": {
        "runtime_name": (2, _STRING, False),
        "runtime_version": (3, _STRING, False),
    },
}

_METHODS: Final = {
    "PullImage": ("ImageService", "PullImage"),
    "ImageStatus": ("ImageService", "ImageStatus"),
    "RemoveImage": ("ImageService", "RemoveImage"),
    "Version": ("RuntimeService", "Version"),
}


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    """A pool of our own: the process may have loaded the real ``api.proto`` elsewhere."""
    file = descriptor_pb2.FileDescriptorProto(
        name="conformance/cri.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for field_name, (number, kind, repeated) in fields.items():
            # The stubs want enum values, the library takes their numbers.
            field: Any = described.field.add(name=field_name, number=number)
            field.label = 3 if repeated else 1  # LABEL_REPEATED, LABEL_OPTIONAL
            if kind == "map":
                entry: Any = described.nested_type.add(name=_entry(field_name))
                entry.options.map_entry = True
                for key, at in (("key", 1), ("value", 2)):
                    entry.field.add(name=key, number=at, type=_STRING, label=1)
                field.type = _MESSAGE
                field.type_name = f".{_PACKAGE}.{name}.{_entry(field_name)}"
            elif isinstance(kind, str):
                field.type = _MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _entry(field: str) -> str:
    """The name that protobuf demands of a map's entry type."""
    return "".join(part.capitalize() for part in field.split("_")) + "Entry"


@cache
def message(name: str) -> Any:
    """The class of a message, by its name in ``runtime.v1``."""
    descriptor = _pool().FindMessageTypeByName(f"{_PACKAGE}.{name}")
    return message_factory.GetMessageClass(descriptor)


def method(channel: Any, name: str) -> Any:
    """The callable of a unary RPC on a gRPC channel."""
    service, rpc = _METHODS[name]
    return channel.unary_unary(
        f"/{_PACKAGE}.{service}/{rpc}",
        request_serializer=message(f"{rpc}Request").SerializeToString,
        response_deserializer=message(f"{rpc}Response").FromString,
    )
