"""What is asked of the two builders, and what is understood of what they say."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from fearless.builtin.builds import buildkit, classic
from fearless.builtin.builds.buildkit import BuildKit
from fearless.builtin.builds.classic import Classic
from fearless.builtin.builds.order import Order
from fearless.builtin.builds.progress import TAIL, BuildFailed, Progress
from fearless.dockerfile import pairs, parse
from fearless.testing.fakes import SilentReport

TEXT = """ARG V=3.11
FROM python:$V AS deps
WORKDIR /app
ENV A=1
COPY requirements.txt .
RUN pip install -r requirements.txt
FROM deps
COPY . .
CMD python
"""
FULL = Order(
    Path("/w/context.tar"),
    "Prod",
    parse(TEXT),
    "shop:4f2",
    60,
    labels={"a": "b c"},
    args={"V": "3.12"},
    target="deps",
    cache_from=["shop:branch-main"],
    nocache=True,
    network="none",
    secrets={"pip": "hush"},
)


def plain(text: str = TEXT) -> Order:
    return Order(Path("context.tar"), "Dockerfile", parse(text), "shop:4f2", 60)


@pytest.fixture
def progress(report: SilentReport) -> Progress:
    return Progress("Dockerfile", Path("docker.log"), io.StringIO(), report)


# --------------------------------------------------------------------------- asking


def test_what_the_api_is_asked() -> None:
    assert classic.options(FULL) == {
        "dockerfile": "Prod",
        "buildargs": {"V": "3.12"},
        "target": "deps",
        "cache_from": ["shop:branch-main"],
        "nocache": True,
        "network_mode": "none",
        "timeout": 60,
        "rm": True,
        "forcerm": True,
    }


def test_labels_are_one_step() -> None:
    labels = {"a": "b c", "fearless:sha": 'say "$5\\"'}
    text = classic.labelled("sha256:1", labels)
    assert text.count("LABEL") == 1
    base, label = parse(text)
    assert base.text == "sha256:1"
    assert pairs(label.text, {"5": "no"}) == list(labels.items())
    assert classic.labelled("sha256:1", {}) == "FROM sha256:1\n"


def test_what_the_command_is_asked() -> None:
    assert buildkit.command(FULL, Path("/w/iid")) == [
        *("docker", "build", "--progress=plain", "--file=Prod", "--iidfile=/w/iid"),
        *("--tag=shop:4f2", "--label=a=b c", "--build-arg=BUILDKIT_INLINE_CACHE=1"),
        *("--build-arg=V=3.12", "--cache-from=shop:branch-main"),
        *("--secret=id=pip,env=FEARLESS_SECRET_0", "--target=deps", "--network=none", "--no-cache"),
        "-",
    ]
    assert buildkit.command(plain(), Path("iid"))[2:] == [
        *("--progress=plain", "--file=Dockerfile", "--iidfile=iid", "--tag=shop:4f2"),
        *("--build-arg=BUILDKIT_INLINE_CACHE=1", "-"),
    ]


def test_the_command_has_nobodys_credentials(tmp_path: Path) -> None:
    given = {"HOME": "/home/x", "PATH": "/bin", "DOCKER_CONTEXT": "far", "DOCKER_TLS_VERIFY": "1"}
    assert buildkit.environment(FULL, "unix:///s", tmp_path, given) == {
        "HOME": "/home/x",
        "PATH": "/bin",
        "DOCKER_BUILDKIT": "1",
        "DOCKER_CERT_PATH": "/home/x/.docker",
        "DOCKER_CONFIG": str(tmp_path),
        "DOCKER_HOST": "unix:///s",
        "DOCKER_TLS_VERIFY": "1",
        "FEARLESS_SECRET_0": "hush",
    }
    assert "hush" not in repr(FULL)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "cliPluginsExtraDirs": ["/home/x/.docker/cli-plugins"]
    }


# ------------------------------------------------------------- the engine's own builder


def events(*texts: str) -> list[dict[str, object]]:
    return [{"stream": text} for text in texts]


def test_steps_and_hits_are_counted(progress: Progress, report: SilentReport) -> None:
    build = Classic(plain(), progress)
    for event in events(
        "Step 1/4 : ARG V=3.11",
        "\n",
        "Step 2/4 : FROM python:$V AS deps",
        " ---> 5ed180ad93cf\n",
        "Step 3/4 : WORKDIR /app",
        " ---> Using cache\n",
        " ---> 0123456789ab\n",
        "Step 4/4 : ENV A=1",
        " ---> Running in 0123456789ab\n",
        "Removing intermediate container 0123456789ab\n",
    ):
        build.read(event)
    build.read({"aux": {"ID": "sha256:1"}})
    build.read(events("Successfully built 0123456789ab\n")[0])
    assert build.image_id == "sha256:1"
    assert progress.summary("branch main") == "cache: 1/2 steps, from branch main"
    assert report.notes == ["ARG V=3.11", "FROM python:$V AS deps", "WORKDIR /app", "ENV A=1"]
    assert not any(step.said for step in progress.steps.values())


def test_a_failing_step_is_shown_with_its_last_lines(
    progress: Progress, report: SilentReport
) -> None:
    build = Classic(plain(), progress)
    for event in events("Step 6/9 : RUN pip install -r requirements.txt", "one\ntwo\n", "three"):
        build.read(event)
    with pytest.raises(BuildFailed) as caught:
        build.read({"errorDetail": {"code": 3, "message": "x"}, "error": "returned a non-zero\n"})
    assert str(caught.value) == (
        "error: Dockerfile:6: `RUN pip install -r requirements.txt` failed with exit code 3: three "
        "(log: docker.log)"
    )
    assert report.lines == ["| one", "| two", "| three"]


def test_of_what_it_said_only_the_end_is_shown(progress: Progress, report: SilentReport) -> None:
    build = Classic(plain(), progress)
    build.read({"stream": "Step 6/9 : RUN pip"})
    for number in range(3 * TAIL):
        build.read({"stream": f"{number}\n"})
    with pytest.raises(BuildFailed):
        build.read({"error": "no\nspace left"})
    assert report.lines == [f"| {number}" for number in range(2 * TAIL, 3 * TAIL)]


def test_a_step_that_no_line_asks_for(progress: Progress) -> None:
    build = Classic(plain(), progress)
    build.read({"stream": "Step 10/10 : LABEL a=b"})
    assert progress.summary("x") == "cache: 0/1 steps"
    with pytest.raises(BuildFailed, match=r"error: Dockerfile failed with no space left \(log"):
        build.read({"error": "no space left"})


# ------------------------------------------------------------------------- BuildKit


def test_steps_are_numbered_as_buildkit_does() -> None:
    found = buildkit.operations(parse(TEXT))
    assert {key: step.line for key, step in found.items()} == {
        ("deps", 1): 2,
        ("deps", 2): 3,
        ("deps", 3): 5,
        ("deps", 4): 6,
        ("stage-1", 1): 8,
    }
    assert buildkit.operations(parse("FROM scratch\nCOPY a b\n")) == {
        ("", 1): parse("FROM scratch\nCOPY a b\n")[1]
    }


SAID = """#1 [internal] load remote build context
#1 sha256:e013d60291e1aa3adac2d6a2e034585e3c77398b402d5c2bd1c18d1c19601ca3
#1 DONE 0.0s

#10 importing cache manifest from shop:branch-x
#10 ERROR: failed to do request

#4 [deps 1/4] FROM docker.io/library/python:3.11
#4 CACHED

#5 [deps 2/4] WORKDIR /app
#5 CACHED

#6 [deps 3/4] COPY requirements.txt .
#6 DONE 0.0s

#7 [deps 4/4] RUN pip install -r requirements.txt
#7 0.345 Collecting flask
#7 0.411 no such thing"""


def test_what_buildkit_says_is_counted(progress: Progress, report: SilentReport) -> None:
    build = BuildKit(plain(), progress)
    for line in SAID.splitlines():
        build.read(line)
    assert progress.summary("this engine") == "cache: 1/3 steps, from this engine"
    assert report.notes[-1] == "RUN pip install -r requirements.txt"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("executor failed running [/bin/sh -c pip]: exit code: 1", "exit code 1"),
        ('process "pip" did not complete successfully: exit code: 1', "exit code 1"),
        ("network bridge not found", "network bridge not found"),
    ],
)
def test_a_step_that_buildkit_says_failed(
    progress: Progress, report: SilentReport, error: str, message: str
) -> None:
    build = BuildKit(plain(), progress)
    for line in [*SAID.splitlines(), f"#7 ERROR: {error}", "------", " > x:", "failed to solve"]:
        build.read(line)
    assert str(build._failure(1)) == (
        f"error: Dockerfile:6: `RUN pip install -r requirements.txt` failed with {message}: "
        "no such thing (log: docker.log)"
    )
    assert report.lines == ["| Collecting flask", "| no such thing"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["failed to solve: nothing"], "`docker build` ended with exit code 1: failed to solve: "),
        ([], "`docker build` ended with exit code 1: it said nothing"),
        (
            ["failed to receive status: rpc error: code = Unavailable"],
            "the Docker engine broke off",
        ),
        (
            ["ERROR: BuildKit is enabled but the buildx component is missing or broken."],
            r"this `docker` command has no BuildKit: install docker-buildx, or leave",
        ),
    ],
)
def test_a_command_that_fails_otherwise(progress: Progress, lines: list[str], message: str) -> None:
    build = BuildKit(plain(), progress)
    for line in lines:
        build.read(line)
    with pytest.raises(BuildFailed, match=message):
        raise build._failure(1)
