"""The example shop as a real process on the emulator, in both versions, for several tests."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fearless import http
from fearless.data.items import Item
from fearless.testing.emulator import Emulator, free_port

SHOP = Path(__file__).parent.parent / "examples" / "shop"
PLUGINS = Path(__file__).parent.parent / "plugins"
TABLES = ("stores", "products", "orders")
ROOT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def load(path: Path, name: str) -> ModuleType:
    """Import a file that is in no package, as Fearless imports plugins."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


seed = load(SHOP / "seed" / "data.py", "shop_seed_data")
transforms = load(PLUGINS / "transforms.py", "shop_transforms")


@cache
def seed_items(table: str) -> tuple[dict[str, Any], ...]:
    """The seed's items, made once."""
    return tuple(seed.items(table))


def source(version: int, folder: Path) -> Path:
    """The shop's source at a version: version 1 is the seed's overlay laid over it."""
    target = folder / f"v{version}"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SHOP / "shop", target / "shop", ignore=ignored)
    if version == 1:
        shutil.copytree(SHOP / "seed" / "overlay", target, dirs_exist_ok=True, ignore=ignored)
    return target


def create_tables(emulator: Emulator) -> dict[str, str]:
    """The three tables, empty, under names of their own."""
    client = emulator.client("dynamodb")
    names = {table: f"{table}-{uuid.uuid4().hex[:8]}" for table in TABLES}
    for name in names.values():
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "store_id", "AttributeType": "S"},
                {"AttributeName": "object_id", "AttributeType": "S"},
            ],
            KeySchema=[
                {"AttributeName": "store_id", "KeyType": "HASH"},
                {"AttributeName": "object_id", "KeyType": "RANGE"},
            ],
        )
    return names


def migrate(table: str, item: Item) -> list[Item]:
    """What the shop's transforms make of an item, as copying does it."""
    items = [item]
    for transform in transforms.transforms():
        if table in transform.tables:
            items = [made for each in items for made in _made(transform.up(each))]
    return items


def _made(answer: Item | Iterable[Item] | None) -> list[Item]:
    if answer is None:
        return []
    return [answer] if isinstance(answer, Item) else list(answer)


def fill(emulator: Emulator, tables: Mapping[str, str], stores: set[str], version: int = 1) -> None:
    """Put the seed's items of a few stores, as they are in a version."""
    client = emulator.client("dynamodb")
    for table, name in tables.items():
        sources = [Item(typed) for typed in seed_items(table) if typed["store_id"]["S"] in stores]
        items = sources if version == 1 else [m for item in sources for m in migrate(table, item)]
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item.typed}} for item in items[start : start + 25]]
            assert not client.batch_write_item(RequestItems={name: puts})["UnprocessedItems"]


READS = ("GetItem", "BatchGetItem", "Query", "Scan", "ConditionCheckItem", "DescribeTable")
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")


def reading(tables: Mapping[str, str]) -> dict[str, Any]:
    """The statement that lets a role read the tables."""
    return _allow(READS, tables)


def writing_test_data(tables: Mapping[str, str]) -> dict[str, Any]:
    """The statement that lets a role write what belongs to test stores."""
    condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["test-*"]}}
    return _allow(WRITES, tables) | {"Condition": condition}


def _allow(actions: Iterable[str], tables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": [f"dynamodb:{action}" for action in actions],
        "Resource": [f"arn:aws:dynamodb:*:*:table/{table}" for table in tables.values()],
    }


def assume(emulator: Emulator, *statements: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of a role that may do just this."""
    iam = emulator.client("iam")
    name = f"shop-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="app", PolicyDocument=_policy(*statements))
    given = emulator.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")
    return {
        "AWS_ACCESS_KEY_ID": given["Credentials"]["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["Credentials"]["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["Credentials"]["SessionToken"],
    }


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Shop:
    """A running shop."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; the status and the decoded answer."""
        status, _, answer = self.ask(method, path, body)
        return status, answer

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Mapping[str, str], Any]:
        """The same, with the headers."""
        status, headers, content = http.request(method, self.url + path, body)
        is_json = headers.get("content-type") == "application/json"
        return status, headers, json.loads(content) if is_json else content.decode()


@contextmanager
def running(
    folder: Path,
    endpoint: str,
    tables: Mapping[str, str],
    credentials: Mapping[str, str] | None = None,
    start_timeout: float = 20,
    **env: str,
) -> Iterator[Shop]:
    """Run `python -m shop` in `folder` until the block ends."""
    port = free_port()
    log = folder / f"shop-{port}.log"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FEARLESS_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "shop"],
        cwd=folder,
        env={
            **inherited,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
            **(ROOT if credentials is None else credentials),
            **{f"TABLE_{table.upper()}": name for table, name in tables.items()},
            **env,
        },
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + start_timeout
        while not _healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the shop did not start: {log.read_text()}")
            time.sleep(0.05)
        yield Shop(process, url)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _healthy(url: str) -> bool:
    try:
        return http.get(f"{url}/healthz")[0] == 200
    except OSError:
        return False
