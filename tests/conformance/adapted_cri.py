"""The reference or a mutant of it as a CRI endpoint: ``adapted_cri.py module:Class SOCKET DIR``.

Keeps its store in ``DIR/root`` and reads ``DIR/certs.d``, as a containerd would that is told so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from conformance.pullers.cri_messages import message
from conformance.pullers.python_child import resolve
from reference.config import Config, Request
from reference.errors import PullError
from reference.pull import Puller


class Images:
    """runtime.v1.ImageService, as far as a pull needs it."""

    def __init__(self, target: type[Puller], folder: Path) -> None:
        (folder / "root").mkdir(exist_ok=True)
        self._config = Config(config_path=(folder / "certs.d",), trust_env=False)
        self._target = target
        self._root = folder / "root"

    def pull_image(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            pulled = self._puller().pull(Request(request.image.image))
        except PullError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return message("PullImageResponse")(image_ref=pulled.image_id)

    def image_status(self, request: Any, context: grpc.ServicerContext) -> Any:
        puller = self._puller()
        record = puller.status(request.image.image)
        if record is None:
            return message("ImageStatusResponse")()
        names = [each.name for each in puller.records.list() if each.target == record.target]
        image = {
            "id": next(name for name in names if name.startswith("sha256:")),
            "repo_tags": [name for name in names if "@" not in name and "/" in name],
            "repo_digests": [name for name in names if "@" in name],
        }
        return message("ImageStatusResponse")(image=image)

    def remove_image(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._puller().remove(request.image.image)
        return message("RemoveImageResponse")()

    def _puller(self) -> Puller:
        return self._target(self._config, self._root)


def serve(target: str, socket: str, folder: str) -> None:
    images = Images(resolve(target), Path(folder))
    server = grpc.server(ThreadPoolExecutor(4))
    methods: dict[str, Callable[..., Any]] = {
        "PullImage": images.pull_image,
        "ImageStatus": images.image_status,
        "RemoveImage": images.remove_image,
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=message(f"{name}Request").FromString,
            response_serializer=message(f"{name}Response").SerializeToString,
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("runtime.v1.ImageService", handlers),)
    )
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(*sys.argv[1:])
