"""Build the container image from the SHA and store it by digest."""

from __future__ import annotations

from typing import ClassVar

from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import BuildContext, Image
from fearless.procedure import Done, Procedure


class ContainerImage:
    """The image in the registry, tagged with the SHA."""

    name: ClassVar[str] = "image"

    def __init__(self, procedure: Procedure) -> None:
        self.procedure = procedure

    def find(self) -> Done | None:
        """The image the registry has for this SHA."""
        found = self.procedure.project.registry.find(self.procedure.release)
        return _done(found) if found else None

    def make(self) -> Done:
        """Build from `git archive`, push, and read the digest back."""
        project, release = self.procedure.project, self.procedure.release
        found = project.registry.find(release)
        if found is None:
            built = project.builder.build(release, self._context(), self.procedure.report)
            pushed = project.registry.push(built)
            found = project.registry.find(release)
            if found is None or found.digest != pushed.digest:
                raise FearlessError(
                    f"the registry answers {found.digest if found else 'nothing'} for "
                    f"{release.short} after a push of {pushed.digest}; push again with `doit image`"
                )
        return _done(found)

    def _context(self) -> BuildContext:
        project, sha = self.procedure.project, self.procedure.release.sha
        source = project.app.source.strip("/") or "."
        dockerfile = "Dockerfile" if source == "." else f"{source}/Dockerfile"
        if not project.git.has(sha, dockerfile):
            raise ConfigError(
                f"{project.file.where('app', 'source')}: there is no {dockerfile} in commit "
                f"{sha[:7]}; set `[app] source` to the folder that holds it, and commit it"
            )
        archive = project.directory / "build" / sha / "context.tar"
        return BuildContext(project.git.archive(sha, source, archive))


def _done(image: Image) -> Done:
    return Done(
        f"{image.repository}@{image.digest[:19]}",
        {"image": image.reference, "image_id": image.image_id},
    )
