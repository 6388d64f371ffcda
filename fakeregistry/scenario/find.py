"""The scenarios that are shipped: in the wheel inside this package, in the source in fixtures/."""

from importlib.resources import files
from pathlib import Path

from .reader import Problem, ScenarioError, suggestion


def shipped() -> dict[str, Path]:
    """Every shipped scenario, by its name."""
    return {path.stem: path for path in sorted(_folder().glob("*.toml"))}


def find(name: str) -> Path:
    """A scenario by the path of its file, or by the name of a shipped one.

    Raises :class:`ScenarioError` where there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = shipped()
    if name in known:
        return known[name]
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise ScenarioError([Problem(name, 0, "there is no such file")])
    near = suggestion(name, known)
    raise ScenarioError([Problem(name, 0, f"neither a file nor a shipped scenario{near}")])


def _folder() -> Path:
    # The wheel carries the folder fixtures/scenarios of the source as fakeregistry/scenarios.
    package = Path(str(files("fakeregistry")))
    inside = package / "scenarios"
    return inside if inside.is_dir() else package.parent / "fixtures" / "scenarios"
