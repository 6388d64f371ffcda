"""The command line of ``pullproof``: what can be said, and one line for what can't."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from conformance import __version__
from conformance.case import did_you_mean
from conformance.requirements import LEVELS
from conformance.seeds import valid

__all__ = ["EXIT_USAGE", "Commands", "parser", "said"]

EXIT_USAGE = 4
"""As pytest: the command line, a profile, a scenario or another input is wrong."""

_MOST_JOBS = 64
_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)")

Command = Callable[[argparse.Namespace], int]
Commands = dict[str, Command]
"""Name of a command -> what does it."""


class _Parser(argparse.ArgumentParser):
    """Mistakes get one line that says what to do; argparse would print the usage before it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """One line on stderr, and the exit status of a usage error."""
        choice = _CHOICE.fullmatch(message)
        if choice is not None:
            known = re.findall(r"[\w-]+", choice[3])
            what = "no command" if choice[1] == "command" else f"{choice[1]}: not"
            hint = did_you_mean(choice[2], known) or f"; there are {', '.join(known)}"
            message = f"{what} {choice[2]!r}{hint}"
        unknown = re.fullmatch(r"unrecognized arguments: (.*)", message)
        if unknown is not None:
            first = unknown[1].split()[0]
            near = get_close_matches(first.partition("=")[0], self._option_string_actions, 1, 0.7)
            hint = f": did you mean {near[0]!r}?" if near else ""
            message = f"not understood: {unknown[1]}{hint}"
        message = message.removeprefix("argument ")
        print(f"pullproof: {message} (`{self.prog} --help` shows all)", file=sys.stderr)
        sys.exit(EXIT_USAGE)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """A command's own parser complains of what it doesn't know: it knows what it has."""
        found, rest = super().parse_known_args(args, namespace)
        if rest and " " in self.prog:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest


def _jobs(text: str) -> int:
    if text == "auto":
        return os.cpu_count() or 1
    if not text.isdecimal() or int(text) > _MOST_JOBS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of processes: 0 to {_MOST_JOBS}, or auto"
        )
    return int(text)


def _seed(text: str) -> str:
    if not valid(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a seed: 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return text


def _level(text: str) -> str:
    if text.upper() not in LEVELS:
        hint = did_you_mean(text.upper(), LEVELS) or f"; there are {', '.join(sorted(LEVELS))}"
        raise argparse.ArgumentTypeError(f"no level {text!r}{hint}")
    return text.upper()


def parser(commands: Commands) -> argparse.ArgumentParser:
    """The parser; `commands` are run, list, mutants, pullers, matrix and compare."""
    made = _Parser(
        prog="pullproof", description="Judge image pullers against a registry that lies on purpose."
    )
    made.add_argument("--version", action="version", version=f"pullproof {__version__}")
    below = made.add_subparsers(required=True, metavar="command", parser_class=_Parser)
    for name, summary, add in (
        ("run", "judge a puller", _run),
        ("list", "show all cases", _list),
        ("mutants", "prove that the cases can fail", _mutants),
        ("pullers", "judge every shipped puller that is usable here", _pullers),
        ("matrix", "cases by pullers, from results files", _matrix),
        ("compare", "what one puller does otherwise than another", _compare),
    ):
        command = below.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        add(command)
        command.set_defaults(command=commands[name])
    return made


def _run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        *("--puller", "-p"), default="reference", help="a shipped profile, or a .toml file"
    )
    run.add_argument(
        *("--scenario", "-s"),
        action="append",
        default=[],
        metavar="FILE",
        help="judge by this scenario file (without --case: by such files alone)",
    )
    _selection(run)
    run.add_argument("--out", type=Path, metavar="DIR", help="default: build/conformance/<puller>")
    run.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well")
    run.add_argument("--strict", action="store_true", help="a broken SHOULD fails the run too")
    run.add_argument("--bundles", action="store_true", help="a bundle for cases that pass, too")


def _list(listing: argparse.ArgumentParser) -> None:
    listing.add_argument("--json", action="store_true", help="for scripts")
    listing.add_argument("--case", "-c", action="append", default=[], metavar="GLOB")
    listing.add_argument("--level", type=_level, help="only cases of this level")
    listing.add_argument(
        "--lock", action="store_true", help="write cases.lock: ids that will be kept for ever"
    )


def _mutants(proof: argparse.ArgumentParser) -> None:
    proof.add_argument("names", nargs="*", help="only these mutants")
    proof.add_argument("--all", action="store_true", help="every mutant by every case")
    proof.add_argument("--out", type=Path, default=Path("build/mutants.json"), metavar="FILE")
    _selection(proof, level=False)


def _pullers(pullers: argparse.ArgumentParser) -> None:
    pullers.add_argument("names", nargs="*", help="profiles; default: every shipped one")
    pullers.add_argument("--out", type=Path, default=Path("build/conformance"), metavar="DIR")
    pullers.add_argument("--strict", action="store_true", help="a broken SHOULD fails the run too")
    pullers.add_argument("--markdown", type=Path, metavar="FILE", help="the matrix as Markdown")
    _selection(pullers)


def _matrix(table: argparse.ArgumentParser) -> None:
    table.add_argument(
        *("results",), nargs="+", type=Path, help="results files, or folders that hold some"
    )
    table.add_argument("--markdown", action="store_true", help="for a README or a step summary")


def _compare(pair: argparse.ArgumentParser) -> None:
    pair.add_argument("one", type=Path, help="a results file")
    pair.add_argument("other", type=Path, help="another, of the same cases")
    pair.add_argument("--requests", action="store_true", help="what was asked of whom, too")


def _selection(command: argparse.ArgumentParser, *, level: bool = True) -> None:
    """What the commands that judge have in common."""
    command.add_argument(
        *("--case", "-c"), action="append", default=[], metavar="GLOB", help="only these"
    )
    if level:
        command.add_argument("--level", type=_level, help="only cases of this level")
    command.add_argument("--seed", type=_seed, help="repeat a run with its seed")
    command.add_argument(
        *("-n",), type=_jobs, default=0, metavar="N", dest="jobs", help="worker processes, or auto"
    )


def said(options: argparse.Namespace, *names: str) -> Sequence[str]:
    """The options of those names as they would be typed, for the process inside."""
    argv: list[str] = []
    for name in names:
        value = getattr(options, name)
        if isinstance(value, list):
            for each in value:
                argv += [f"--{name}", str(each)]
        elif value is True:
            argv.append(f"--{name}")
        elif value not in (None, False):
            argv += [f"--{name}", str(value)]
    return argv
