"""`fearless build` as people type it, on a farm whose builds only pretend."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fearless.build_command.work import repositories
from fearless.builtin.farm.builder import QueueBuilder
from fearless.builtin.farm.farm import Farm
from fearless.cli import main
from fearless.errors import ConfigError
from fearless.project import Project
from fearless.testing.emulator import Emulator
from tests.builtin.farm.given import IMAGE, Pretender, Repository, working

DONE = {"image": IMAGE}
FAILS = {"failed": "Dockerfile:3: `RUN make` failed with exit code 2", "again": False}
CONFIG = """[app]
name = "shop"
[cloud]
use = "aws"
[container]
use = "queue"
queue = "{0}"
patience = 1
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A project in the working directory, and the emulator in the environment."""
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": emulator.url,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = CONFIG.format(f"shop-{uuid.uuid4().hex[:8]}")
    made = Repository(tmp_path / "shop", {"release.toml": text, "Dockerfile": "FROM x\n"})
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def farm(site: Repository) -> Farm:
    builder = Project(site.root).builder
    assert isinstance(builder, QueueBuilder)
    return builder.farm


@pytest.fixture
def run(site: Repository, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> tuple[int, str, str]:
        code = main(["build", *argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def worker(farm: Farm, tmp_path: Path) -> Iterator[Pretender]:
    runner = Pretender([{"line": "Step 1/1 : FROM x"}, DONE])
    with working(farm, runner, tmp_path):
        yield runner


def test_send_wait_and_show(run: Run, site: Repository, worker: Pretender) -> None:
    code, out, _ = run("send", "ref=main")
    id = out.split()[0]
    assert code == 0
    assert out == f"{id}  main at {site.sha[:10]}: sent; `fearless build wait {id}`\n"
    code, out, _ = run("wait", id[:12], "--timeout", "30")
    assert code == 0
    lines = out.splitlines()
    assert "Step 1/1 : FROM x" in lines
    assert lines[-2].startswith(f"{id}  succeeded in ")
    assert lines[-2].endswith(" by w1  shop main")
    assert lines[-1] == f"  {IMAGE['source'].removeprefix('registry:')}"
    code, out, _ = run("show", id)
    assert out.splitlines() == lines
    code, out, _ = run("show", id, "--json")
    facts = json.loads(out)
    assert (facts["state"], facts["digest"], facts["sha"]) == (
        "succeeded",
        IMAGE["digest"],
        site.sha,
    )
    assert facts["log"][1:] == ["Step 1/1 : FROM x"]
    assert facts["requested_by"].count("@") == 1
    assert not {"claim", "message"} & facts.keys()
    code, out, _ = run("send", "--ref", "main", "--json")
    assert (json.loads(out)["id"], json.loads(out)["new"]) == (id, False)
    code, out, _ = run("send", "force=1", "wait=1", "--json")
    assert (code, json.loads(out)["id"]) == (0, id.replace(".1", ".2"))


def test_a_build_that_fails(run: Run, farm: Farm, worker: Pretender) -> None:
    worker.plans = [[{"line": "make: error"}, FAILS]]
    code, out, err = run("send", "--wait")
    id = farm.builds.builds()[0].id
    assert code == 1
    assert "make: error" in out.splitlines()
    assert err == f"error: build {id} failed: {FAILS['failed']} (log: `fearless build show {id}`)\n"
    assert run("wait", id)[0] == 1
    code, out, _ = run("wait", id, "--json")
    assert (code, json.loads(out)["state"]) == (1, "failed")

    code, out, _ = run("dlq", "list")
    letter = out.split()[0]
    assert code == 0
    assert out.rstrip().endswith(f"UTC  {id}  {FAILS['failed']}")
    (facts,) = json.loads(run("dlq", "list", "--json")[1])
    assert (facts["build"], facts["reason"], facts["id"][:8]) == (id, FAILS["failed"], letter)
    code, out, _ = run("dlq", "show", letter)
    assert json.loads(out.splitlines()[-1].removeprefix("message  "))["id"] == id

    worker.plans = [[DONE]]
    code, out, _ = run("dlq", "redrive", letter)
    second = id.replace(".1", ".2")
    assert (code, out) == (0, f"{second}: sent; `fearless build wait {second}`\n")
    assert run("wait", second)[0] == 0
    assert run("dlq", "list")[1] == "no dead letters\n"


def test_purge_asks(run: Run, farm: Farm, worker: Pretender, site: Repository) -> None:
    worker.plans = [[FAILS]]
    for number in range(2):
        site.commit({"x": str(number)})
        run("send", "wait=1")
    code, _, err = run("dlq", "purge")
    assert code == 3
    assert err == f"refused: this deletes every letter in {farm.queue.dead_name}: add --yes\n"
    letters = json.loads(run("dlq", "list", "--json")[1])
    assert len(letters) == 2
    assert run("dlq", "purge", letters[0]["id"], "--yes")[:2] == (0, "deleted 1\n")
    assert run("dlq", "show", letters[0]["id"])[0] == 2
    assert json.loads(run("dlq", "purge", "--yes", "--json")[1]) == {"deleted": 1}
    assert farm.queue.depth().dead == 0


def test_the_queue_without_anybody(run: Run, farm: Farm) -> None:
    code, out, _ = run("queue")
    assert (code, out) == (
        0,
        f"{farm.queue.name}: 0 waiting; 0 in hand; 0 dead\n"
        "no worker is alive: start one with `fearless build worker`\n",
    )
    id = run("send")[1].split()[0]
    out = run("queue")[1]
    assert "1 waiting, the oldest for " in out
    assert f"{id}  queued  shop HEAD" in out
    facts = json.loads(run("queue", "--json")[1])
    assert (facts["visible"], facts["in_flight"], facts["dead"], facts["workers"]) == (1, 0, 0, [])
    assert 0 <= facts["oldest_seconds"] < 60
    code, out, err = run("wait", id)
    assert (code, out.count("no build worker is alive")) == (1, 1)
    assert err.startswith(f"error: build {id} is queued, and no worker was heard of for 1 s")


def test_the_queue_with_a_worker(run: Run, worker: Pretender) -> None:
    run("send", "wait=1")
    out = run("queue")[1]
    assert "worker  w1  1 slots  shop\n" in out
    assert " succeeded in " in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("send", "reff=x"), "error: `fearless build send reff=x`: there is no such variable "
         "(did you mean 'ref'?); it takes ref=REF, force=1 and wait=1"),
        (("send", "main"), "error: `fearless build send main`: there is no such variable"),
        (("send", "force=yes"), "error: force=yes: it must be 0 or 1"),
        (("send", "ref="), "error: ref=: it is empty"),
        (("send", "ref=a", "--ref", "b"), "error: ref=a and --ref b: give one of them"),
        (("send", "ref=nowhere"), "error: 'nowhere' names no commit"),
        (("worker", "--slots", "0"), "error: --slots 0: it must be 1 to 64"),
        (("worker", "--visibility", "2"), "error: --visibility 2: it must be 3 to 43200"),
        (("worker", "--repository", "x"), "error: --repository x: it must be NAME=URL"),
        (("dlq", "show", "x"), "has no letter 'x': `fearless build dlq list`"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(run: Run, argv: tuple[str, ...], message: str) -> None:
    code, _, err = run(*argv)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_worker_without_an_engine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    code, _, err = run("worker")
    assert code == 1
    assert err.splitlines()[-1].startswith("error: no Docker engine answers: install one (Debian")


def test_builds_nobody_knows(run: Run) -> None:
    for command in ("show", "wait"):
        code, _, err = run(command, "nothing")
        assert (code, err.count("\n")) == (1, 1)
        assert "knows no build 'nothing': `fearless build queue` lists those there are" in err


def test_a_beginning_of_several_builds(run: Run, farm: Farm, worker: Pretender) -> None:
    run("send", "wait=1")
    run("send", "force=1", "wait=1")
    first, second = (status.id for status in farm.builds.builds())
    code, _, err = run("show", first[:14])
    assert (code, err) == (2, f"error: {first[:14]!r} is the beginning of several: "
                           f"{first}, {second}\n")  # fmt: skip


def test_repositories(site: Repository) -> None:
    project = Project(site.root)
    assert repositories([], "shop", project) == {"shop": str(site.root)}
    given = ["shop=git@example.com:acme/shop.git", "acme/blog=/srv/git/blog"]
    assert repositories(given, "x", project) == {
        "shop": "git@example.com:acme/shop.git",
        "acme/blog": "/srv/git/blog",
    }
    for bad, message in (
        ("shop=https://ann:secret@example.com/x", "a password in a URL"),
        ("shop=--upload-pack=x", "is not a URL"),
        ("../x=/y", "must be NAME=URL"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            repositories([bad], "x", project)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="is given twice"):
        repositories(["a=/x", "a=/y"], "x", project)


def test_a_queue_s_name_is_checked(site: Repository, run: Run) -> None:
    text = CONFIG.format("shop builds")
    (site.root / "release.toml").write_text(text)
    code, _, err = run("queue")
    assert code == 2
    assert "release.toml:7: `queue` = 'shop builds': 3 to 60 letters" in err


def test_another_builder_in_release_toml_needs_no_settings(
    site: Repository, emulator: Emulator, run: Run
) -> None:
    app = f"s{uuid.uuid4().hex[:8]}"
    text = f'[app]\nname = "{app}"\n[cloud]\nuse = "aws"\n[container]\nuse = "docker"\n'
    (site.root / "release.toml").write_text(text)
    assert run("queue")[1].startswith(f"{app}-builds.fifo: 0 waiting")
    assert os.environ["AWS_ENDPOINT_URL"] == emulator.url
