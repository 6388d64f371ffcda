"""The pytest plugin: fixtures `registries` (an isolated topology) and `registry` (its origin)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .registry import Registry
    from .topology import Registries


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
