"""The image step: the Dockerfile it builds, what it says of it, and the branch's tag."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fearless import names
from fearless.errors import ConfigError, FearlessError, Refused
from fearless.interfaces import BuildContext, Image, Login, Release, RemoteRegistry, Report
from fearless.procedure import Procedure
from fearless.project import Project
from fearless.steps.image import ContainerImage
from fearless.testing.fakes import FakeBuilder, FakeCloud, FakeRegistry, SilentReport

WARNED = "Dockerfile:1: warning: root-user: there is no USER"
Make = Callable[..., ContainerImage]


class Remote(FakeRegistry):
    """Images in a dict, as a registry that engines reach."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.aliases: dict[str, str] = {}
        self.error = error

    def name(self, app: str, tag: str) -> str:
        return f"registry.test/{app}:{tag}"

    def login(self) -> Login | None:
        return None

    def alias(self, image: Image, tag: str) -> None:
        if self.error:
            raise self.error
        self.aliases[tag] = image.digest


class Builder(FakeBuilder):
    """Remembers the Dockerfile it was given."""

    dockerfile = ""

    def build(self, release: Release, context: BuildContext, report: Report) -> Image:
        self.dockerfile = context.dockerfile
        return super().build(release, context, report)


@pytest.fixture
def make(tmp_path: Path, report: SilentReport, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The step of a commit with that Dockerfile and that release.toml."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    def git(*argv: str) -> None:
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", tmp_path, *author, *argv], check=True, capture_output=True)

    def made(
        container: str = "",
        dockerfile: str = "FROM a:1\n",
        name: str = "Dockerfile",
        registry: FakeRegistry | None = None,
        branch: str = "",
    ) -> ContainerImage:
        (tmp_path / "release.toml").write_text(f'[app]\nname = "shop"\n[container]\n{container}')
        (tmp_path / name).write_text(dockerfile)
        git("init", "-q", "-b", "feature/x")
        git("add", "-A")
        git("commit", "-qm", "one")
        project = Project(tmp_path).using(
            cloud=FakeCloud({"dynamodb": None}),
            registry=registry or FakeRegistry(),
            container=Builder(),
        )
        sha, date = project.git.commit("HEAD")
        release = names.release("shop", sha, date)
        if branch:
            release = names.devstack("shop", branch, sha, date)
        return ContainerImage(Procedure(project, release, report, "doit image"))

    return made


def builder(step: ContainerImage) -> Builder:
    found = step.procedure.project.builder
    assert isinstance(found, Builder)
    return found


def test_warnings_are_shown_once_and_it_is_built(make: Make, report: SilentReport) -> None:
    step = make()
    step.make()
    assert [line.partition(",")[0] for line in report.lines] == [WARNED]
    step.make()
    assert len(report.lines) == 1, "the image is there: nothing is built"


def test_they_can_be_ignored_or_off(make: Make, report: SilentReport) -> None:
    make('lint_ignore = ["root-user"]\n').make()
    make('lint = "off"\n').make()
    assert report.lines == []


def test_they_can_be_errors(make: Make, report: SilentReport) -> None:
    step = make('lint = "error"\n', "FROM a\n")
    with pytest.raises(Refused) as caught:
        step.make()
    assert str(caught.value) == (
        "refused: Dockerfile:1: root-user: there is no USER, so the container runs as root (and 1 "
        'more); release.toml:4 has `lint = "error"`: correct it, or list its rule in `lint_ignore`'
    )
    assert len(report.lines) == 2
    assert builder(step).built == []


def test_what_is_only_information_never_stops(make: Make, report: SilentReport) -> None:
    make('lint = "error"\n', "FROM a:1\nUSER 1\n").make()
    assert report.lines == []


def test_the_dockerfile_may_have_another_name(make: Make) -> None:
    step = make('dockerfile = "Prod"\n', name="Prod")
    step.make()
    assert builder(step).dockerfile == "Prod"


@pytest.mark.parametrize(
    ("container", "where"), [("", "release.toml:1"), ('dockerfile = "Prod"\n', "release.toml:4")]
)
def test_a_dockerfile_there_is_not(make: Make, container: str, where: str) -> None:
    name = "Prod" if container else "Dockerfile"
    with pytest.raises(ConfigError, match=rf"{where}: there is no {name} in commit "):
        make(container, name="Other").make()


# ----------------------------------------------------------------------- the branch


def test_the_branch_names_the_image_in_a_registry_that_engines_reach(make: Make) -> None:
    registry = Remote()
    assert isinstance(registry, RemoteRegistry)
    step = make(registry=registry)
    step.make()
    image = registry.find(step.procedure.release)
    assert image is not None
    assert registry.aliases == {"branch-feature-x": image.digest}


def test_a_dev_stack_is_named_by_its_own_branch(make: Make) -> None:
    registry = Remote()
    make(registry=registry, branch="feature/y").make()
    assert list(registry.aliases) == ["branch-feature-y"]


def test_a_tag_that_is_not_taken_is_told_and_stops_nothing(
    make: Make, report: SilentReport
) -> None:
    step = make(registry=Remote(FearlessError("it is full")), dockerfile="FROM a:1\nUSER 1\n")
    assert step.make().data["image"]
    assert report.lines == [
        "warning: the registry did not take the tag branch-feature-x, so the next build may find "
        "less in the cache: error: it is full"
    ]


def test_a_defect_of_a_registry_is_not_hidden(make: Make) -> None:
    with pytest.raises(KeyError):
        make(registry=Remote(KeyError("x"))).make()
