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
    Login,
    MachineImage,
    Release,
    Report,
    Stack,
    StoredImage,
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
    "Login",
    "MachineImage",
    "NotAuthorised",
    "Refused",
    "Release",
    "Report",
    "Stack",
    "StoredImage",
    "TableSpec",
    "Transform",
    "hookimpl",
]
