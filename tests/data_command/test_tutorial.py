"""What docs/data.md tells people to type does what it says there."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from fearless.data_command.commands import COMMANDS, QUARANTINE
from tests.commands import FENCE, ROOT, blocks
from tests.data_command.conftest import Shell

PAGE = (ROOT / "docs" / "data.md").read_text()
TUTORIAL = PAGE[: PAGE.index("## Commands")]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    ],
}
MAY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}],
}


class App:
    """An application that writes with a role of its own."""

    def __init__(self, shell: Shell, role: str) -> None:
        iam = shell.emulator.client("iam")
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.put_role_policy(RoleName=role, PolicyName="app", PolicyDocument=json.dumps(MAY))
        arn = iam.get_role(RoleName=role)["Role"]["Arn"]
        sts = shell.emulator.client("sts")
        found = sts.assume_role(RoleArn=arn, RoleSessionName="app")["Credentials"]
        self.client = shell.emulator.client(
            "dynamodb",
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
        )

    def put(self, table: str, item: dict[str, Any]) -> bool:
        """False when it is denied."""
        try:
            self.client.put_item(TableName=table, Item=item)
        except self.client.exceptions.ClientError as error:
            assert "AccessDenied" in error.response["Error"]["Code"]
            return False
        return True


def masked(text: str) -> list[str]:
    return [re.sub(r"[\d.,]+", "#", line) for line in text.splitlines()]


@pytest.mark.slow
def test_the_tutorial(shell: Shell) -> None:
    old, new = App(shell, f"{shell.source}-app"), App(shell, f"{shell.source}-app-v2")
    renamed = {
        "orders": shell.source,
        "orders-v2": shell.target,
        "role:shop-app": f"role:{shell.source}-app",
        "role:shop-app-v2": f"role:{shell.source}-app-v2",
    }
    shell.file.write_text(blocks(TUTORIAL, "python")[0])
    for number in range(3):
        assert old.put(shell.source, {"id": {"S": f"o-{number}"}, "mail": {"S": "a@b"}})
    last = ""
    for language, code in FENCE.findall(TUTORIAL):
        if language == "text":
            shown = last
            for name, own in sorted(renamed.items(), key=lambda pair: -len(pair[1])):
                shown = shown.replace(own, name)
            assert masked(code) == masked(shown)[: len(masked(code))]
        if language != "sh":
            continue
        words = shlex.split(code)
        assert words[:2] == ["fearless", "data"]
        words = [renamed.get(word, word) for word in words[2:]]
        if "--transforms" in words:
            words += ["--table", "orders"]
        if words[0] == "rollback":
            assert not old.put(shell.source, {"id": {"S": "o-8"}})
            assert new.put(shell.target, {"id": {"S": "o-9"}, "email": {"S": "c@d"}})
        last, _ = shell.call([*words, "--state-table", shell.state])
    assert shell.items(shell.source)["o-9"] == {"id": {"S": "o-9"}, "mail": {"S": "c@d"}}
    assert old.put(shell.source, {"id": {"S": "o-10"}})
    assert not new.put(shell.target, {"id": {"S": "o-11"}})


def test_every_command_is_in_the_reference() -> None:
    named = set(re.findall(r"`fearless data ([a-z ]+) SRC DST[^`]*`", PAGE))
    assert named == {*COMMANDS, *(f"quarantine {name}" for name in QUARANTINE)}
