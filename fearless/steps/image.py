"""Build the container image from the SHA and store it by digest."""

from __future__ import annotations

from typing import ClassVar

from fearless import dockerfile
from fearless.branch_alias import alias_branch
from fearless.context import Context
from fearless.dockerfile_lint import lint
from fearless.errors import ConfigError, FearlessError, Refused
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
        """Build from `git archive`, push, read the digest back, and name it by its branch."""
        project, release = self.procedure.project, self.procedure.release
        found = project.registry.find(release)
        if found is None:
            context = self._context()
            self._lint(context)
            built = project.builder.build(release, context, self.procedure.report)
            pushed = project.registry.push(built)
            found = project.registry.find(release)
            if found is None or found.digest != pushed.digest:
                raise FearlessError(
                    f"the registry answers {found.digest if found else 'nothing'} for "
                    f"{release.short} after a push of {pushed.digest}; push again with `doit image`"
                )
        alias_branch(project, release, found, self.procedure.report)
        return _done(found)

    def _context(self) -> BuildContext:
        project, sha = self.procedure.project, self.procedure.release.sha
        source, name = project.app.source.strip("/") or ".", project.dockerfile
        path = name if source == "." else f"{source}/{name}"
        if not project.git.has(sha, path):
            named = "dockerfile" in project.config.container.settings()
            key = ("container", "dockerfile") if named else ("app", "source")
            raise ConfigError(
                f"{project.file.where(*key)}: there is no {path} in commit {sha[:7]}; set `[app] "
                "source` to the folder that holds it, and commit it"
            )
        archive = project.directory / "build" / sha / "context.tar"
        return BuildContext(project.git.archive(sha, source, archive), name)

    def _lint(self, context: BuildContext) -> None:
        """Say what is wrong with the Dockerfile; refuse to build it if release.toml wants that."""
        settings = self.procedure.project.config.container
        if settings.lint == "off":
            return
        name = context.dockerfile
        text = Context(context.archive, name).text(name)
        findings = lint(
            dockerfile.parse(text, name), settings.settings().get("args"), settings.lint_ignore
        )
        warnings = [finding for finding in findings if finding.level == "warning"]
        for finding in warnings:
            self.procedure.report.line(finding.at(name))
        if warnings and settings.lint == "error":
            where = self.procedure.project.file.where("container", "lint")
            raise Refused(
                f"{name}:{warnings[0].line}: {warnings[0].rule}: {warnings[0].what}"
                f"{f' (and {len(warnings) - 1} more)' if len(warnings) > 1 else ''}; "
                f'{where} has `lint = "error"`: correct it, or list its rule in `lint_ignore`'
            )


def _done(image: Image) -> Done:
    return Done(
        f"{image.repository}@{image.digest[:19]}",
        {"image": image.reference, "image_id": image.image_id},
    )
