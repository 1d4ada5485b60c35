"""The clock of this machine against the service's; where a side is."""

from __future__ import annotations

from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from fearless.data_command.preflight import check_clock
from fearless.data_command.sides import Access, Side
from fearless.errors import Refused


def side(theirs: float | None) -> Any:
    headers = {} if theirs is None else {"date": formatdate(theirs, usegmt=True)}
    answer = {"ResponseMetadata": {"HTTPHeaders": headers}}
    control = SimpleNamespace(describe_table=lambda TableName: answer)
    return SimpleNamespace(control=control, place="us-east-1")


@pytest.mark.parametrize("ours", [1_000_000.0, 1_000_060.9, 999_940.0])
def test_a_clock_that_is_good_enough(ours: float) -> None:
    check_clock(side(1_000_000.0), "t", lambda: ours)
    check_clock(side(None), "t", lambda: ours)


@pytest.mark.parametrize(
    ("ours", "told"),
    [(1_000_100.0, "99 s ahead of"), (999_900.0, "100 s behind")],
)
def test_a_clock_that_is_wrong(ours: float, told: str) -> None:
    with pytest.raises(Refused, match=f"this machine's clock is {told} that of DynamoDB in us-e"):
        check_clock(side(1_000_000.0), "t", lambda: ours)


def test_where_a_side_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    aws = Side("source", Access())
    assert (aws.place, aws.near) == ("eu-west-1", False)
    here = Side("target", Access("http://127.0.0.1:4566", "us-east-2"))
    assert (here.place, here.near) == ("us-east-2 at http://127.0.0.1:4566", True)
    assert here.command("x").endswith("--region us-east-2 --endpoint-url http://127.0.0.1:4566")
