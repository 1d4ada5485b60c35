"""What a user mistypes is refused with a suggestion, before anything runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .checkout import Checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    made = Checkout(tmp_path_factory.mktemp("mistakes") / "shop")
    yield made
    assert not (made.root / ".fearless" / "cloud.json").exists(), "a mistake started the cloud"


PROCEDURE = "tag image ami stack copy sync gate cutover retire release devstack drop".split()

VERBS = "rollback plan quarantine status releases images image_reap plugins".split()


def test_list_is_the_procedure_and_quick(checkout: Checkout) -> None:
    checkout.doit("list").ok()
    listed = checkout.doit("list").ok()
    names = [line.split()[0] for line in listed.out.splitlines()]
    assert names == [*PROCEDURE, *VERBS]
    everything = checkout.doit("list", "--all").ok().out
    assert "gate:shop" in everything
    assert "devstack:deploy" in everything


def test_nothing_heavy_is_imported_for_a_list(checkout: Checkout) -> None:
    heavy = "boto3 botocore docker jinja2 yaml ministack".split()
    script = (
        "import sys; from doit.doit_cmd import DoitMain; DoitMain().run(['list']);"
        f"print('HEAVY', [m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=checkout.root, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["relase"], "there is no task 'relase' (did you mean 'release'?)"),
        (["release", "brnch=x"], "unknown variable 'brnch' (did you mean 'branch'?)"),
        (["devstack", "barnch=x"], "unknown variable 'barnch' (did you mean 'branch'?)"),
        (["release", "sha=nowhere"], "'nowhere' names no commit"),
        (["release", "branch=x"], "release does not use branch=; did you mean `doit devstack bran"),
        (["branch=x"], "status does not use branch=; did you mean `doit devstack branch=x`?"),
        (["devstack", "sha=x"], "devstack does not use sha=; did you mean `doit release sha=x`?"),
        (["drop", "tag=x"], "drop does not use tag=; did you mean `doit release tag=x`?"),
        (["gate:shop", "branch=x"], "gate does not use branch="),
        (["-v", "2", "tag*", "releas"], "there is no task 'releas' (did you mean 'release'?)"),
        (["gat:shop"], "there is no task 'gat:shop' (did you mean 'gate'?)"),
        (["release", "dry=yes"], "dry=yes: dry is 1 or 0, not 'yes'"),
        (["release", "json=true"], "json=true: json is 1 or 0"),
        (["release", "accept_data_loss=1"], "did you mean `doit rollback accept_data_loss=1`?"),
        (["rollback", "accept_data_loss=yes"], "accept_data_loss is 1 or 0, not 'yes'"),
        (["rollbak"], "there is no task 'rollbak' (did you mean 'rollback'?)"),
        (["rollback"], "the cloud does not answer; start it with `fearless local up`"),
        (["quarantine", "branch=x"], "quarantine does not use branch="),
        (["drop"], "drop needs a branch or a commit"),
        (["image", "keep=3"], "image does not use keep=; did you mean `doit image_reap keep=3`?"),
        (["image_reap", "days=-1"], "days=-1: days is a whole number, 0 or more"),
        (["image_reap", "keep=few"], "keep=few: keep is a whole number, 0 or more"),
        (["images"], "the cloud does not answer; start it with `fearless local up`"),
        (["drop", "branch=x", "sha=HEAD"], "drop needs one of the two"),
    ],
)
def test_mistakes(checkout: Checkout, argv: list[str], said: str) -> None:
    run = checkout.doit(*argv)
    assert run.code != 0
    assert said in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    "argv",
    [
        ["status", "sha=HEAD", "tag=x", "yes=1"],
        ["status", "branch=", "dry=", "json=0"],
        ["list", "branch=x", "dry=maybe"],
        ["help", "release", "branch=x"],
        ["info", "release", "branch=x"],
        ["plan"],
        ["plan", "json=1", "sha=HEAD"],
        ["drop", "branch=x", "dry=1"],
        ["drop", "sha=HEAD", "dry=1"],
    ],
)
def test_what_is_fine(checkout: Checkout, argv: list[str]) -> None:
    run = checkout.doit(*argv)
    assert "does not use" not in run.err
    if argv[0] != "info":  # exits with 1 for a task that is not up to date
        run.ok()


NOTES = '''
from fearless import hookimpl

def write(branch=None):
    """Write the notes of this release"""
    print("notes written")

@hookimpl
def tasks(project, release):
    yield {"basename": "release-notes", "actions": [write], "verbosity": 2}
    yield {"basename": "status2", "actions": None, "doc": "Look twice"}
    for name in ("a", "b"):
        yield {"basename": "site", "name": name, "actions": [write], "doc": f"Site {name}"}
'''


def test_tasks_of_plugins_are_tasks(checkout: Checkout) -> None:
    path = checkout.root / "plugins" / "notes.py"
    path.write_text(NOTES)
    try:
        listed = checkout.doit("list", "--all").ok().out
        ran = checkout.doit("release-notes", "branch=x", "sha=HEAD").ok().out
        site = checkout.doit("site:b").ok().out
        wrong = checkout.doit("release-note")
        path.write_text(NOTES.replace("status2", "status"))
        taken = checkout.doit("list")
    finally:
        path.unlink()
    docs = dict(line.split(maxsplit=1) for line in listed.splitlines())
    assert docs["release-notes"].strip() == "Write the notes of this release"
    assert docs["status2"].strip() == "Look twice"
    assert docs["site"].strip() == "Tasks of plugins/notes.py"
    assert docs["site:b"].strip() == "Site b"
    assert ran == site == "notes written\n"
    assert "there is no task 'release-note' (did you mean 'release-notes'?)" in wrong.err
    assert "a task needs a `basename` that is not taken, not 'status'" in taken.err
    assert "Traceback" not in wrong.err + taken.err


def test_help_and_version(checkout: Checkout) -> None:
    assert "fearless 0." in checkout.run("fearless", "--version").ok().out
    assert "init" in checkout.run("fearless", "--help").ok().out
    assert "up" in checkout.run("fearless", "local", "--help").ok().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('use = "route53"', 'use = "route54"', "no plugin offers it (did you mean 'route53'?)"),
        ("create_zone = true", "creat_zone = true", "has no setting `creat_zone` (did you mean"),
        ("[cutover]", "[cutovr]", "unknown table `cutovr` (did you mean 'cutover'?)"),
        ('zone = "localhost"', "", "needs the setting `zone`"),
    ],
)
def test_a_mistake_in_release_toml(checkout: Checkout, old: str, new: str, said: str) -> None:
    path = checkout.root / "release.toml"
    text = path.read_text()
    try:
        checkout.edit("release.toml", old, new)
        run = checkout.doit("release")
    finally:
        path.write_text(text)
    assert run.code != 0
    assert said in run.err
    assert "release.toml:" in run.err
    assert "Traceback" not in run.err


def test_a_broken_plugin_is_one_line(checkout: Checkout) -> None:
    path = checkout.root / "plugins" / "broken.py"
    path.write_text("import nothing_of_that_name\n")
    try:
        run = checkout.doit("release")
    finally:
        path.unlink()
    assert run.code != 0
    assert "plugins/broken.py cannot be imported: ModuleNotFoundError" in run.err
    assert "Traceback" not in run.err


def test_fearless_outside_a_project(tmp_path: Path, checkout: Checkout) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "fearless"), "local", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "run `fearless init`" in done.stderr
    assert "Traceback" not in done.stderr
