"""The example plugin, installed from wheels beside Fearless, as any team would install one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from .checkout import HERE, Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLE = HERE / "examples" / "fearless-s3-registry"
ORIGIN = "installed plugin 's3' (fearless-s3-registry)"
SETTINGS = """use = "s3"
bucket = "shop-images"
prefix = "production"
create = true
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with two wheels; `suite` is the example's own tests, running."""

    bin: Path
    suite: subprocess.Popen[str]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Fearless and the example from wheels; what they depend on, as it is installed here."""
    folder = tmp_path_factory.mktemp("third-party")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder)]
    for part in (HERE, EXAMPLE):
        built = subprocess.run([*build, str(part)], capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    venv.create(folder / "venv", symlinks=True)
    here, there = Path(sys.executable).parent, folder / "venv" / "bin"
    wheels = [str(path) for path in sorted(folder.glob("*.whl"))]
    options = ("install", "-q", "--no-deps", "--no-index")
    pip = [sys.executable, "-m", "pip", "--python", str(there / "python"), *options]
    subprocess.run([*pip, *wheels], check=True)
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    doit = (here / "doit").read_text().splitlines(keepends=True)
    (there / "doit").write_text("".join([f"#!{there / 'python'}\n", *doit[1:]]))
    (there / "doit").chmod(0o755)
    (there / "caddy").symlink_to(here / "caddy")
    (there / "pip").write_text(f'#!/bin/sh\nexec {there / "python"} -m pip "$@"\n')
    (there / "pip").chmod(0o755)
    shutil.copytree(EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("src"))
    suite = subprocess.Popen(
        [str(there / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder / "example",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield Environment(there, suite)
    with suppress(ProcessLookupError):  # it and its emulator, when it was not waited for
        os.killpg(suite.pid, signal.SIGKILL)
    suite.communicate()


@pytest.fixture(scope="module")
def shop(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The shop, without a production to replace."""
    checkout = Installed(tmp_path_factory.mktemp("shop") / "shop", environment.bin)
    checkout.edit("release.toml", 'seed = "examples/shop/seed"', "# no seed")
    yield checkout
    checkout.close()


def use(shop: Installed, settings: str) -> None:
    """Make it the table [registry] of release.toml."""
    before, _, after = (shop.root / "release.toml").read_text().partition("[registry]\n")
    rest = after.partition("\n[ami]")[2]
    (shop.root / "release.toml").write_text(f"{before}[registry]\n{settings}\n[ami]{rest}")


def test_installing_it_changes_nothing(shop: Installed, environment: Environment) -> None:
    """Both come from wheels, it is offered, and the registry is the one release.toml names."""
    code = (
        "import fearless, fearless_s3_registry, pathlib; from fearless.project import Project; "
        "print(fearless.__file__, fearless_s3_registry.__file__, "
        "type(Project(pathlib.Path()).registry).__name__)"
    )
    fearless, plugin, registry = shop.run("python", "-c", code).ok().out.split()
    for module in (fearless, plugin):
        assert Path(module).is_relative_to(environment.bin.parent), module
    assert registry == "LocalRegistry"
    shown = shop.doit("plugins", "json=1").ok().json
    assert ORIGIN in shown["plugins"]
    assert shown["slots"]["registry"]["s3"] == ORIGIN
    assert f"  {ORIGIN}" in shop.doit("plugins").ok().out


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            'use = "s3"\nbukcet = "shop-images"\n',
            "[registry] provider 's3' has no setting `bukcet` (did you mean 'bucket'?); its "
            "settings: bucket, prefix, create",
        ),
        ('use = "s3"\nbucket = "Shop"\n', "`bucket` = 'Shop': string should match pattern"),
    ],
)
def test_a_mistake_is_one_line(shop: Installed, settings: str, problem: str) -> None:
    use(shop, settings)
    run = shop.doit("release")
    assert run.code != 0
    (line,) = [line for line in run.err.splitlines() if line.strip()]
    assert line.startswith("error: release.toml:")
    assert problem in line


def test_a_whole_release_keeps_its_images_in_the_bucket(shop: Installed) -> None:
    use(shop, SETTINGS)
    sha = shop.commit("Keep images in S3")
    shop.doit("release").ok()
    s3 = shop.client("s3")
    tag = s3.get_object(Bucket="shop-images", Key=f"production/shop/tags/{sha}")["Body"].read()
    digest = json.loads(tag)["digest"]
    live = shop.doit("status", "json=1").ok().json["live"]
    assert live["sha"] == sha
    baked = [json.loads(p.read_text()) for p in shop.root.glob(".fearless/amis/*/manifest.json")]
    assert [m["images"][0]["digest"] for m in baked if m["sha"] == sha] == [digest]
    assert not (shop.root / ".fearless" / "registry").exists()
    (kept,) = shop.doit("images", "json=1").ok().json["images"]
    assert (kept["tag"], kept["reference"]) == (sha, f"shop@{digest}")
    assert shop.doit("release", "json=1").ok().json["made"] == []


def test_its_own_tests_pass_there(environment: Environment) -> None:
    out, _ = environment.suite.communicate(timeout=300)
    assert environment.suite.returncode == 0, out
    assert " passed" in out and "skipped" not in out


STEP = re.compile(
    r"^<!-- (?P<do>file:|add to:|edit) (?P<name>[\w./-]+)"
    r"(: (?P<old>[^>\n]+) -> (?P<new>[^>\n]+))? -->$"
    r"|^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


def masked(text: str) -> list[str]:
    return [re.sub(r"\d+(\.\d+)?", "#", line.rstrip()) for line in text.splitlines()]


def test_the_tutorial_does_what_it_says(shop: Installed) -> None:
    """docs/plugins.md, step by step: its files, its edits, its commands and what they print."""
    page = (HERE / "docs" / "plugins.md").read_text()
    tutorial = page.split("## Write one in ten minutes\n")[1].split("\n## ")[0]
    waiting, done = None, []
    for step in STEP.finditer(tutorial):
        if step["do"] == "edit":
            shop.edit(step["name"], step["old"], step["new"])
        elif step["do"]:
            waiting = step
        elif step["language"] == "console":
            done += [console(shop, part) for part in step["text"].split("$ ")[1:]]
        else:
            assert waiting, f"which file is this? {step['text']}"
            path = shop.root / waiting["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text() if waiting["do"] == "add to:" else ""
            path.write_text(before + step["text"])
            waiting = None
    assert len(done) == 7, done


def console(shop: Installed, text: str) -> str:
    """Run a command and find the lines it is said to print, in their order."""
    command, _, shown = text.partition("\n")
    run = shop.run("bash", "-c", command)
    printed = iter(masked(run.out + run.err))
    for line in masked(shown):
        assert line in ("", "...") or line in printed, f"{command}: no {line!r}\n{run.out}{run.err}"
    assert (run.code == 0) == ("error:" not in shown), run.err
    return command
