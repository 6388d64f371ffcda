"""Scenario files: a world, a pull and what is expected of it, in TOML."""

from .find import find, shipped
from .model import (
    AuthPart,
    ExpectPart,
    ImagePart,
    IncidentPart,
    LayerPart,
    Outcome,
    PullPart,
    RegistryPart,
    RequestsPart,
    RulePart,
    Scenario,
    TargetPart,
)
from .parse import load
from .reader import Problem, ScenarioError

__all__ = [
    "AuthPart",
    "ExpectPart",
    "ImagePart",
    "IncidentPart",
    "LayerPart",
    "Outcome",
    "Problem",
    "PullPart",
    "RegistryPart",
    "RequestsPart",
    "RulePart",
    "Scenario",
    "ScenarioError",
    "TargetPart",
    "find",
    "load",
    "shipped",
]
