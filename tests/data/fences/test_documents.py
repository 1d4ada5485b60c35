"""Fences as policy documents."""

from __future__ import annotations

from datetime import UTC, datetime

from fearless.data.fences.documents import (
    WRITES,
    fence_policy,
    fence_statement,
    fenced,
    lifts,
    open_policy,
    principals,
)

ARNS = ["arn:aws:dynamodb:eu-west-1:1:table/b", "arn:aws:dynamodb:eu-west-1:1:table/a"]
UNTIL = datetime(2026, 11, 23, 6, 0, 1, tzinfo=UTC)


def test_the_policies() -> None:
    assert open_policy(ARNS) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "FearlessAllowWrites",
                "Effect": "Allow",
                "Action": list(WRITES),
                "Resource": ARNS[::-1],
            }
        ],
    }
    until = datetime(2026, 11, 23, 6, 0, 1, tzinfo=UTC)
    timed = fence_policy(ARNS, until)
    assert timed["Statement"] == [
        {
            "Sid": "FearlessDenyWrites",
            "Effect": "Deny",
            "Action": list(WRITES),
            "Resource": ARNS[::-1],
            "Condition": {"DateLessThan": {"aws:CurrentTime": "2026-11-23T06:00:01Z"}},
        }
    ]
    assert "Condition" not in fence_policy(ARNS, None)["Statement"][0]
    assert fenced(timed, datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC))
    assert not fenced(timed, until)
    assert fenced(fence_policy(ARNS, None), until)


def test_the_statement_of_a_table() -> None:
    assert fence_statement("F1", ARNS[0], ["arn:sync", "arn:ops"], UNTIL) == {
        "Sid": "F1",
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(WRITES),
        "Resource": ARNS[0],
        "Condition": {
            "ArnNotLike": {"aws:PrincipalArn": ["arn:ops", "arn:sync"]},
            "DateLessThan": {"aws:CurrentTime": "2026-11-23T06:00:01Z"},
        },
    }
    for_good = fence_statement("F1", ARNS[0], ["arn:sync"], None)
    assert "DateLessThan" not in for_good["Condition"]
    assert lifts(for_good) is None
    assert lifts(fence_statement("F1", ARNS[0], [], UNTIL)) == UNTIL


def test_who_a_session_is_to_a_policy() -> None:
    user = "arn:aws:iam::123456789012:user/ops"
    assert principals(user) == (user,)
    assert principals("arn:aws-cn:sts::123456789012:assumed-role/sync/session") == (
        "arn:aws-cn:iam::123456789012:role/sync",
        "arn:aws-cn:iam::123456789012:role/*/sync",
    )
