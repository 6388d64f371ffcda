"""`refpull serve`: the image service of Kubernetes' Container Runtime Interface, and no more of it.

ImageService is whole: PullImage, ImageStatus, ListImages, RemoveImage, ImageFsInfo. Of
RuntimeService there are Version and Status, which say that no containers are run here; so a kubelet
with another runtime can use it as its image service, and `crictl` can speak to it.

Each failure has the gRPC code that says what to do about it, and an unreachable registry the name
by which a kubelet knows it (``pkg/errors`` of kubernetes/cri-api).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from reference import __version__
from reference.config import AuthConfig, Request
from reference.cri_messages import PACKAGE, message
from reference.descriptors import is_digest
from reference.errors import (
    AuthError,
    Cancelled,
    ConfigError,
    IntegrityError,
    InvalidReference,
    LayerError,
    ManifestError,
    NotFound,
    ProgressTimeout,
    PullError,
    RateLimited,
    RegistryError,
    StoreError,
    TransportError,
)
from reference.images import PINNED
from reference.leases import InUseError, at_once
from reference.local import Found, Held
from reference.manifests import ImageConfig
from reference.progress import Cancellation
from reference.pull import Puller
from reference.snapshots import chain_id
from reference.tracing import span

_Code = grpc.StatusCode
RUNTIME_HANDLER = "io.containerd.cri.runtime-handler"
"""The annotation of a pod's sandbox that names its runtime."""
UNAVAILABLE = "RegistryUnavailable"
"""How a kubelet recognises a registry that can't be reached."""
_TRACE = ("traceparent", "tracestate")
WORKERS = 64
"""Calls answered at a time; a pull that waits holds one."""
_GRACE = 5.0  # seconds for calls under way when the server stops


def code_of(error: PullError) -> grpc.StatusCode:
    """The gRPC code of a failure."""
    table: tuple[tuple[type[PullError] | tuple[type[PullError], ...], grpc.StatusCode], ...] = (
        (InvalidReference, _Code.INVALID_ARGUMENT),
        (NotFound, _Code.NOT_FOUND),
        (RateLimited, _Code.UNAVAILABLE),
        (AuthError, _Code.PERMISSION_DENIED),
        (ProgressTimeout, _Code.DEADLINE_EXCEEDED),
        (Cancelled, _Code.CANCELLED),
        (TransportError, _Code.UNAVAILABLE),
        ((IntegrityError, ManifestError, LayerError, ConfigError), _Code.FAILED_PRECONDITION),
        (StoreError, _Code.INTERNAL),
    )
    if isinstance(error, RegistryError) and error.status >= 500:
        return _Code.UNAVAILABLE
    return next((code for kind, code in table if isinstance(error, kind)), _Code.UNKNOWN)


def words_of(error: PullError) -> str:
    """The message of a failure, with the CRI's own name in front where there is one."""
    return f"{UNAVAILABLE}: {error}" if code_of(error) is _Code.UNAVAILABLE else str(error)


class ImageService:
    """Answers for one store; each method takes and returns messages of ``runtime.v1``."""

    def __init__(self, puller: Puller) -> None:
        self.puller = puller

    def PullImage(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Pull, unpack and record; the client's hanging up, or its deadline, cancels."""
        cancellation = Cancellation()
        if not context.add_callback(cancellation.cancel):
            cancellation.cancel()
        pull = Request(
            request.image.image,
            auth=auth_of(request.auth) if request.HasField("auth") else None,
            runtime_handler=handler_of(request),
        )
        metadata = context.invocation_metadata()
        carrier = {key: str(value) for key, value in metadata if key in _TRACE}
        with span(f"{PACKAGE}.ImageService/PullImage", carrier):
            pulled = self.puller.pull(pull, cancellation=cancellation)
        return message("PullImageResponse")(image_ref=pulled.image_id)

    def ImageStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The image with that name or id; an empty answer where there is none."""
        answer = message("ImageStatusResponse")()
        image = self.held(request.image.image)
        if image is None:
            return answer
        answer.image.CopyFrom(self.described(image))
        if request.verbose:
            config = self.config(image.found)
            info = {"chainID": chain_id(config.diff_ids), "imageSpec": dict(config.platform)}
            answer.info["info"] = json.dumps(info)
        return answer

    def ListImages(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Every image, or the one that the filter names."""
        answer = message("ListImagesResponse")()
        wanted = request.filter.image.image
        images = [self.held(wanted)] if wanted else self.puller.held().values()
        answer.images.extend(self.described(image) for image in images if image)
        return answer

    def RemoveImage(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Forget every name of the image; that there is none is no error."""
        image = self.held(request.image.image)
        if image is not None:
            for record in image.records:
                self.puller.records.remove(record.name)
            with contextlib.suppress(InUseError):  # then a later collection frees the disk
                self.puller.collect(at_once)
        return message("RemoveImageResponse")()

    def ImageFsInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """What unpacked images take of the disk."""
        folder = self.puller.unpacked.root
        used, inodes = usage(folder)
        answer = message("ImageFsInfoResponse")()
        answer.image_filesystems.add(
            timestamp=time.time_ns(),
            fs_id=message("FilesystemIdentifier")(mountpoint=str(folder)),
            used_bytes=message("UInt64Value")(value=used),
            inodes_used=message("UInt64Value")(value=inodes),
        )
        return answer

    # What is here.

    def held(self, name: str) -> Held | None:
        """The image that a name or an id means, if it is here."""
        if not name:
            raise InvalidReference("no image is named")
        try:
            found = self.puller.here(name, None)
        except StoreError:
            return None
        return self.puller.held().get(found.manifest.config.digest)

    def config(self, found: Found) -> ImageConfig:
        """The config of an image."""
        manifest = found.manifest
        return self.puller.manifests().config(self.puller.read(manifest.config), manifest)

    def described(self, image: Held) -> Any:
        """The image as the CRI describes it (IMG-17)."""
        found = image.found
        names = [record.name for record in image.records]
        config = self.config(found)
        described = message("Image")(
            id=found.manifest.config.digest,
            repo_tags=[name for name in names if "@" not in name and not is_digest(name)],
            repo_digests=[name for name in names if "@" in name],
            size=sum(
                each.size
                for each in (found.descriptor, found.manifest.config, *found.manifest.layers)
            ),
            pinned=any(PINNED.items() <= record.labels.items() for record in image.records),
        )
        set_user(described, config.platform.get("config"))
        return described


class RuntimeService:
    """What a client of the CRI asks first."""

    def Version(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Who answers."""
        return message("VersionResponse")(
            version="0.1.0",
            runtime_name="refpull",
            runtime_version=__version__,
            runtime_api_version="v1",
        )

    def Status(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """That no containers are run here."""
        answer = message("StatusResponse")()
        for kind in ("RuntimeReady", "NetworkReady"):
            answer.status.conditions.add(
                type=kind, reason="ImagesOnly", message="refpull serves images, not containers"
            )
        return answer


def handler_of(request: Any) -> str:
    """The runtime that the image is for: only a pod has one (MISC-01, MISC-02, MISC-04)."""
    if not request.HasField("sandbox_config"):
        return ""
    annotated = request.sandbox_config.annotations.get(RUNTIME_HANDLER, "")
    return str(request.image.runtime_handler or annotated)


def set_user(described: Any, config: Any) -> None:
    """Say whom an image's containers run as: a number of 64 bits, or a name; nobody is root."""
    user = config.get("User") if isinstance(config, dict) else None
    name = user.partition(":")[0] if isinstance(user, str) else ""
    if re.fullmatch("[0-9]{1,19}", name) and int(name) < 2**63:
        described.uid.value = int(name)
    else:
        described.username = name.encode(errors="replace").decode()


def auth_of(auth: Any) -> AuthConfig:
    """Credentials out of a message."""
    return AuthConfig(
        username=auth.username,
        password=auth.password,
        auth=auth.auth,
        server_address=auth.server_address,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
    )


def usage(folder: Path) -> tuple[int, int]:
    """Bytes and inodes that a tree takes; each inode once, however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(os.path.join(where, name))
                seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values()), len(seen)


def answering(
    method: Callable[[Any, grpc.ServicerContext], Any],
) -> Callable[[Any, grpc.ServicerContext], Any]:
    """A method whose failures end the call with their code and one line."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request, context)
        except PullError as error:
            context.abort(code_of(error), words_of(error))

    return answer


def handlers(service: object, methods: Iterable[str]) -> grpc.GenericRpcHandler[Any, Any]:
    """The methods of a service, as gRPC calls them."""
    return grpc.method_handlers_generic_handler(
        f"{PACKAGE}.{type(service).__name__}",
        {
            name: grpc.unary_unary_rpc_method_handler(
                answering(getattr(service, name)),
                request_deserializer=message(f"{name}Request").FromString,
                response_serializer=message(f"{name}Response").SerializeToString,
            )
            for name in methods
        },
    )


def listen(puller: Puller, path: Path) -> grpc.Server:
    """A started server on a unix socket that only its owner can use.

    Raises StoreError where the path is taken by something that is no forgotten socket.
    """
    free_socket(path)
    server = grpc.server(ThreadPoolExecutor(WORKERS, thread_name_prefix="cri"))
    server.add_generic_rpc_handlers(
        (
            handlers(
                ImageService(puller),
                ("PullImage", "ImageStatus", "ListImages", "RemoveImage", "ImageFsInfo"),
            ),
            handlers(RuntimeService(), ("Version", "Status")),
        )
    )
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError:
        raise StoreError(f"can't listen on {path}") from None
    finally:
        os.umask(before)
    server.start()
    return server


def free_socket(path: Path) -> None:
    """Remove a socket that nobody listens on any more; refuse anything else in its place."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"can't look at {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(kind):
        raise StoreError(f"{path} exists and is not a socket: name another path")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise StoreError(f"can't use {path}: {error.strerror}") from None
        else:
            raise StoreError(f"somebody is listening on {path} already")


def serve(puller: Puller, path: Path, ready: Callable[[], None]) -> None:
    """Serve until interrupted; `ready` is called once calls are answered."""
    server = listen(puller, path)
    try:
        ready()
        threading.Event().wait()
    except KeyboardInterrupt:
        return
    finally:
        server.stop(_GRACE).wait()
        path.unlink(missing_ok=True)
