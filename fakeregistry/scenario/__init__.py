"""Scenario files: a world, a pull and what is expected of it, in TOML."""

from .asked import ConnectionsPart, ExpectPart, HostPart, Outcome, PullPart, RequestsPart
from .build import Built, Stage, Teller, build, install
from .contentmodel import ConfigPart, ImagePart, LayerPart
from .find import find, shipped
from .model import (
    AuthPart,
    IncidentPart,
    RegistryPart,
    RulePart,
    Scenario,
    TargetPart,
)
from .parse import load, read, read_rules
from .reader import Problem, ScenarioError, Source

__all__ = [
    "AuthPart",
    "Built",
    "ConfigPart",
    "ConnectionsPart",
    "ExpectPart",
    "HostPart",
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
    "Source",
    "Stage",
    "TargetPart",
    "Teller",
    "build",
    "find",
    "install",
    "load",
    "read",
    "read_rules",
    "shipped",
]
