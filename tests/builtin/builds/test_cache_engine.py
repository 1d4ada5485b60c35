"""Another engine's steps, by way of a real registry that wants a password."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fearless import names
from fearless.builtin.builds.earlier import History
from fearless.builtin.builds.progress import BuildFailed
from fearless.builtin.docker import DockerBuilder
from fearless.builtin.registries.oci import OciRegistry
from fearless.interfaces import Login
from fearless.testing.fakes import SilentReport
from tests import images
from tests.builtin.builds.given import APP, OnABranch
from tests.builtin.registries.given import oci_registry

if TYPE_CHECKING:
    from tests.docker_engine import DockerEngine
    from tests.docker_registry import DockerRegistry

pytest_plugins = ["tests.builtin.builds.given", "tests.docker_registry"]
pytestmark = [pytest.mark.docker, pytest.mark.slow]


class Site:
    """Builds of commits on branches, on whichever engine DOCKER_HOST names."""

    def __init__(self, root: Path, registry: OciRegistry, settings: dict[str, Any]) -> None:
        self.root, self.registry, self.settings = root, registry, settings
        self.app = f"s{uuid.uuid4().hex[:8]}"
        self.text = APP["Dockerfile"].replace("WORKDIR", f"LABEL a={uuid.uuid4()}\nWORKDIR")

    def build(self, sha: str, branch: str) -> str:
        """Build, push and name by the branch, as the image step does; what is said of the cache."""
        project = images.FakeProject(self.root / sha, self.registry)
        builder = DockerBuilder(project, **self.settings)  # type: ignore[arg-type]
        builder.history = History(SimpleNamespace(git=OnABranch(branch, "main")))
        files = APP | {"Dockerfile": self.text, "shop/version.py": sha}
        context = images.context(self.root / sha / "context", files)
        report = SilentReport()
        built = builder.build(images.release(sha * 40, self.app), context, report)
        self.registry.alias(self.registry.push(built), names.branch_tag(branch))
        return report.lines[-1]


@pytest.fixture(scope="module")
def others(
    docker_engine: DockerEngine,
    engines: Callable[[], DockerEngine],
    private_registry: DockerRegistry,
) -> tuple[DockerEngine, DockerEngine]:
    """Two engines that reach the registry."""
    second = engines()
    second.load_base()
    for engine in (docker_engine, second):
        engine.forward(private_registry.port)
    return docker_engine, second


@pytest.mark.parametrize("buildkit", [False, True])
def test_a_build_is_warm_on_an_engine_that_never_built_it(
    others: tuple[DockerEngine, DockerEngine],
    private_registry: DockerRegistry,
    able: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    buildkit: bool,
) -> None:
    settings = {"buildkit": True, "network": "none"} if buildkit else {}
    site = Site(tmp_path, oci_registry(private_registry), settings)
    first, second = others
    everything, warm = (4, 3) if buildkit else (9, 4)

    monkeypatch.setenv("DOCKER_HOST", first.host)
    assert site.build("a", "main").startswith(("cache: 0/", "cache: 1/"))
    monkeypatch.setenv("DOCKER_HOST", second.host)
    assert site.build("b", "feature/x") == f"cache: {warm}/{everything} steps, from branch main"
    both = f"cache: {warm}/{everything} steps, from branch feature/x, branch main"
    assert site.build("c", "feature/x") == both
    monkeypatch.setenv("DOCKER_HOST", first.host)
    assert site.build("d", "feature/x") == both, "built by the other engine"
    own = "branch main" if buildkit else "this engine"
    assert site.build("e", "main") == f"cache: {warm}/{everything} steps, from {own}"


def test_a_registry_that_is_gone_is_a_note(
    docker_engine: DockerEngine,
    private_registry: DockerRegistry,
    tmp_path: Path,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked once; the push will say what is wrong."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    registry = SimpleNamespace(
        name=lambda app, tag: f"127.0.0.1:1/{app}:{tag}", login=lambda: None, alias=print
    )
    project = images.FakeProject(tmp_path, registry)
    builder = DockerBuilder(project)  # type: ignore[arg-type]
    builder.history = History(SimpleNamespace(git=OnABranch("feature/x", "main")))
    builder.build(images.release(), images.context(tmp_path / "context", APP), report)
    notes = [line for line in report.lines if line.startswith("note: no cache from 127.0.0.1:1/")]
    assert len(notes) == 1


def test_a_base_image_in_the_apps_registry_needs_no_other_login(
    others: tuple[DockerEngine, DockerEngine],
    private_registry: DockerRegistry,
    tmp_path: Path,
    report: SilentReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = others
    registry = oci_registry(private_registry)
    base = f"{private_registry.host}/bases/python:1"
    login = registry.login()
    assert isinstance(login, Login)
    auth = {"username": login.username, "password": login.password}
    first.client.images.get(f"python:{images.VERSION}-slim").tag(base)
    pushed = first.client.images.push(base, auth_config=auth)
    assert "digest" in pushed
    monkeypatch.setenv("DOCKER_HOST", second.host)
    context = images.context(tmp_path / "context", {"Dockerfile": f"FROM {base}\nCMD python\n"})
    builder = DockerBuilder(images.FakeProject(tmp_path, registry))  # type: ignore[arg-type]
    assert builder.build(images.release(), context, report).image_id
    second.client.images.remove(base, force=True)
    stranger = DockerBuilder(images.FakeProject(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(BuildFailed, match=r"Dockerfile:1: the base image .* no basic auth"):
        stranger.build(images.release("b" * 40), context, report)
