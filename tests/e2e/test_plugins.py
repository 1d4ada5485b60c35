"""A team's plugin and an installed one take over a slot and add a gate, in a real release."""

from __future__ import annotations

from pathlib import Path

import pytest

from .checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REGISTRY = '''
"""A registry that keeps its images elsewhere and writes down that it was asked."""

from pathlib import Path

from fearless import Gate, GateFailed, hookimpl
from fearless.local.registry import LocalRegistry


class Elsewhere(LocalRegistry):
    def __init__(self, project, folder: str):
        super().__init__(project, folder)
        self.log = Path(folder) / "asked"

    def push(self, image):
        pushed = super().push(image)
        with self.log.open("a") as log:
            log.write(f"{image.tag}\\n")
        return pushed


@hookimpl
def registries():
    return {"NAME": Elsewhere}


def check(candidate):
    status, _ = candidate.get("/stores")
    if status != 200:
        raise GateFailed(f"/stores answers {status}")
    return "NAME saw the stores"


@hookimpl
def gates(release):
    return [Gate("NAME", check)]
'''


def use_registry(checkout: Checkout, name: str, folder: Path) -> None:
    text = (checkout.root / "release.toml").read_text()
    before, _, after = text.partition("[registry]\n")
    rest = after.partition("\n[ami]")[2]
    mine = f'use = "{name}"\nfolder = "{folder}"\n'
    (checkout.root / "release.toml").write_text(f"{before}[registry]\n{mine}\n[ami]{rest}")


def distribution(site: Path) -> None:
    """An installed distribution, as pip would leave it."""
    info = site / "fearless_elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "fearless_elsewhere.py").write_text(REGISTRY.replace("NAME", "installed"))
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fearless-elsewhere\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text("[fearless]\nelsewhere = fearless_elsewhere\n")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which it is installed."""
    site = tmp_path_factory.mktemp("site")
    distribution(site)
    return {"PYTHONPATH": str(site)}


def test_both_kinds_take_over_a_slot_and_add_a_gate(
    small: Checkout, path: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop, folder = small, tmp_path_factory.mktemp("registries")
    team, installed = folder / "team", folder / "installed"
    (shop.root / "plugins" / "elsewhere.py").write_text(REGISTRY.replace("NAME", "team"))
    use_registry(shop, "team", team)
    first = shop.commit("A registry of the team's own")
    run = shop.doit("release", **path).ok()
    assert "gate:team        team saw the stores" in run.out
    assert "gate:installed   installed saw the stores" in run.out
    assert first in (team / "asked").read_text()
    assert not installed.exists()

    use_registry(shop, "installed", installed)
    shop.change_app("second")
    second = shop.git("rev-parse", "HEAD")
    run = shop.doit("release", **path).ok()
    assert (installed / "asked").read_text().split() == [second]


def test_a_gate_that_says_no_stops_before_dns(small: Checkout, path: dict[str, str]) -> None:
    shop = small
    live = shop.doit("status", "json=1", **path).ok().json["live"]
    (shop.root / "plugins" / "no.py").write_text(
        "from fearless import Gate, GateFailed, hookimpl\n"
        "def check(candidate):\n    raise GateFailed('it is Friday')\n"
        "@hookimpl\ndef gates(release):\n    return [Gate('friday', check)]\n"
    )
    shop.commit("Never on Fridays")
    run = shop.doit("release", **path)
    assert run.code == 1
    assert "error: gate friday: it is Friday" in run.err
    assert "Traceback" not in run.err
    ignored = shop.doit("ignore", "gate:friday", **path)
    assert ignored.code == 0
    skipped = shop.doit("cutover", **path)
    status = shop.doit("status", "json=1", **path).ok().json
    for shown in (live, status["live"]):
        shown["way_back"].pop("lag")  # it moves
    assert status["live"] == live, skipped.out + skipped.err
    assert len(status["candidates"]) == 1
