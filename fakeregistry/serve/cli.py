"""The command ``fakeregistry``: serve, check, list and explain scenario files; draw journals.

Exit codes: 0 as asked, 1 a report couldn't be written or the output was cut off, 2 a mistake of
the user (a bad file, a port in use), said in one line per mistake.
"""

import argparse
import ipaddress
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from fakeregistry import faults
from fakeregistry.journal.bars import BarsError, bars_of
from fakeregistry.journal.timeline import draw
from fakeregistry.scenario import ScenarioError, find, load, shipped
from fakeregistry.scenario.schema import schema, signature, summary

from .explain import listing, story
from .serving import Options, ReportError, ServeError, serve

_WIDTH = 88


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except (ScenarioError, ServeError) as error:
        for line in str(error).splitlines():
            print(f"fakeregistry: {line}", file=sys.stderr)
        return 2
    except ReportError as error:
        print(f"fakeregistry: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (| head). Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fakeregistry", description="A scriptable OCI registry on loopback.")
    parser.add_argument("--version", action="version", version=f"fakeregistry {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    command = commands.add_parser(
        "serve",
        help="serve a scenario, an OCI layout or an empty registry until Ctrl-C",
        description="Serve a scenario, an OCI layout, or with neither an empty, honest registry "
        "that takes pushes. Listens on 127.0.0.1 only, unless --host says otherwise.",
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "scenario", metavar="FILE", nargs="?", help="a scenario file, or a shipped one's name"
    )
    what.add_argument("--layout", type=Path, metavar="DIR", help="an OCI layout to serve honestly")
    command.add_argument("--seed", default="0", help="salt of all content and secrets (default 0)")
    command.add_argument("--port", type=_port, default=0, help="the origin's port (default: free)")
    command.add_argument("--ready-file", type=Path, metavar="F", help="write URLs and more as JSON")
    command.add_argument("--journal", type=Path, metavar="F", help="write the exchanges as NDJSON")
    command.add_argument("--honest", action="store_true", help="the same world without its lies")
    command.add_argument(
        "--json", action="store_true", help="print the ready file's JSON as one line, nothing else"
    )
    command.add_argument(
        "--request-cap",
        type=_cap,
        metavar="N",
        help="answer 503 beyond so many requests (default: 2000 for FILE, else 100000)",
    )
    command.add_argument(
        "--host",
        type=_address,
        metavar="ADDRESS",
        help="listen on this address, such as 0.0.0.0: others than this machine get in",
    )
    command.add_argument(
        "--keep",
        type=_cap,
        default=10_000,
        metavar="N",
        help="the journal keeps the newest N requests (default 10000)",
    )
    command.set_defaults(run=_serve)

    command = commands.add_parser("check", help="check scenario files, and serve nothing")
    command.add_argument("scenarios", metavar="FILE", nargs="+")
    command.set_defaults(run=_check)

    command = commands.add_parser("schema", help="print the JSON Schema of scenario files")
    command.set_defaults(run=_schema)

    command = commands.add_parser("faults", help="list the faults with their arguments")
    command.add_argument("--markdown", action="store_true", help="as a table")
    command.set_defaults(run=_faults)

    command = commands.add_parser(
        "timeline",
        help="draw a journal as an SVG picture",
        description="Draw a journal (NDJSON of serve or of the control API, or a HAR file) as a "
        "stand-alone SVG: a lane per connection, a bar per exchange.",
    )
    command.add_argument("journal", metavar="JOURNAL", help="the file, or - for standard input")
    command.add_argument("--output", "-o", type=Path, metavar="F", help="write there")
    command.add_argument("--title", default="", help="the picture's heading (default: the file)")
    command.set_defaults(run=_timeline)

    command = commands.add_parser("list", help="list the shipped scenarios")
    command.set_defaults(run=_list)

    command = commands.add_parser("explain", help="tell what a scenario is about")
    command.add_argument("scenario", metavar="NAME", help="a shipped scenario's name, or a file")
    command.set_defaults(run=_explain)
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535)")


def _cap(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= 10_000_000:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to 10000000")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None


def _version() -> str:
    try:
        return version("pullproof")
    except PackageNotFoundError:
        return "(not installed)"


def _serve(options: argparse.Namespace) -> int:
    scenario = None if options.scenario is None else load(find(options.scenario))
    chosen = Options(
        seed=options.seed,
        port=options.port,
        ready_file=options.ready_file,
        journal=options.journal,
        honest=options.honest,
        layout=options.layout,
        request_cap=options.request_cap,
        as_json=options.json,
        host=options.host or "",
        keep=options.keep,
    )
    serve(scenario, chosen, sys.stdout)
    return 0


def _check(options: argparse.Namespace) -> int:
    bad = False
    for name in options.scenarios:
        try:
            load(find(name))
        except ScenarioError as error:
            bad = True
            print(error, file=sys.stderr)
        else:
            print(f"{name}: ok")
    return 2 if bad else 0


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(schema(), indent=2))
    return 0


def _faults(options: argparse.Namespace) -> int:
    for room, made in faults.ROOMS.items():
        if options.markdown:
            print(f"**{room}**\n\n| fault | arguments | what the registry does |\n|---|---|---|")
        else:
            print(f"# {room}\n")
        for name, make in made.items():
            arguments, text = signature(make), summary(make)
            if options.markdown:
                shown = f"`{arguments}`".replace("|", "\\|") if arguments else ""
                print(f"| `{name}` | {shown} | {text.replace('|', chr(92) + '|')} |")
            else:
                print(f"{name} {arguments and f'({arguments})'}".rstrip())
                print(textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    "))
        print()
    return 0


def _timeline(options: argparse.Namespace) -> int:
    name = "standard input" if options.journal == "-" else options.journal
    try:
        data = sys.stdin.buffer.read() if options.journal == "-" else Path(name).read_bytes()
        picture = draw(bars_of(data.decode("utf-8-sig")), options.title or Path(name).name)
    except OSError as error:
        raise ServeError(f"{name}: can't read it: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ServeError(f"{name}: it isn't UTF-8 text") from None
    except BarsError as error:
        raise ServeError(f"{name}: {error}") from None
    if options.output is None:
        sys.stdout.write(picture)
        return 0
    try:
        options.output.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"can't write {options.output}: {error.strerror}") from None
    return 0


def _list(_: argparse.Namespace) -> int:
    print("\n".join(listing(map(load, shipped().values()))))
    return 0


def _explain(options: argparse.Namespace) -> int:
    scenario = load(find(options.scenario))
    print(f"{scenario.name}: {scenario.incident.title or 'no [incident] in the file'}")
    for heading, lines in story(scenario):
        print(f"\n{heading}")
        for line in lines:
            print(textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="    "))
    return 0
