"""Bake the machine image: whatever an instance needs to start is inside, and it is proven."""

from __future__ import annotations

from typing import ClassVar

from fearless.errors import BootFailed, FearlessError
from fearless.interfaces import BootTest
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
        """Bake it from the release's container image, and prove that it boots.

        One that does not is discarded. When there was nothing to be learned, or this process is
        killed, it stays: it is not found before it is proven, and the next run tests it again.
        """
        project, release = self.procedure.project, self.procedure.release
        image = project.registry.find(release)
        if image is None:
            raise FearlessError(f"{release.short} has no container image; run `doit image`")
        baker, report = project.baker, self.procedure.report
        baked = baker.bake(release, [image], report)
        facts = {"machine_image": baked.id, "inputs": baked.inputs}
        if isinstance(baker, BootTest):
            try:
                facts["boot_test"] = baker.boot_test(release, baked, report)
            except BootFailed as error:
                baker.discard(baked)
                raise BootFailed(f"{error.args[0]}; {baked.id} was discarded") from error
            report.line(f"boot test: {facts['boot_test']}")
        return Done(baked.id, facts)
