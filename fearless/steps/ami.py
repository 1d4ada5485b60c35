"""Bake the machine image: whatever an instance needs to start is inside."""

from __future__ import annotations

from typing import ClassVar

from fearless.errors import FearlessError
from fearless.procedure import Done, Procedure


class Ami:
    """The machine image of the SHA."""

    name: ClassVar[str] = "ami"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """The machine image there is for this SHA."""
        found = self.procedure.project.baker.find(self.procedure.release)
        return (
            Done(found.id, {"machine_image": found.id, "inputs": found.inputs}) if found else None
        )

    def make(self) -> Done:
        """Bake it from the release's container image."""
        project, release = self.procedure.project, self.procedure.release
        image = project.registry.find(release)
        if image is None:
            raise FearlessError(f"{release.short} has no container image; run `doit image`")
        baked = project.baker.bake(release, [image], self.procedure.report)
        return Done(baked.id, {"machine_image": baked.id, "inputs": baked.inputs})
