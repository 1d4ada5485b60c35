"""Tag the commit: from here on everybody can say which SHA this release is."""

from __future__ import annotations

from typing import ClassVar

from fearless.errors import Refused
from fearless.procedure import Done, Procedure


class Tag:
    """An annotated git tag on the release's SHA."""

    name: ClassVar[str] = "tag"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """The tag, if it is on this SHA. Refuses one that is on another."""
        release = self.procedure.release
        tagged = self.procedure.project.git.tagged(release.tag)
        if tagged is None:
            return None
        if tagged != release.sha:
            raise Refused(
                f"tag {release.tag} is on {tagged[:10]}, not on {release.sha[:10]}; "
                "choose another with tag=NAME, or release that commit with sha="
            )
        return Done(release.tag)

    def make(self) -> Done:
        """Tag the commit and, where `[tag] remote` is set, push the tag."""
        release, project = self.procedure.release, self.procedure.project
        if self.find() is None:
            project.git.tag(release.tag, release.sha, f"Release {release.name}")
        if project.config.tag.remote:
            project.git.push(project.config.tag.remote, release.tag)
        self.procedure.ledger.remember(release)
        return Done(release.tag)
