"""How a timeline looks: its colours on a light and on a dark page, and the forms of its parts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["STYLE"]

PALETTES = {
    "light": {
        "page": "#ffffff",
        "band": "#f4f6f9",
        "line": "#e2e6ec",
        "ink": "#1c2430",
        "dim": "#667085",
        "flag": "#8f1d6b",
        "complete": "#2563b8",
        "cut": "#c2570c",
        "reset": "#c11f3a",
        "gone": "#75619f",
        "open": "#0f7b6c",
    },
    "dark": {
        "page": "#14181f",
        "band": "#1d242e",
        "line": "#2e3643",
        "ink": "#e6e9ef",
        "dim": "#98a2b3",
        "flag": "#f08bd0",
        "complete": "#6aa7f5",
        "cut": "#f5a15a",
        "reset": "#ff7285",
        "gone": "#b9a8e2",
        "open": "#4fd1b9",
    },
}
KINDS = ("complete", "cut", "reset", "gone", "open")
FORMS = """text { font: 11px ui-sans-serif, system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
.title { font-size: 15px; font-weight: 600; }
.registry { font-size: 12px; font-weight: 600; }
.note { font-weight: 400; font-size: 11px; }
.tick, .name { font-variant-numeric: tabular-nums; }
.lane { stroke-dasharray: 1 3; }
.wait, .pale { stroke-width: 1.2; }
.pale, .hold { fill-opacity: .3; }
.hold { stroke: none; }
.mark { stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.flag { stroke-width: .6; }
"""


def _colours(palette: Mapping[str, str]) -> str:
    """The rules of one palette. Plain values, no variables: not every viewer of SVG knows those."""
    rules = [
        f"text, .title, .registry {{ fill: {palette['ink']}; }}",
        f".dim, .tick, .note, .name {{ fill: {palette['dim']}; }}",
        f".page {{ fill: {palette['page']}; }} .band {{ fill: {palette['band']}; }}",
        f".on {{ fill: {palette['page']}; }}",
        f".grid, .lane {{ stroke: {palette['line']}; }}",
        f".flag {{ fill: {palette['flag']}; stroke: {palette['page']}; }}",
    ]
    rules += [f".{kind} {{ fill: {palette[kind]}; stroke: {palette[kind]}; }}" for kind in KINDS]
    hollow = ", ".join(f".wait.{kind}" for kind in KINDS)
    rules.append(f"{hollow} {{ fill: {palette['page']}; }}")
    rules.append(", ".join(f".mark.{kind}" for kind in KINDS) + " { fill: none; }")
    return "\n".join(rules)


STYLE = "\n".join(
    [
        "",
        FORMS + _colours(PALETTES["light"]),
        "@media (prefers-color-scheme: dark) {",
        _colours(PALETTES["dark"]),
        "}",
        "",
    ]
)
"""The style sheet. Colours differ by how an exchange ended; each end also has a shape."""
