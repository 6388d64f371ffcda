"""Every parser of the reference keeps its promises: on the seeds, and on mutations of them.

`nox -s fuzz` runs the same fuzzers guided by coverage, for as many inputs as it is told.
"""

from __future__ import annotations

import pytest
from harness import fuzzer, mutations, names

SEEDS, MUTATIONS = 60, 60


@pytest.mark.parametrize("name", names())
def test_the_seeds_are_read_or_refused(name: str) -> None:
    found = fuzzer(name)
    step = -(-len(found.seeds) // SEEDS)
    for data in found.seeds[::step]:
        found.run(data)


@pytest.mark.parametrize("name", names())
def test_mutations_are_read_or_refused(name: str) -> None:
    for data in mutations(found := fuzzer(name), MUTATIONS):
        found.run(data)
