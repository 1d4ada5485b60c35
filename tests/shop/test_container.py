"""The shop's Dockerfile: both builders understand it, and its layers cache well."""

from __future__ import annotations

import re
from importlib.metadata import version

from fearless import dockerfile
from fearless.local import recipe
from tests.shop_app import SHOP

TEXT = (SHOP / "Dockerfile").read_text()


def test_the_local_builder_understands_it() -> None:
    plan = recipe.read(dockerfile.parse(TEXT))
    assert plan.config["Cmd"] == ["python", "-m", "shop"]
    assert plan.config["User"] == "1000"
    assert plan.config["WorkingDir"] == "/app"
    assert list(plan.config["ExposedPorts"]) == ["8080/tcp"]


def test_what_changes_most_is_copied_last() -> None:
    order = [i.keyword for i in dockerfile.parse(TEXT)]
    assert order.index("RUN") < len(order) - 1 - order[::-1].index("COPY")
    assert not {"COPY", "RUN", "ADD"} & set(order[len(order) - order[::-1].index("COPY") :])


def test_requirements_are_pinned_to_what_is_tested() -> None:
    for line in (SHOP / "requirements.txt").read_text().splitlines():
        name, pinned = re.fullmatch(r"([a-z0-9]+)==([0-9.]+)", line).groups()  # type: ignore[union-attr]
        assert version(name) == pinned
