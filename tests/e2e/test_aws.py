"""`[cloud] use = "aws"`: the same path without the launcher, against an emulator that is given
only by the standard AWS environment variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fearless import http

from .checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Checkout]:
    """An embedded cloud somewhere else, standing for AWS."""
    checkout = Checkout(tmp_path / "aws")
    checkout.edit("release.toml", 'seed = "examples/shop/seed"', "")
    checkout.commit("No seed")
    checkout.run("fearless", "local", "up").ok()
    yield checkout
    checkout.close()


def test_a_release_on_what_the_environment_says_is_aws(machines: Checkout, tmp_path: Path) -> None:
    cloud = machines.cloud()
    shop = Checkout(tmp_path / "shop")
    text = (shop.root / "release.toml").read_text()
    text = re.sub(r'use = "local" +# the embedded.*', 'use = "aws"', text)
    text = re.sub(r"seed = .*", "", text)
    amis = machines.root / ".fearless" / "amis"
    text = text.replace('[ami]\nuse = "local"', f'[ami]\nuse = "local"\ndirectory = "{amis}"')
    text = text.replace(
        'use = "cloudformation"', 'use = "cloudformation"\nparameters = {ListenerPort = 28471}'
    )
    text = text.replace(
        'name = "shop"', f'name = "shop"\nurl = "http://localhost:{cloud["port"]}"', 1
    )
    (shop.root / "release.toml").write_text(text)
    sha = shop.commit("On AWS")
    aws = {
        "AWS_ENDPOINT_URL": cloud["emulator"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    shop.doit("release", **aws).ok()
    assert not (shop.root / ".fearless" / "cloud.json").exists()
    status = shop.doit("status", "json=1", **aws).ok().json
    assert status["live"]["sha"] == sha
    answer = json.loads(http.get(f"http://localhost:{cloud['port']}/__release")[1])
    assert answer["stack"] == status["live"]["stack"]

    second = shop.change_app("second")
    shop.edit("release.toml", "28471", "28472")
    second = shop.commit("Another port, as two stacks are on one machine here")
    shop.doit("release", **aws).ok()
    status = shop.doit("status", "json=1", **aws).ok().json
    assert status["live"]["sha"] == second
    assert "Nothing to do" in shop.doit("release", **aws).ok().out


def test_without_credentials_it_says_so(tmp_path: Path) -> None:
    shop = Checkout(tmp_path / "shop")
    shop.edit("release.toml", 'use = "local"                     # the', 'use = "aws"  # the')
    shop.edit("release.toml", 'seed = "examples/shop/seed"', "")
    shop.commit("On AWS")
    nothing = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    run = shop.doit("release", **nothing)
    assert run.code != 0
    assert run.err.startswith("not authorised:")
    assert "Traceback" not in run.err
