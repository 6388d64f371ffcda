"""Messages of the CRI: what a client sends becomes a request, or a refusal with its code."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from harness import SECRET, PromiseError, held

from reference.auth import parse_auth
from reference.compat import Quirks
from reference.cri import auth_of, code_of, handler_of, set_user
from reference.cri_messages import message
from reference.errors import InvalidAuth, InvalidReference, PullError
from reference.names import Names

KINDS = (
    *("PullImageRequest", "ImageStatusRequest", "ListImagesRequest", "RemoveImageRequest"),
    *("ImageFsInfoRequest", "VersionRequest", "StatusRequest", "Image"),
)
"""An input's first byte says which of them it is."""
_PULL = message("PullImageRequest")(
    image=message("ImageSpec")(image="registry.test/app:v1", runtime_handler="kata"),
    auth=message("AuthConfig")(
        username="u",
        password=SECRET,
        auth="dTpw",
        server_address="https://registry.test",
        identity_token=SECRET,
    ),
    sandbox_config=message("PodSandboxConfig")(annotations={"a": "b"}),
)
_AUTHS = [
    message("PullImageRequest")(
        image=message("ImageSpec")(image="registry.test/app"), auth=message("AuthConfig")(**fields)
    ).SerializeToString()
    for fields in (
        {"auth": "%%%"},
        {"auth": "é"},
        {"auth": "eA=="},
        {"auth": "/////w=="},
        {"server_address": "http://["},
        {"server_address": "registry.test:x", "username": "u"},
        {"username": "\0\n", "password": "\r"},
    )
]
WORDS = [b"\n", b"\x12", b"\x1a", b"\x0a\x05", b"\xff\xff\xff\xff\x0f", b"\x80", b"\x0b", b"\x0c"]
WORDS += [b"registry.test", b"http://[", SECRET.encode(), b"\xed\xa0\x80", b"\xc2\xa0"]
SEEDS = [
    *(bytes([kind]) + body for kind in range(len(KINDS)) for body in (b"", b"\x0a\0", b"\xff")),
    b"\0" + _PULL.SerializeToString(),
    *(b"\0" + body for body in _AUTHS),
    *(bytes([kind]) + b"\x0a\x07\x0a\x05app:x" for kind in (1, 2, 3)),
    b"\0" + b"\x0b" * 5000,
    b"\0" + b"\x0a\xff\xff\xff\xff\x07",
]


def fuzz_one(data: bytes) -> None:
    """Read a message, and from a pull its name and its credentials."""
    kind = KINDS[data[0] % len(KINDS) if data else 0]
    with held(data, InvalidAuth, InvalidReference):
        if kind == "Image":
            described = message(kind)()
            set_user(described, {"User": data[1:].decode("utf-8", "surrogateescape")})
            described.SerializeToString()
            return
        try:
            request = message(kind).FromString(data[1:])
        except DecodeError:
            return
        if kind != "PullImageRequest":
            return
        try:
            handler_of(request)
            name = Names().parse(request.image.image)
            for quirks in (Quirks(), Quirks.containerd()):
                parse_auth(auth_of(request.auth), name.domain, quirks)
        except PullError as error:
            if code_of(error) in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
                raise PromiseError(f"{error} is answered with {code_of(error)}") from error
            raise
