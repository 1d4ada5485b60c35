"""What the linter finds in Dockerfiles, and what it leaves alone."""

from __future__ import annotations

from typing import get_args

import pytest

from fearless.dockerfile import DockerfileError, parse
from fearless.dockerfile_lint import Finding, Rule, lint
from tests.commands import ROOT

GOOD = """FROM python:3.11-slim@sha256:{digest}
ENV PYTHONUNBUFFERED=1
HEALTHCHECK CMD ["true"]
CMD ["python", "-m", "shop"]
COPY requirements.txt .
RUN pip install -r requirements.txt
USER 1000
COPY . .
""".format(digest="0" * 64)


def found(text: str, **options: object) -> list[tuple[str, int]]:
    return [(f.rule, f.line) for f in lint(parse(text), **options)]  # type: ignore[arg-type]


def rules(text: str) -> set[str]:
    return {rule for rule, _ in found(text)}


def test_a_good_one_has_no_findings() -> None:
    assert found(GOOD) == []


def test_a_bad_one_has_them_all() -> None:
    text = """FROM python
COPY . .
RUN pip install -r requirements.txt
ARG NPM_TOKEN
LABEL a=b
"""
    assert found(text) == [
        ("no-healthcheck", 1),
        ("root-user", 1),
        ("unpinned-base", 1),
        ("install-after-copy", 3),
        ("secret", 4),
        ("metadata-below-copy", 5),
    ]
    assert {*rules(text), "base-not-by-digest"} == set(get_args(Rule))


def test_a_finding_is_one_line_that_says_what_to_do() -> None:
    (finding,) = lint(parse(GOOD.replace("USER 1000", "USER root")))
    assert finding.at("Dockerfile") == (
        "Dockerfile:7: warning: root-user: the container runs as root: whoever breaks into the app "
        "owns the container; end with `USER 1000`, or another user without rights"
    )


def test_rules_can_be_ignored() -> None:
    assert found("FROM python\n", ignore=["root-user", "no-healthcheck"]) == [("unpinned-base", 1)]


@pytest.mark.parametrize(
    "command",
    [
        "pip install -r requirements.txt",
        "python -m pip install --no-cache-dir flask",
        "set -e; pip3 install -r a.txt && rm a.txt",
        '["pip", "install", "-r", "requirements.txt"]',
        "npm ci",
        "npm install --omit=dev",
        "yarn",
        "yarn install --frozen-lockfile",
        "bundle install --jobs 4",
        "go mod download",
        "uv sync --frozen",
        "poetry install",
        "apt-get update && apt-get install -y curl",
        "apt-get -qq install curl",
        "apk add --no-cache curl",
    ],
)
@pytest.mark.parametrize("copy", ["COPY . .", "COPY --chown=1:1 ./ /app", 'COPY [".", "/app"]'])
def test_an_install_after_everything_was_copied(command: str, copy: str) -> None:
    text = f"{copy}\nRUN {command}\n"
    assert ("install-after-copy", 3) in found(f"FROM a:1\n{text}")
    assert "install-after-copy" not in rules(f"FROM a:1\nRUN {command}\n{copy}\n")


@pytest.mark.parametrize(
    "text",
    [
        "COPY . .\nRUN pip install .",
        "COPY . .\nRUN pip install --no-deps -e .",
        "COPY . .\nRUN pip install --no-cache-dir './'[dev]",
        "COPY . .\nRUN echo pip installs nothing",
        "COPY . .\nRUN npm run build",
        "COPY . .\nRUN yarn build",
        "COPY package.json .\nRUN npm ci",
        "COPY --from=other . .\nRUN npm ci",
        "COPY . .\nFROM b:1\nRUN npm ci",
    ],
)
def test_what_is_no_late_install(text: str) -> None:
    assert "install-after-copy" not in rules(f"FROM a:1\n{text}\n")


@pytest.mark.parametrize(
    ("image", "rule"),
    [
        ("python", "unpinned-base"),
        ("python:latest", "unpinned-base"),
        ("localhost:5000/python", "unpinned-base"),
        ("localhost:5000/team/python:3.11", "base-not-by-digest"),
        ("$BASE", "base-not-by-digest"),
        ("python@sha256:" + "0" * 64, ""),
        ("scratch", ""),
    ],
)
def test_bases(image: str, rule: str) -> None:
    about = {"unpinned-base", "base-not-by-digest"}
    assert rules(f"ARG BASE=python:3.11\nFROM {image}\n") & about == ({rule} if rule else set())


def test_an_argument_decides_the_base() -> None:
    text = "ARG BASE=python:3.11\nFROM $BASE\nUSER 1\nHEALTHCHECK NONE\n"
    assert found(text, arguments={"BASE": "python"}) == [("unpinned-base", 2)]


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("FROM a:1\nUSER 1000\n", False),
        ("FROM a:1\nUSER app:app\n", False),
        ("FROM a:1\nUSER 1000\nUSER root\n", True),
        ("FROM a:1\nUSER 0:0\n", True),
        ("FROM a:1 AS one\nUSER 1000\nFROM one\n", False),
        ("FROM a:1 AS one\nUSER 1000\nFROM b:1\n", True),
        ("FROM gcr.io/distroless/base:nonroot\n", False),
        ("FROM scratch\n", False),
    ],
)
def test_who_the_container_runs_as(text: str, root: bool) -> None:
    assert ("root-user" in rules(text)) is root


RANDOM = "qV7xLw2Zp9TfKc4RbYh8Nd3M"


@pytest.mark.parametrize(
    "line",
    [
        "ARG NPM_TOKEN",
        "ARG NPM_TOKEN=$OTHER",
        "ENV DB_PASSWORD=hush",
        "ENV DB_PASSWORD hush",
        "ENV A=1 API_KEY=$GIVEN",
        "ENV SECRET_KEY_BASE=x",
        "ENV AWS_SECRET_ACCESS_KEY=x",
        "ENV DB_PWD=hush",
        "ENV WHO=AKIAIOSFODNN7EXAMPLE",
        "ARG URL=https://user:hush@example.com/",
        f"ENV SALT={RANDOM}",
    ],
)
def test_secrets_are_found_and_never_shown(line: str) -> None:
    findings = [f for f in lint(parse(f"FROM a:1\n{line}\n")) if f.rule == "secret"]
    assert [finding.line for finding in findings] == [2]
    for value in ("hush", "AKIA", RANDOM):
        assert value not in findings[0].at("Dockerfile")


@pytest.mark.parametrize(
    "line",
    [
        "ENV PASSWORD_FILE=/run/secrets/password",
        "ENV API_KEY=/run/secrets/key",
        "ENV DB_PASSWORD=",
        "ENV TOKENIZER=fast",
        "ENV PWD=/app",
        "ENV PATH=/usr/local/bin:/usr/bin:$PATH",
        "ENV LIBRARY=/usr/lib/x86_64-linux-gnu/Some7Thing",
        f"ENV PYTHON_SHA256={'0123456789abcdef' * 4}",
        "ENV URL=https://example.com/a:b@c",
        "ENV OPTIONS=--max-old-space-size=4096",
        "ARG VERSION=3.11",
        "ENV broken",
    ],
)
def test_what_is_no_secret(line: str) -> None:
    assert "secret" not in rules(f"FROM a:1\n{line}\n")


@pytest.mark.parametrize(
    ("below", "line"),
    [("LABEL a=b\nCMD x\n", 3), ("ENV A=$B\n", 0), ("USER 1\nEXPOSE 80\n", 4), ("RUN x\n", 0)],
)
def test_constants_below_what_changes(below: str, line: int) -> None:
    lines = [at for rule, at in found(f"FROM a:1\nCOPY a b\n{below}") if rule[0] == "m"]
    assert lines == ([line] if line else [])


def test_what_the_grammar_forbids_is_an_error() -> None:
    with pytest.raises(DockerfileError, match="line 1: FROM"):
        lint(parse("FROM ${A#b}\n"))


def test_the_shop_is_an_example_for_all() -> None:
    text = (ROOT / "examples" / "shop" / "Dockerfile").read_text()
    findings: tuple[Finding, ...] = lint(parse(text))
    assert [f.rule for f in findings] == ["base-not-by-digest"], "no digest is the same everywhere"
