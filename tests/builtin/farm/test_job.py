"""What a build's process does around the build: whose word counts, and what is bad luck."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fearless.builtin.farm.job import Again, Lines, perform
from fearless.builtin.farm.message import InvalidMessage, Options, Order, key
from fearless.builtin.farm.mirror import Absent, Mirror
from fearless.builtin.farm.options import options_of
from fearless.builtin.farm.redact import Redactor, of_environment
from fearless.builtin.farm.tail import Tail
from fearless.builtin.farm.workplace import workplace
from fearless.config import read
from fearless.dockerfile import DockerfileError
from fearless.errors import ConfigError, FearlessError
from fearless.interfaces import Image, Release
from fearless.testing.fakes import SilentReport
from tests.builtin.farm.given import IMAGE, Repository
from tests.images import FakeProject

CONFIG = '[app]\nname = "shop"\nsource = "app"\n[container]\nuse = "queue"\n'


class Registry:
    """Has an image, or none, or is away."""

    def __init__(self, image: Image | None = None, away: bool = False) -> None:
        self.image = image
        self.away = away
        self.asked: list[Release] = []

    def find(self, release: Release) -> Image | None:
        self.asked.append(release)
        if self.away:
            raise FearlessError("127.0.0.1:1 does not answer")
        return self.image


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin", {"ops/release.toml": CONFIG, "ops/app/x": "1"})


@pytest.fixture
def options() -> Options:
    return Options(app="shop", folder="ops", source="app")


def run(origin: Repository, tmp_path: Path, options: Options, registry: Any, **more: Any) -> Image:
    sha = more.pop("sha", origin.sha)
    number = f"{key('shop', sha, options)}.1"
    order = Order(id=number, repository="shop", ref="main", sha=sha, options=options, **more)
    mirror = Mirror(tmp_path / "mirrors", "shop", str(origin.root))
    project: Any = FakeProject(tmp_path / "slot", registry)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return perform(order, project, mirror, work, SilentReport())


def test_what_is_in_the_registry_is_not_built(
    origin: Repository, tmp_path: Path, options: Options
) -> None:
    registry = Registry(Image(**IMAGE))
    assert run(origin, tmp_path, options, registry) == Image(**IMAGE)
    (release,) = registry.asked
    assert (release.app, release.sha, release.kind) == ("shop", origin.sha, "release")
    run(origin, tmp_path, options, registry, branch="feature/x")
    assert (registry.asked[1].kind, registry.asked[1].branch) == ("dev", "feature/x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "other"}, "`source` is 'other', not 'app'; commit and push, then send again"),
        ({"app": "blog"}, "`app` is 'blog', not 'shop'"),
        ({"args": {"KEY": "hidden"}}, "`args` is KEY, not nothing;"),
        ({"timeout": 5}, "`timeout` is 5, not 1800"),
    ],
)
def test_the_commit_s_release_toml_wins(
    origin: Repository, tmp_path: Path, options: Options, change: dict[str, Any], message: str
) -> None:
    registry = Registry(Image(**IMAGE))
    with pytest.raises(InvalidMessage, match=message):
        run(origin, tmp_path, options.model_copy(update=change), registry)
    assert registry.asked == []


def test_what_is_not_in_the_commit(origin: Repository, tmp_path: Path, options: Options) -> None:
    with pytest.raises(Absent, match="push it there"):
        run(origin, tmp_path, options, Registry(), sha="5" * 40)
    with pytest.raises(Absent, match=r"has no release\.toml"):
        run(origin, tmp_path, Options(app="shop", source="app"), Registry())
    with pytest.raises(ConfigError, match=r"there is no Dockerfile in ops/app at"):
        run(origin, tmp_path, options, Registry())
    origin.commit({"ops/app/Dockerfile": "FROM x\nCOPY <<EOF /x\nnever ended\n"})
    with pytest.raises(DockerfileError, match="Dockerfile:2"):
        run(origin, tmp_path, options, Registry())
    origin.commit({"ops/release.toml": "[app\n"})
    with pytest.raises(ConfigError, match=r"release\.toml: not valid TOML"):
        run(origin, tmp_path, options, Registry())


def test_what_may_go_better_another_time(
    origin: Repository, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Again, match=r"the registry: 127.0.0.1:1 does not answer"):
        run(origin, tmp_path, options, Registry(away=True))
    origin.commit({"ops/app/Dockerfile": "FROM scratch\n"})
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    with pytest.raises(Again, match="the build: no Docker engine answers"):
        run(origin, tmp_path, options, Registry())
    origin.root.rename(tmp_path / "away")
    with pytest.raises(Again, match="the repository: git: "):
        run(origin, tmp_path, options, Registry(), sha="5" * 40)


# ------------------------------------------------------------------ options


def options_in(tmp_path: Path, text: str) -> Options:
    file = tmp_path / "release.toml"
    file.write_text(text)
    return options_of(read(file), "")


def test_options_are_what_release_toml_says(tmp_path: Path) -> None:
    assert options_in(tmp_path, '[app]\nname = "shop"\n') == Options(app="shop")
    text = (
        '[app]\nname = "shop"\nsource = "a/b/"\n[container]\nuse = "queue"\nqueue = "q"\n'
        'dockerfile = "Prod"\ntarget = "final"\nargs = { A = "1" }\ntimeout = 60\nbuildkit = true\n'
    )
    assert options_in(tmp_path, text) == Options(
        app="shop",
        source="a/b",
        dockerfile="Prod",
        target="final",
        args={"A": "1"},
        timeout=60,
        buildkit=True,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('network = "host"', r"release.toml:4: `network` cannot be sent to a build worker: "),
        ("timeout = 99999", r"release.toml:4: `timeout` cannot be sent"),
        ('dockerfile = "../Dockerfile"', r"release.toml:4: `dockerfile` .*without `\.\.`"),
    ],
)
def test_what_no_worker_takes_is_refused_here(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options_in(tmp_path, f'[app]\nname = "shop"\n[container]\n{line}\n')


# ------------------------------------------------------------------ what is said


def test_secrets_are_taken_out() -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": "abc/def+x", "GIT_TOKEN": "tok123", "PATH": "/usr/bin"}
    secrets = of_environment(environment)
    assert secrets == ["abc/def+x", "tok123"]
    clean = Redactor([*secrets, "short", "abc/def+x-longer"])
    assert clean("push to https://ann:pw@host/x with abc/def+x-longer") == (
        "push to https://…@host/x with …"
    )
    assert clean("tok123 abc/def+x short /usr/bin") == "… … short /usr/bin"
    assert Redactor([])("ssh://git@host/x ann@host") == "ssh://…@host/x ann@host"


def test_the_engine_s_words_are_said_once() -> None:
    said: list[str] = []
    report = Lines(said.append)
    report.line("cache: 1/2 steps")
    report.line("| what the log has already")
    report.progress("docker build", 1, 2, "Step 1/2")
    assert said == ["cache: 1/2 steps"]


def test_a_file_is_followed(tmp_path: Path) -> None:
    file, said = tmp_path / "log", list[str]()
    heard = threading.Event()

    def emit(line: str) -> None:
        said.append(line)
        heard.set()

    with Tail(file, emit), file.open("w") as log:
        log.write("one\ntw")
        log.flush()
        assert heard.wait(10), "before the file is complete"
        assert said == ["one"]
        log.write("o\nthe end without a newline \udce9".encode(errors="replace").decode())
    assert said == ["one", "two", "the end without a newline ?"]
    with Tail(tmp_path / "nothing", emit):
        time.sleep(0.01)
    assert len(said) == 3


def test_workers_on_a_machine_have_folders_of_their_own(tmp_path: Path) -> None:
    with workplace(tmp_path) as first:
        (first / "left").touch()
        with workplace(tmp_path) as second:
            assert first != second
    with workplace(tmp_path) as again:
        assert again == first
        assert list(again.iterdir()) == []
