"""Which earlier images a build may take steps from, and in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import ImageNotFound

from fearless import names
from fearless.builtin.builds.earlier import (
    Candidate,
    Earlier,
    Finder,
    History,
    choose,
    origin,
)
from fearless.errors import FearlessError
from fearless.interfaces import Image, Login
from fearless.testing.fakes import SilentReport

SHA = "4f2a9c1b2e" + "0" * 30
RELEASE = names.release("shop", SHA, "20261123")
LIVE = SimpleNamespace(sha="b" * 40, release="20261122-bbbbbbb")


class Repository:
    """What History asks of git."""

    def __init__(self, branch: str | None, default: str | None) -> None:
        self.named, self.default = branch, default

    def branch(self, sha: str) -> str | None:
        return self.named

    def default_branch(self) -> str | None:
        return self.default

    def remote_url(self) -> str:
        return "git@example.com:shop.git"


def project(
    branch: str | None = "feature/x", default: str | None = "main", live: Any = LIVE
) -> Any:
    def ask() -> Any:
        if isinstance(live, Exception):
            raise live
        return live

    cloud = SimpleNamespace(running=lambda: live is not False)
    ledger = SimpleNamespace(live=ask)
    return SimpleNamespace(git=Repository(branch, default), cloud=cloud, ledger=ledger)


def found(of: Any, report: SilentReport | None = None) -> list[str]:
    candidates = History(of).candidates(RELEASE, report or SilentReport())
    return [f"{candidate.tag} {candidate.what}" for candidate in candidates]


def test_the_branch_comes_first_then_the_default_one_then_what_is_live() -> None:
    assert found(project()) == [
        "branch-feature-x branch feature/x",
        "branch-main branch main",
        f"{'b' * 40} live 20261122-bbbbbbb",
    ]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (project(branch="main"), ["branch-main", "b" * 40]),
        (project(branch=None), ["branch-main", "b" * 40]),
        (project(branch=None, default=None), ["b" * 40]),
        (project(live=None), ["branch-feature-x", "branch-main"]),
        (project(live=False), ["branch-feature-x", "branch-main"]),
        (SimpleNamespace(directory="x"), []),
    ],
)
def test_what_is_not_known_is_left_out(of: Any, expected: list[str]) -> None:
    assert [line.split()[0] for line in found(of)] == expected


def test_a_ledger_that_does_not_answer_is_only_a_note(report: SilentReport) -> None:
    assert len(found(project(live=FearlessError("no table")), report)) == 2
    assert report.lines == ["note: the live release is not looked for as a cache: error: no table"]
    with pytest.raises(KeyError):
        found(project(live=KeyError("a defect")))


def test_a_dev_stack_knows_its_branch() -> None:
    dev = names.devstack("shop", "feature/y", SHA, "20261123")
    assert History(project()).branch(dev) == "feature/y"
    assert History(SimpleNamespace()).branch(dev) == "feature/y"
    assert History(SimpleNamespace()).branch(RELEASE) is None


def image(name: str, own: bool) -> Earlier:
    return Earlier(f"r/{name}", f"branch {name}", own)


def test_the_engines_own_cache_is_used_where_it_built_the_nearest_image() -> None:
    assert choose([]) == ([], "this engine")
    assert choose([image("x", own=True)]) == ([], "this engine")


def test_images_are_given_when_another_engine_built_one_of_them() -> None:
    both = [image("x", own=False), image("main", own=True)]
    assert choose(both) == (["r/x", "r/main"], "branch x, branch main")
    assert choose([image("x", own=True), image("given", own=False)])[0] == ["r/x", "r/given"]
    assert origin(both) == "branch x, branch main"


class Engine:
    """An engine without images, which cannot pull any for the reason given."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.asked: list[tuple[str, str, object]] = []
        self.images = self.api = self

    def get(self, name: str) -> None:
        raise ImageNotFound(name)

    def pull(self, name: str, tag: str, auth_config: object, **_: object) -> list[dict[str, str]]:
        self.asked.append((name, tag, auth_config))
        return [{"status": "Pulling"}, {"error": self.why}]


class Remote:
    """As much of a registry as engines need."""

    def name(self, app: str, tag: str) -> str:
        return f"registry.test/{app}:{tag}"

    def login(self) -> Login:
        return Login("registry.test", "ci", "hush")

    def alias(self, image: Image, tag: str) -> None:
        raise NotImplementedError


CANDIDATES = (Candidate("branch-x", "branch x"), Candidate("branch-main", "branch main"))
AUTH = {"username": "ci", "password": "hush"}


@pytest.mark.parametrize("why", ["manifest for x not found: manifest unknown", "name unknown"])
def test_what_does_not_exist_is_left_out_in_silence(report: SilentReport, why: str) -> None:
    engine = Engine(why)
    finder = Finder(cast(Any, engine), Remote(), report)
    assert finder.find("shop", CANDIDATES, ["registry.test/base:1", "other.test:5000/base"]) == ()
    assert engine.asked == [
        ("registry.test/shop", "branch-x", AUTH),
        ("registry.test/shop", "branch-main", AUTH),
        ("registry.test/base", "1", AUTH),
        ("other.test:5000/base", "latest", None),
    ], "the password goes to its own registry only"
    assert report.lines == []


@pytest.mark.parametrize("why", ["connection refused", "x509: signed by unknown authority"])
def test_a_registry_that_does_not_answer_is_asked_once(report: SilentReport, why: str) -> None:
    engine = Engine(why)
    assert Finder(cast(Any, engine), Remote(), report).find("shop", CANDIDATES) == ()
    assert len(engine.asked) == 1
    assert report.lines == [f"note: no cache from registry.test/shop:branch-x: {why}"]


def test_a_name_without_a_registry_is_never_pulled(report: SilentReport) -> None:
    engine = Engine("")
    assert Finder(cast(Any, engine), None, report).find("shop", CANDIDATES, ["shop:old"]) == ()
    assert engine.asked == []
