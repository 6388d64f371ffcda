"""Starts and stops registries, in one process that made its CA and certificate before."""

from __future__ import annotations

import statistics
import sys
import time

from pytest_httpserver import HTTPServer

from fakeregistry import Registries, bearer


def ours() -> float:
    """One registry with TLS and token auth, from nothing to stopped; in ms."""
    start = time.perf_counter()
    with Registries() as registries:
        registry = registries.registry()
        registry.tls = registries.certificates.valid()
        registry.tls.context()
        registry.auth = bearer()
    return (time.perf_counter() - start) * 1000


def stock() -> float:
    """One server of pytest-httpserver as it is, plain; in ms."""
    start = time.perf_counter()
    server = HTTPServer()
    server.start()
    server.stop()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Print the medians, one line each."""
    ours()
    figures = {"fakeregistry": [ours() for _ in range(50)], "pytest-httpserver": []}
    figures["pytest-httpserver"] += [stock() for _ in range(3)]
    for name, values in figures.items():
        print(name, "start and stop", statistics.median(values), sep="\t", file=sys.stdout)


if __name__ == "__main__":
    main()
