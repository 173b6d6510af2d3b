"""Labels: by which the market's list says whose a box is."""

from __future__ import annotations

from mediaflow.fleet.settings import FleetSettings


def label_prefix(settings: FleetSettings) -> str:
    """With what the labels of this installation's boxes begin."""
    return f"mediaflow-{settings.name}-"
