"""Adapters: one module for each kind of profile, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.profile import Profile
    from conformance.pullers.adapter import AdaptedPuller

__all__ = ["make_puller"]


def make_puller(profile: Profile) -> AdaptedPuller:
    """The puller of a profile; nothing is started or looked for yet."""
    # Not at import: a profile is checked with this package's templates, an adapter needs profiles.
    from conformance.pullers.adapter import AdaptedPuller

    return AdaptedPuller(profile)
