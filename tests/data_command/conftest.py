"""Two tables on the emulator, and `fearless data` as a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from fearless.cli import main
from fearless.testing.emulator import Emulator

ROOT = Path(__file__).parents[2]
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from fearless.cli import main; sys.exit(main())"
)
TRANSFORMS = """
from fearless import Transform, hookimpl


@hookimpl
def transforms():
    return [Transform("rename", ("orders",), rename, down=back)]


def rename(item):
    if item.get("bad"):
        raise KeyError("bad")
    if "title" in item:
        item.rename("title", "name")
    return item


def back(item, old):
    if "name" in item:
        item.rename("name", "title")
    return item
"""


class Shell:
    """Tables of their own for each test, and the command that works on them."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.client = emulator.client("dynamodb")
        tag = uuid.uuid4().hex[:8]
        self.source, self.target = f"orders-{tag}", f"orders-{tag}-v2"
        self.state = f"state-{tag}"
        self.file = folder / "transforms.py"
        self.file.write_text(TRANSFORMS)
        self.create(self.source)
        self.create(self.target)

    def create(self, table: str, view: str | None = "NEW_AND_OLD_IMAGES", kind: str = "S") -> None:
        stream = {"StreamEnabled": True, "StreamViewType": view}
        self.client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": kind}],
            BillingMode="PAY_PER_REQUEST",
            **({"StreamSpecification": stream} if view else {}),
        )

    def put(self, number: int, table: str = "", **more: Any) -> None:
        item = {"id": {"S": f"o-{number}"}, "title": {"S": f"order {number}"}, **more}
        self.client.put_item(TableName=table or self.source, Item=item)

    def items(self, table: str) -> dict[str, Any]:
        pages = self.client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return {item["id"]["S"]: item for page in pages for item in page["Items"]}

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return {
            **kept,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "none"),
            "AWS_ENDPOINT_URL": self.emulator.url,
            "PYTHONPATH": str(ROOT),
        }

    def words(self, command: str, *more: str) -> list[str]:
        return [
            *command.split(),
            self.source,
            self.target,
            "--state-table",
            self.state,
            *more,
        ]

    def start(self, words: list[str], **environment: str | None) -> subprocess.Popen[str]:
        env = {k: v for k, v in {**self.environment, **environment}.items() if v is not None}
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, "data", *words],
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: str, *more: str, code: int = 0, **environment: str | None
    ) -> tuple[str, str]:
        """Output and error output of the command, which must end with `code`."""
        return self.call(self.words(command, *more), code, **environment)

    def call(self, words: list[str], code: int = 0, **environment: str | None) -> tuple[str, str]:
        """In this process, which is quicker than to start one."""
        env = {k: v for k, v in {**self.environment, **environment}.items() if v is not None}
        with (
            patch.dict(os.environ, env, clear=True),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            ended = main(["data", *words])
        assert ended == code, f"{words}: {ended}\n{out.getvalue()}\n{err.getvalue()}"
        return out.getvalue(), err.getvalue()

    def refusal(self, words: list[str], code: int, **environment: str | None) -> str:
        """The one line that a command refuses with."""
        out, err = self.call(words, code, **environment)
        assert out == ""
        lines = [line for line in err.splitlines() if not line.startswith("    ")]
        assert len(lines) == 1, err
        return lines[0]

    def json(self, command: str, *more: str, code: int = 0) -> dict[str, Any]:
        """The last object of a command's output, every line of which is one."""
        out, _ = self.run(command, *more, "--json", code=code)
        events = [json.loads(line) for line in out.splitlines()]
        return dict(events[-1])

    @staticmethod
    def progress(process: subprocess.Popen[str]) -> dict[str, Any]:
        """The next progress event of a command that was started with --json."""
        assert process.stdout is not None
        while '"progress"' not in (line := process.stdout.readline()):
            assert line, "it ended before"
        return dict(json.loads(line))

    def interrupt(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return out, err


@pytest.fixture
def shell(emulator: Emulator, tmp_path: Path) -> Iterator[Shell]:
    made = Shell(emulator, tmp_path)
    yield made
    for table in (made.source, made.target):
        made.client.delete_table(TableName=table)


SWITCH = """
import os, sys
from pathlib import Path
side, what = sys.argv[1:]
file = Path(__file__).with_name(f"{side}.closed")
if what == "fence":
    file.write_text(os.environ["FEARLESS_FENCE_ATTEMPT"])
elif what == "unfence":
    file.unlink(missing_ok=True)
else:
    sys.exit(0 if file.exists() else 1)
"""


class Switch:
    """A maintenance switch of the applications: closed while a file is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "switch.py"
        self.script.write_text(SWITCH)

    def hook(self, side: str) -> str:
        return f"hook:{sys.executable} {self.script} {side}"

    def closed(self, side: str) -> bool:
        return (self.folder / f"{side}.closed").exists()


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path)
