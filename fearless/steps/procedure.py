"""The release procedure: its steps by name, in order. The gates go before `cutover`."""

from __future__ import annotations

from collections.abc import Callable

from fearless.procedure import Procedure, Step
from fearless.steps.ami import Ami
from fearless.steps.copy import Copy
from fearless.steps.cutover import Cutover
from fearless.steps.image import ContainerImage
from fearless.steps.retire import Retire
from fearless.steps.stack import ReleaseStack
from fearless.steps.sync import Sync
from fearless.steps.tag import Tag


def steps(sync_asked: bool, accept_data_loss: bool) -> dict[str, Callable[[Procedure], Step]]:
    """What makes each step. `sync_asked`: by its own name, which carries back when it is live."""
    return {
        "tag": Tag,
        "image": ContainerImage,
        "ami": Ami,
        "stack": ReleaseStack,
        "copy": Copy,
        "sync": lambda procedure: Sync(procedure, sync_asked),
        "cutover": Cutover,
        "retire": lambda procedure: Retire(procedure, accept_data_loss),
    }
