"""What core and plugins exchange: frozen values, and one Protocol for each slot.

A provider is a class. Core builds it from the settings of its table in release.toml:
each parameter of `__init__` is a setting, except `project` and `cloud`, which core gives.
Every provider is idempotent: `find` returns None for what is absent and never raises for
absence, making twice is making once, and deleting tolerates "already gone".
"""

from __future__ import annotations

from fearless.interfaces.data import (
    DataRun,
    DataState,
    Late,
    Sample,
    TableSpec,
    Transform,
    Up,
    Verdict,
    plain_function,
)
from fearless.interfaces.extras import (
    Backups,
    BootTest,
    Inventory,
    Journal,
    LateWrites,
    Records,
    RemoteRegistry,
    Requests,
)
from fearless.interfaces.slots import (
    AmiBaker,
    Cloud,
    ContainerBuilder,
    CopyEngine,
    DataStore,
    Deployer,
    DnsProvider,
    Provisioner,
    Registry,
    SecretStore,
)
from fearless.interfaces.values import (
    BuildContext,
    Candidate,
    Event,
    Gate,
    Image,
    Kind,
    Login,
    MachineImage,
    Release,
    Report,
    Stack,
    StoredImage,
)

__all__ = [
    "AmiBaker",
    "Backups",
    "BootTest",
    "BuildContext",
    "Candidate",
    "Cloud",
    "ContainerBuilder",
    "CopyEngine",
    "DataRun",
    "DataState",
    "DataStore",
    "Deployer",
    "DnsProvider",
    "Event",
    "Gate",
    "Image",
    "Inventory",
    "Journal",
    "Kind",
    "Late",
    "LateWrites",
    "Login",
    "MachineImage",
    "Provisioner",
    "Records",
    "Registry",
    "Release",
    "RemoteRegistry",
    "Report",
    "Requests",
    "Sample",
    "SecretStore",
    "Stack",
    "StoredImage",
    "TableSpec",
    "Transform",
    "Up",
    "Verdict",
    "plain_function",
]
