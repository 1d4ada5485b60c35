"""Builds a genuine OCI image without any container engine, for apps on python:3.X images."""

from __future__ import annotations

import platform
import posixpath
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fearless import dockerfile, layer, oci
from fearless.context import Context
from fearless.dockerfile import DockerfileError
from fearless.errors import FearlessError
from fearless.interfaces import BuildContext, Image, Release, Report
from fearless.labels import labels
from fearless.local import pip, python, recipe
from fearless.local.steps import Copy, MakeDirectories, Pip, SetMode, Step

if TYPE_CHECKING:
    from fearless.project import Project

EPOCH = "1970-01-01T00:00:00Z"
BASE_NAME = "org.opencontainers.image.base.name"
BUILDER = "fearless:builder"

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class LocalBuilder:
    """`[container] use = "local"`: this machine's Python stands in for the base image.

    The image holds the app's own layers only, and runs as a plain process (see bundle). Equal
    contexts give equal digests on a machine. Owners are not kept: USER is recorded, and --chown
    accepted, but a plain process is the user's own. `dockerfile` overrides the file's name,
    `args` are values for ARG.
    """

    def __init__(
        self,
        project: Project,
        dockerfile: str | None = None,
        args: dict[str, str] | None = None,
    ) -> None:
        self.project = project
        self.dockerfile = dockerfile
        self.args = args or {}

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        """Build the image layout `.fearless/build/<sha>/image`.

        Raises DockerfileError naming the line for what needs a container engine, before
        anything is done, and FearlessError when a step fails.
        """
        name = self.dockerfile or context.dockerfile
        files = Context(context.archive, name)
        plan = recipe.read(dockerfile.parse(files.text(name), name), name, self.args)
        directory = self.project.directory / "build" / release.sha
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".work-") as work:
            build = _Build(files, Path(work), directory / "pip.log", report)
            report.line(f"building on this machine's Python {python.VERSION} as {plan.base}")
            if f":{python.VERSION}" not in plan.base:
                report.line(
                    f"note: the Dockerfile wants {plan.base}; a Docker engine would run that "
                    f"version, this machine's is {python.VERSION}"
                )
            marks = labels(release) | {BASE_NAME: plan.base, BUILDER: "local"}
            manifest = build.run(plan, marks)
            build.layout.tag(release.sha, manifest)
            image = directory / "image"
            if image.exists():
                image.rename(Path(work) / "previous")
            build.layout.root.rename(image)
        config = oci.Layout(image).manifest(manifest.digest).config
        return Image(release.app, release.sha, manifest.digest, config.digest, f"oci:{image}")


class _Build:
    """One build: the image's file system so far in `root`, its layers in a new layout."""

    def __init__(self, files: Context, work: Path, log: Path, report: Report) -> None:
        self.files = files
        self.root = work / "root"
        self.scratch = work / "layer.tar"
        self.layout = oci.Layout.create(work / "image")
        self.log = log
        self.report = report
        self.layers: list[oci.Descriptor] = []
        self.history: list[dict[str, Any]] = []

    def run(self, plan: recipe.Recipe, labels: Mapping[str, str]) -> oci.Descriptor:
        """Carry the recipe out; the manifest of the image."""
        python.make_environment(self.root / python.PREFIX)
        for number, entry in enumerate(plan.entries, 1):
            self.report.progress("build", number, len(plan.entries), str(entry.instruction))
            for step in entry.steps:
                try:
                    self._add(self._layer(step))
                except (FearlessError, ValueError) as error:
                    where = f"{self.files.dockerfile}:{entry.instruction.line}"
                    message = error.args[0] if error.args else error
                    raise DockerfileError(f"{where}: {message}") from error
                self._remember(f"{entry.instruction}", empty=False)
            if not entry.steps:
                self._remember(f"{entry.instruction}", empty=True)
        settings = dict(plan.config)
        settings["Labels"] = settings.get("Labels", {}) | labels
        config = {
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": EPOCH,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
            "history": self.history,
        }
        return self.layout.put_image(oci.canonical(config), tuple(self.layers))

    def _add(self, path: Path) -> None:
        layer.apply(path, self.root)
        with path.open("rb") as stream:
            self.layers.append(self.layout.put_stream(stream, oci.LAYER))

    def _remember(self, text: str, *, empty: bool) -> None:
        entry: dict[str, Any] = {"created": EPOCH, "created_by": text}
        self.history.append(entry | ({"empty_layer": True} if empty else {}))

    def _layer(self, step: Step) -> Path:
        if isinstance(step, Pip):
            below = [layer.digest for layer in self.layers]
            return pip.install(step, self.root, below, self.log, self.report)
        if isinstance(step, Copy):
            members = self._copied(step)
        elif isinstance(step, MakeDirectories):
            members = {path.strip("/"): layer.DIRECTORY for path in step.paths}
        else:
            members = {path.strip("/"): self._changed(step, path) for path in step.paths}
        layer.write(self.scratch, members)
        return self.scratch

    def _copied(self, step: Copy) -> dict[str, layer.Member]:
        target = step.destination.strip("/")
        directory = step.destination.endswith("/") or layer.resolve(self.root, target).is_dir()
        members: dict[str, layer.Member] = {}
        for source in step.sources:
            found = self.files.match(source)
            if not any(found.values()):
                raise ValueError(f"COPY {source}: not in the build context (or in .dockerignore)")
            into = directory or len(found) > 1
            for match, names in found.items():
                for below, name in names.items():
                    if below:
                        path = posixpath.join(target, below)
                    else:
                        path = posixpath.join(target, posixpath.basename(match)) if into else target
                    members[path] = self._member(name, step.mode)
        return members

    def _member(self, name: str, mode: int | None) -> layer.Member:
        info = self.files.files[name]
        if info.issym():
            return layer.Member(0o777, link=info.linkname)
        return layer.Member(
            (0o755 if info.mode & 0o100 else 0o644) if mode is None else mode,
            lambda: self.files.read(name),
        )

    def _changed(self, step: SetMode, path: str) -> layer.Member:
        file = layer.resolve(self.root, path)
        if not file.exists():
            raise ValueError(f"chmod {path}: there is no such file in the image")
        member = layer.on_disk(file)
        mode = member.mode | 0o111 if step.mode is None else step.mode
        return layer.Member(mode, member.read)
