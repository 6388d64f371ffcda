"""One fuzzer guided by coverage: `guided.py NAME INPUTS [FOLDER]`.

FOLDER (build/fuzz) keeps, by name, what reached new code from one run to the next, and as
`crash-*`, `timeout-*` or `oom-*` what broke a promise; `guided.py NAME FILE` runs such an input.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tracemalloc
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["reference"]):  # what runs before an import isn't counted
    import harness

SLACK = 10
"""Instrumented code calls a function at each branch."""
LONGEST = 32 * 1024
"""Bytes of an input."""
SECONDS = 30
"""... and how long one may take."""
MEMORY = 1024
"""MiB of the whole process, also of what Python doesn't count."""
_LONGEST_WORD = 64  # libFuzzer takes none that is longer


def main(name: str, what: str, folder: str = "build/fuzz") -> None:
    """Run the fuzzer; doesn't come back."""
    harness.slack = SLACK
    with atheris.instrument_imports(include=["reference"]):
        fuzzer = harness.fuzzer(name)
    tracemalloc.start()  # once: CPython keeps some of what it notes, each time it stops
    if not what.isdigit():
        fuzzer.run(Path(what).read_bytes())
        return
    kept, seeds, words = (Path(folder, name, part) for part in ("reached", "seeds", "words"))
    kept.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir()
    for seed in fuzzer.seeds:
        (seeds / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    short = (word for word in fuzzer.words if len(word) <= _LONGEST_WORD)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in short))
    known = len(os.listdir(seeds)) + len(os.listdir(kept))
    options = {
        "runs": known + int(what),
        "max_len": LONGEST,
        "timeout": SECONDS,
        "rss_limit_mb": MEMORY,
        "dict": words,
        "artifact_prefix": f"{kept.parent}/",
        "print_final_stats": 1,
    }
    flags = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([name, *flags, str(kept), str(seeds)], fuzzer.run)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main(*sys.argv[1:])
