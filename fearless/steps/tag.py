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
        """The tag, if it is on this SHA, also at `[tag] remote`. Refuses one that is on another."""
        release, git = self.procedure.release, self.procedure.project.git
        remote = self.procedure.project.config.tag.remote
        places = {"here": git.tagged(release.tag)}
        if remote:
            places[f"at {remote}"] = git.remote_tagged(remote, release.tag)
        for place, tagged in places.items():
            if tagged not in (None, release.sha):
                raise Refused(
                    f"tag {release.tag} {place} is on {str(tagged)[:10]}, not on "
                    f"{release.sha[:10]}; choose another with tag=NAME, or release that commit "
                    "with sha="
                )
        return Done(release.tag) if all(places.values()) else None

    def make(self) -> Done:
        """Tag the commit and, where `[tag] remote` is set, push the tag."""
        release, git = self.procedure.release, self.procedure.project.git
        remote = self.procedure.project.config.tag.remote
        self.find()
        if remote and git.remote_tagged(remote, release.tag) and not git.tagged(release.tag):
            git.fetch_tag(remote, release.tag)
        if git.tagged(release.tag) is None:
            git.tag(release.tag, release.sha, f"Release {release.name}")
        if remote and git.remote_tagged(remote, release.tag) is None:
            git.push(remote, release.tag)
        self.procedure.ledger.remember(release)
        return Done(release.tag)
