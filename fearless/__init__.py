"""Release tooling that makes deploying an AWS application boring."""

from __future__ import annotations

from fearless.errors import ConfigError, FearlessError, GateFailed, NotAuthorised, Refused
from fearless.hookspecs import hookimpl
from fearless.interfaces import (
    BuildContext,
    Candidate,
    Cloud,
    Event,
    Gate,
    Image,
    MachineImage,
    Release,
    Report,
    Stack,
    TableSpec,
    Transform,
)

__all__ = [
    "BuildContext",
    "Candidate",
    "Cloud",
    "ConfigError",
    "Event",
    "FearlessError",
    "Gate",
    "GateFailed",
    "Image",
    "MachineImage",
    "NotAuthorised",
    "Refused",
    "Release",
    "Report",
    "Stack",
    "TableSpec",
    "Transform",
    "hookimpl",
]
