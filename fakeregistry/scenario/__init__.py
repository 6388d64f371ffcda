"""Scenario files: a world, a pull and what is expected of it, in TOML."""

from .build import Built, Stage, Teller, build
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
    "Built",
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
    "Stage",
    "TargetPart",
    "Teller",
    "build",
    "find",
    "load",
    "shipped",
]
