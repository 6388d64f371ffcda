"""The pytest plugin: fixtures for a topology, its origin, and the world of a scenario file.

`registries` is an isolated topology, `registry` its origin, and `scenario` what a test asks for by
the marker `@pytest.mark.scenario("blob-stalls")`: a shipped scenario, or a file beside the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .registry import Registry
    from .scenario import Built
    from .topology import Registries

_MARKER = (
    "scenario(name, honest=False): the world of a shipped scenario, or of a file beside the test, "
    "for the fixture of the same name"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def registries() -> Iterator[Registries]:
    """A fresh topology of registries on loopback, closed after the test."""
    # Imported late: the plugin is loaded in every pytest run, also where nobody uses it.
    from .topology import Registries

    with Registries() as topology:
        yield topology


@pytest.fixture
def registry(registries: Registries) -> Registry:
    """The registry `origin` of the test's own topology: plain HTTP, empty, open to everybody."""
    return registries.registry()


@pytest.fixture
def scenario(request: pytest.FixtureRequest, registries: Registries) -> Built:
    """The world that the marker `scenario` names, built on the test's own `registries`.

    Its `images` are by id, its `rules` in the order of the file; `registries.rule(name)` is one by
    name. A name that leads nowhere, or a file with mistakes, ends the test with a line for each.
    """
    from .scenario import ScenarioError, build, find, load

    marker = request.node.get_closest_marker("scenario")
    if marker is None or len(marker.args) != 1:
        pytest.fail('which one? @pytest.mark.scenario("blob-stalls")', pytrace=False)
    name, beside = marker.args[0], request.path.parent / marker.args[0]
    try:
        told = load(beside if beside.is_file() else find(name))
        return build(told, registries, honest=marker.kwargs.get("honest", False))
    except ScenarioError as error:
        pytest.fail(str(error), pytrace=False)
