"""A branch's own stack: made once, redeployed by swapping the image, dropped without a trace."""

from __future__ import annotations

import json

import pytest

from fearless import http

from .checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BRANCH = "feature/x"


@pytest.fixture(scope="module", autouse=True)
def production(small: Checkout) -> None:
    small.run("fearless", "local", "up").ok()
    small.git("branch", BRANCH)


def commit_on_branch(checkout: Checkout, text: str) -> str:
    checkout.git("checkout", "-q", BRANCH)
    sha = checkout.change_app(text)
    checkout.git("checkout", "-q", "main")
    return sha


def test_a_branch_gets_a_stack_and_loses_it_again(small: Checkout) -> None:
    before = small.inventory()
    live = small.doit("status", "json=1").ok().json["live"]
    first_sha = commit_on_branch(small, "one")
    first = small.doit("devstack", f"branch={BRANCH}", "json=1").ok()
    url = first.json["url"]
    assert json.loads(http.get(url + "/__release")[1])["sha"] == first_sha
    stores = json.loads(http.get(url + "/stores")[1])
    assert "email" in json.dumps(stores)
    store, order = stores["stores"][0]["id"], "dev-1"
    product = json.loads(http.get(f"{url}/stores/{store}/products")[1])["products"][0]["id"]
    customer = {"name": "Ann", "email": "ann@example.com"}
    lines = [{"product_id": product, "quantity": 1}]
    body = {"id": order, "customer": customer, "lines": lines}
    status, answer = http.post(f"{url}/stores/{store}/orders", body)
    assert status in (200, 201), answer

    second_sha = commit_on_branch(small, "two")
    with_stack = small.inventory()
    second = small.doit("devstack", f"branch={BRANCH}", "json=1").ok()
    assert set(second.json["steps"]) == {"devstack:image", "devstack:deploy"}
    assert set(first.json["steps"]) > set(second.json["steps"])
    assert json.loads(http.get(url + "/__release")[1])["sha"] == second_sha
    assert http.get(f"{url}/stores/{store}/orders/{order}")[0] == 200
    after = small.inventory()
    for kind in ("stacks", "tables", "balancers", "roles", "templates"):
        assert after[kind] == with_stack[kind], kind

    third = small.doit("devstack", f"branch={BRANCH}").ok()
    assert "(there already)" in third.out.splitlines()[-1]
    entry = small.doit("status", "json=1").ok().json["devstacks"][0]
    assert (entry["branch"], entry["sha"]) == (BRANCH, second_sha)

    assert http.get(f"{live['url']}/stores/{store}/orders/{order}")[0] == 404
    assert small.doit("status", "json=1").ok().json["live"] == live
    small.doit("drop", f"branch={BRANCH}", "yes=1").ok()
    assert small.inventory() == before
    assert "there is no dev stack" in small.doit("drop", f"branch={BRANCH}", "yes=1").ok().out


def test_branches_that_look_alike_have_stacks_of_their_own(small: Checkout) -> None:
    small.git("branch", "feature-x")
    commit_on_branch(small, "three")
    small.doit("devstack", "branch=feature-x").ok()
    small.doit("devstack", f"branch={BRANCH}").ok()
    stacks = small.doit("status", "json=1").ok().json["devstacks"]
    assert len({entry["stack"] for entry in stacks}) == 2
    small.doit("drop", "branch=feature-x", "yes=1").ok()
    (left,) = small.doit("status", "json=1").ok().json["devstacks"]
    assert left["branch"] == BRANCH
    small.doit("drop", f"branch={BRANCH}", "yes=1").ok()


def test_without_a_branch_or_with_an_unknown_one(small: Checkout) -> None:
    missing = small.doit("devstack")
    assert missing.code != 0
    assert "devstack needs a branch: `doit devstack branch=NAME`" in missing.err
    unknown = small.doit("devstack", "branch=nowhere")
    assert unknown.code != 0
    assert "'nowhere' names no commit" in unknown.err
    assert "Traceback" not in missing.err + unknown.err
