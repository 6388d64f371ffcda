"""The command line `refpull`: pull an image, look at what is here, forget it, tidy up.

Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 used wrongly, 130
interrupted. Results go to stdout, everything else to stderr. Passwords come by stdin only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from reference import __version__

_LONGEST_PASSWORD = 64 * 1024


class UsageError(Exception):
    """The command line can't be followed as it is."""


def default_root() -> Path:
    """Where the store is when nobody says so: $REFPULL_ROOT, or the user's data folder."""
    if given := os.environ.get("REFPULL_ROOT"):
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME", "")
    try:
        return (Path(data) if data.startswith("/") else Path.home() / ".local/share") / "refpull"
    except RuntimeError:
        raise UsageError("no home folder is known: name the store with --root") from None


def duration(text: str) -> float:
    """A Go duration (`90s`, `1m30s`, `0`) as seconds, for argparse."""
    from reference.hostfile import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """A number that isn't negative, for argparse."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser(
        prog="refpull", description="Pull container images, verify them, unpack them."
    )
    top.add_argument("--version", action="version", version=f"refpull {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="the store (default: $REFPULL_ROOT or ~/.local/share/refpull)",
    )

    quirky = argparse.ArgumentParser(add_help=False)
    group = quirky.add_argument_group("what containerd does otherwise (docs/differences.md)")
    group.add_argument("--compat", choices=("containerd",), help="do as containerd does in all")
    group.add_argument(
        "--quirk", action="append", default=[], metavar="NAME", help="... or in this (repeatable)"
    )

    pull = commands.add_parser("pull", parents=[common, quirky], help="pull an image")
    pull.add_argument("image", metavar="IMAGE", help="[registry/]repository[:tag][@digest]")
    out = pull.add_argument_group("what to make of it")
    out.add_argument("-o", "--output", type=Path, metavar="DIR", help="write an OCI image layout")
    out.add_argument("--rootfs", type=Path, metavar="DIR", help="unpack the layers")
    out.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", help="default: this machine's")
    out.add_argument("-q", "--quiet", action="store_true", help="no progress")
    out.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "json", "none"),
        default="auto",
        help="how progress is shown on stderr (auto: a bar on a terminal, else lines)",
    )

    reach = pull.add_argument_group("how to reach the registry")
    reach.add_argument(
        "--config", type=Path, metavar="FILE", help="settings of containerd's CRI plugin (TOML)"
    )
    reach.add_argument("--plain-http", action="store_true", help="speak HTTP without TLS")
    reach.add_argument(
        "--http2", action="store_true", help="speak HTTP/2 to registries that offer it"
    )
    reach.add_argument("--ca", type=Path, metavar="FILE", help="trust this CA too (PEM)")
    reach.add_argument("--cert", type=Path, metavar="FILE", help="client certificate (PEM)")
    reach.add_argument("--key", type=Path, metavar="FILE", help="its key (PEM)")
    reach.add_argument("--skip-verify", action="store_true", help="accept any certificate")
    reach.add_argument("--hosts-dir", type=Path, metavar="DIR", help="a tree of hosts.toml files")
    who = reach.add_mutually_exclusive_group()
    who.add_argument("--user", metavar="NAME", help="with --password-stdin")
    who.add_argument(
        "--auth-file",
        type=Path,
        metavar="FILE",
        help="logins of docker or podman (default: $REGISTRY_AUTH_FILE, $DOCKER_CONFIG, or theirs)",
    )
    who.add_argument("--anonymous", action="store_true", help="use no login")
    reach.add_argument("--password-stdin", action="store_true", help="read the password")

    out.add_argument(
        "--decryption-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a private key for encrypted layers, or a folder of them (may be repeated)",
    )

    limits = pull.add_argument_group("limits")
    limits.add_argument(
        "--progress-timeout",
        type=duration,
        metavar="DURATION",
        help="give up when no byte comes for so long (1m30s; 0: never; default 5m)",
    )
    limits.add_argument("--timeout", type=duration, metavar="DURATION", help="for the whole pull")
    limits.add_argument(
        "--max-concurrent-downloads", type=count, metavar="N", help="default 3; 0: no limit"
    )
    limits.add_argument(
        "--concurrent-layer-fetch-buffer",
        type=count,
        metavar="BYTES",
        help="fetch longer layers in parts of so many bytes, several at a time",
    )
    limits.add_argument(
        "--min-rate",
        type=count,
        metavar="BYTES",
        help="give up when fewer come in a second, over the progress timeout",
    )
    limits.add_argument(
        "--max-layer-size",
        type=count,
        metavar="BYTES",
        help="unpack no larger layer (default 64 GiB; 0: any)",
    )

    commands.add_parser("images", parents=[common], help="list the images in the store")
    remove = commands.add_parser("rm", parents=[common], help="forget images")
    remove.add_argument("images", nargs="+", metavar="IMAGE", help="a name or an image id")
    inspect = commands.add_parser("inspect", parents=[common], help="show an image as JSON")
    inspect.add_argument("image", metavar="IMAGE", help="a name or an image id")
    inspect.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", help="default: this machine's")
    collect = commands.add_parser("gc", parents=[common], help="remove what no image needs")
    collect.add_argument(
        "--discard-unpacked-layers",
        action="store_true",
        help="and the layers of images that are unpacked",
    )
    check = commands.add_parser("fsck", parents=[common], help="find what is damaged or missing")
    check.add_argument(
        "--repair", action="store_true", help="take away what is damaged: pull it again"
    )
    serve = commands.add_parser(
        "serve", parents=[common, quirky], help="be a CRI image service (needs the extra 'cri')"
    )
    serve.add_argument(
        "--address", type=socket_path, required=True, metavar="unix:///…", help="its socket"
    )
    serve.add_argument(
        "--config", type=Path, metavar="FILE", help="settings of containerd's CRI plugin (TOML)"
    )
    return top


def socket_path(text: str) -> Path:
    """The path of a unix socket, also as `unix://` URL, for argparse."""
    path = Path(text.removeprefix("unix://"))
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"{text!r} isn't unix:// and an absolute path")
    return path


def check(arguments: argparse.Namespace, root: Path) -> None:
    """Refuse combinations that make no sense, before anything is done."""
    if bool(arguments.cert) != bool(arguments.key):
        raise UsageError("--cert and --key need each other")
    if (arguments.user is not None) != arguments.password_stdin:
        raise UsageError("--user and --password-stdin need each other")
    if arguments.user is not None and (not arguments.user or ":" in arguments.user):
        raise UsageError("--user must be a name without a colon")
    store = os.path.realpath(root)
    for name in ("output", "rootfs"):
        path = getattr(arguments, name)
        if path and os.path.commonpath([store, os.path.realpath(path)]) == os.path.realpath(path):
            raise UsageError(f"--{name} must be another folder than the store {root}, or one in it")
    if arguments.output and arguments.rootfs:
        output, rootfs = (os.path.realpath(p) for p in (arguments.output, arguments.rootfs))
        if os.path.commonpath([output, rootfs]) in (output, rootfs):
            raise UsageError("--output and --rootfs must be two folders, none inside the other")
    for name in ("ca", "cert", "key", "config", "auth_file"):
        path = getattr(arguments, name)
        if path is not None and not path.is_file():
            raise UsageError(f"--{name.replace('_', '-')}: there is no file {path}")
    if arguments.hosts_dir is not None and not arguments.hosts_dir.is_dir():
        raise UsageError(f"--hosts-dir: there is no folder {arguments.hosts_dir}")


def password() -> str:
    """The password on stdin, without the end of its line."""
    data = sys.stdin.buffer.read(_LONGEST_PASSWORD + 1)
    if len(data) > _LONGEST_PASSWORD:
        raise UsageError("the password on stdin is too long")
    try:
        found = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the password on stdin isn't UTF-8") from None
    if not found:
        raise UsageError("there is no password on stdin")
    return found


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says."""
    from reference import commands

    try:
        root = (arguments.root or default_root()).absolute()
    except FileNotFoundError:
        raise UsageError("the current folder is gone: change to one that is there") from None
    if arguments.command == "pull":
        check(arguments, root)
        secret = password() if arguments.password_stdin else ""
        commands.pull(arguments, root, secret)
    elif arguments.command == "images":
        commands.images(root)
    elif arguments.command == "rm":
        commands.remove(root, arguments.images)
    elif arguments.command == "inspect":
        commands.inspect(root, arguments.image, arguments.platform)
    elif arguments.command == "serve":
        commands.serve(arguments, root)
    elif arguments.command == "gc":
        commands.collect(root, discard_layers=arguments.discard_unpacked_layers)
    else:
        commands.check(root, repair=arguments.repair)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `refpull` with these arguments (default: the process's); returns the exit code."""
    _open_standard_streams()
    try:
        with _ending_tidily():
            return _guarded(parser().parse_args(argv))
    except KeyboardInterrupt:  # wherever it came: while a module is being imported, too
        return _say("interrupted", 130)


def _guarded(arguments: argparse.Namespace) -> int:
    from reference.errors import ConfigError, InvalidReference, PullError, one_line
    from reference.output import OutputExistsError

    try:
        run(arguments)
        return _flush_output()
    except (UsageError, OutputExistsError, InvalidReference, ConfigError) as error:
        return _say(one_line(str(error)), 2)
    except PullError as error:
        return _say(one_line(str(error), 1000), 1)
    except BrokenPipeError:
        _drop_output()  # whoever read it has gone: there is nobody to tell
        return 1
    except OSError as error:
        # Of the machine, where no part of the pull says it better: a folder one may not look into.
        where = f"{error.filename}: " if error.filename else ""
        return _say(one_line(f"{where}{error.strerror or error}"), 1)
    except Exception as error:
        if os.environ.get("REFPULL_DEBUG"):
            raise
        what = one_line(f"{type(error).__name__}: {error}")
        return _say(f"internal error, {what} (REFPULL_DEBUG=1 shows where)", 1)


def _flush_output() -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        return _say(f"cannot write to stdout: {error.strerror}", 1)
    return 0


def _say(text: str, code: int) -> int:
    print(f"refpull: {text}", file=sys.stderr)
    return code


def _open_standard_streams() -> None:
    """Give a closed stream's number to nothing: else the next file opened gets what we print."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _drop_output() -> None:
    """Let what stdout still holds go nowhere, so that the interpreter doesn't complain at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _ending_tidily() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end a pull as Ctrl-C does, but leave those that are ignored so."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN:
                before[number] = handler
                signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
