"""What the commands of `refpull` do, once the command line is understood."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reference.compat import AS_STORED
from reference.config import AuthConfig, Config, Request, TLSConfig
from reference.descriptors import Descriptor, is_digest
from reference.errors import StoreError
from reference.hosts import Hosts, default_host
from reference.images import ImageStore
from reference.logins import default_files, login
from reference.manifests import ImageConfig, Manifest
from reference.names import Names
from reference.output import check_free, fresh_directory
from reference.progress_bar import Bar, Board, Ticks, as_json, as_lines, watched
from reference.pull import Pulled, Puller
from reference.settings import load_config
from reference.snapshots import Snapshots
from reference.store import Store


class IntoFolder(Snapshots):
    """Unpacks into a folder of the user's instead of one of the store's."""

    def __init__(self, puller: Puller, folder: Path) -> None:
        config = puller.config
        super().__init__(puller.root, puller.layers, config.decryption_keys, config.max_layer_size)
        self.into = folder

    def prepare(
        self,
        store: Store,
        manifest: Manifest,
        config: ImageConfig,
        wait: Callable[[Descriptor], None],
        check: Callable[[], None],
    ) -> None:
        """Apply the layers to the folder; whoever made it removes it when this fails."""
        self.apply(self.into, store, manifest, config, wait, check)


def config_of(arguments: argparse.Namespace) -> Config:
    """The puller's settings: those of the configuration file, and over them the command line's."""
    config = common_config(arguments)
    given: dict[str, Any] = {
        "progress_timeout": arguments.progress_timeout,
        "timeout": arguments.timeout or None,
        "max_concurrent_downloads": arguments.max_concurrent_downloads,
        "concurrent_layer_fetch_buffer": arguments.concurrent_layer_fetch_buffer,
        "min_rate": arguments.min_rate,
        "max_layer_size": arguments.max_layer_size,
        "http2": arguments.http2 or None,
        "platform": arguments.platform,
        "decryption_keys": tuple(arguments.decryption_key) or None,
    }
    if arguments.ca or arguments.cert or arguments.skip_verify:
        given["tls"] = TLSConfig(arguments.ca, arguments.cert, arguments.key, arguments.skip_verify)
    if arguments.hosts_dir:
        given |= {"config_path": (arguments.hosts_dir,), "mirrors": {}}
    if arguments.plain_http:
        given["plain_http"] = frozenset({"*"})
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def common_config(arguments: argparse.Namespace) -> Config:
    """The settings of the configuration file, with the quirks that the command line turns on."""
    config = load_config(arguments.config) if arguments.config else Config()
    quirks = config.quirks.on(arguments.quirk)
    return replace(config, compat=arguments.compat or config.compat, quirks=quirks)


def credentials(arguments: argparse.Namespace, config: Config, password: str) -> AuthConfig | None:
    """Who pulls: the user given, or a login that another tool keeps, or None.

    The registry's `auth` in the configuration file given goes over logins that nobody named.
    """
    if arguments.user:
        return AuthConfig(username=arguments.user, password=password)
    if arguments.anonymous:
        return AuthConfig()
    name = Names().parse(arguments.image)
    if arguments.auth_file:
        return login(name, [arguments.auth_file])
    if Hosts(config).auth_of(default_host(name.domain)):
        return None
    return login(name, default_files(os.environ))


def pull(arguments: argparse.Namespace, root: Path, password: str) -> None:
    """Pull one image; write the layout and the root file system that are asked for."""
    output: Path | None = arguments.output
    rootfs: Path | None = arguments.rootfs
    for path in (output, rootfs):
        if path is not None:
            check_free(path)
    config = config_of(arguments)
    auth = credentials(arguments, config, password)
    # Without a folder to unpack into, a layout is all that is wanted: `-o` alone only copies.
    request = Request(arguments.image, auth=auth, unpack=rootfs is not None or output is None)
    with ExitStack() as stack:
        how = "none" if arguments.quiet else arguments.progress
        if how == "auto":
            how = "bar" if sys.stderr.isatty() else "lines"
        board = Board({"lines": as_lines(_line), "json": as_json(_line)}.get(how, _nothing))
        puller = watched(board)(config, root)
        if rootfs is not None:
            folder = stack.enter_context(fresh_directory(rootfs))
            puller.unpacked = IntoFolder(puller, folder)
        if how in ("bar", "json"):
            stack.enter_context(Bar(board, sys.stderr) if how == "bar" else Ticks(board))
        pulled = puller.pull(request)
        if output is not None:
            write_layout(puller, pulled, output)
    for title, value in (
        ("image", pulled.name),
        ("image id", pulled.image_id),
        ("digest", pulled.digest),
        ("layout", output),
        ("rootfs", rootfs),
    ):
        if value is not None:
            _result(f"{title + ':':10}{value}")


def write_layout(puller: Puller, pulled: Pulled, output: Path) -> None:
    """Write the layout of what was just pulled."""
    body = puller.content.read(pulled.manifest.digest)
    manifest = puller.manifests().read(body, pulled.manifest)
    if not isinstance(manifest, Manifest):
        raise StoreError(f"{pulled.manifest.digest} is not the manifest of an image")
    content = manifest.content
    puller.layout(puller.content).write(pulled.manifest, content, output, pulled.name)


def images(root: Path) -> None:
    """List the names in the store, with the image id and the digest of each."""
    if not root.is_dir():
        return
    puller = Puller(Config(quirks=AS_STORED), root)
    ids = {each.name: key for key, image in puller.held().items() for each in image.records}
    rows = [("NAME", "IMAGE ID", "DIGEST")]
    for image in puller.records.list():
        if not is_digest(image.name):
            image_id = ids.get(image.name, "-")  # another platform's, or its content was removed
            rows.append((image.name, image_id[:19], image.target.digest[:19]))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, image_id, digest in rows:
        _result(f"{name:{widths[0]}}  {image_id:{widths[1]}}  {digest}")


def existing(root: Path, config: Config | None = None) -> Puller:
    """The store in `root`, which isn't made by looking at it."""
    if not root.is_dir():
        raise StoreError(f"there is no store in {root}")
    return Puller(config or Config(quirks=AS_STORED), root)


def inspect(root: Path, name: str, platform: str | None) -> None:
    """Show the record of an image and what it leads to, as JSON."""
    puller = existing(root)
    record = puller.status(name)
    if record is None:
        raise StoreError(f"no image {name}")
    found = puller.here(name, platform)
    config = puller.manifests().config(puller.read(found.manifest.config), found.manifest)
    made = [each for each in puller.snapshotters.values() if each.has(config.diff_ids)]
    document = {
        "name": record.name,
        "names": [each.name for each in puller.records.list() if each.target == record.target],
        "target": record.target.to_json(),
        "labels": dict(record.labels),
        "created": record.created.isoformat(),
        "updated": record.updated.isoformat(),
        "imageId": found.manifest.config.digest,
        "manifest": found.descriptor.to_json(),
        "layers": [layer.to_json() for layer in found.manifest.layers],
        "snapshots": {
            each.name: {
                "mounts": [asdict(mount) for mount in each.mounts(config.diff_ids)],
                "labels": each.labels(config.diff_ids),
            }
            for each in made
        },
        "config": config.platform,
    }
    _result(json.dumps(document, indent=2))


def collect(root: Path, *, discard_layers: bool) -> None:
    """Remove what no image needs, and say how much that was."""
    done = existing(root, Config(discard_unpacked_layers=discard_layers)).collect()
    _result(
        f"removed {done.blobs} blobs, {done.partial} parts of blobs "
        f"and {done.snapshots} snapshots: {done.freed} bytes of content"
    )


def check(root: Path, *, repair: bool) -> None:
    """Say what is damaged or missing; StoreError when there was anything."""
    problems = existing(root).check(repair=repair)
    for problem in problems:
        _result(problem.what)
    if problems:
        then = "what was damaged is gone: pull these images again" if repair else "see --repair"
        raise StoreError(f"{len(problems)} problems ({then})")


def serve(arguments: argparse.Namespace, root: Path) -> None:
    """Serve the store over the CRI until interrupted."""
    try:
        from reference import cri
    except ImportError as error:
        raise StoreError(f"{error.name} is missing: pip install 'pullproof[cri]'") from None
    address: Path = arguments.address
    puller = Puller(common_config(arguments), root)
    cri.serve(puller, address, lambda: _result(f"serving unix://{address}"))


def remove(root: Path, names: list[str]) -> None:
    """Forget images: the names given, and what then names nothing with a tag any more."""
    puller = existing(root)
    for name in names:
        image = puller.status(name)
        if image is None:
            raise StoreError(f"no image {name}")
        for record in related(puller.records, image.name, image.target):
            puller.records.remove(record)
            _result(f"removed {record}")


def related(records: ImageStore, name: str, target: Descriptor) -> list[str]:
    """The records that go when `name` goes.

    An image id takes all that name the same image with it. Any other name takes the id and the
    names by digest with it if it was the last with a tag.
    """
    same = [image.name for image in records.list() if image.target == target]
    if is_digest(name):
        return same
    tagged = [other for other in same if not is_digest(other) and "@" not in other]
    return same if not set(tagged) - {name} else [name]


def _result(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise  # whoever read it has gone, which is no failure of ours
    except OSError as error:
        raise StoreError(f"cannot write to stdout: {error.strerror}") from error


def _line(text: str) -> None:
    print(text, file=sys.stderr)


def _nothing(text: str, event: object) -> None:
    return None
