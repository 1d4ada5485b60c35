"""Reads and writes of the three tables. Knows DynamoDB; the items' shape is schema.py's."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from shop import schema
from shop.errors import Busy, NotFound, WritesPaused
from shop.model import Order, Product, Store

DENIED = ("AccessDeniedException", "AccessDenied")
ATTEMPTS = 5


def connect(region: str) -> Any:
    """A DynamoDB client that gives up well before the load balancer does."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb",
        region_name=region,
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            max_pool_connections=32,
            retries={"mode": "standard", "max_attempts": 3},
        ),
    )


class Database:
    """The shop's stores, products and orders. Every read is consistent."""

    def __init__(
        self, client: Any, tables: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._tables = tables
        self._sleep = sleep

    def ping(self) -> None:
        """Read one key that does not exist; raises Busy when the table cannot be read."""
        self._get("stores", "test-healthz", schema.STORE)

    # ------------------------------------------------------------------------ stores

    def stores(self) -> list[Store]:
        """Every store, test stores included, by id."""
        items = self._pages("scan", TableName=self._tables["stores"], ConsistentRead=True)
        stores = [schema.read_store(item) for item in items if item["object_id"] == schema.STORE]
        return sorted(stores, key=lambda store: store.id)

    def store(self, store_id: str) -> Store:
        """One store, or NotFound."""
        item = self._get("stores", store_id, schema.STORE)
        if item is None:
            raise NotFound(f"no store {store_id!r}")
        return schema.read_store(item)

    def add_store(self, store: Store) -> bool:
        """Keep a new store; False when there is one of that id already."""
        return self._put_new("stores", schema.store_item(store))

    # ---------------------------------------------------------------------- products

    def products(self, store_id: str, limit: int) -> list[Product]:
        """The first products of a store, by id."""
        items = self._query("products", store_id, Limit=limit)
        return [schema.read_product(item) for item in islice(items, limit)]

    def product(self, store_id: str, product_id: str) -> Product:
        """One product, or NotFound."""
        item = self._get("products", store_id, product_id)
        if item is None:
            raise NotFound(f"store {store_id!r} has no product {product_id!r}")
        return schema.read_product(item)

    def add_product(self, store_id: str, product: Product) -> bool:
        """Keep a new product; False when there is one of that id already."""
        return self._put_new("products", schema.product_item(store_id, product))

    def set_price(self, store_id: str, product_id: str, price: Decimal) -> None:
        """Change what a product costs from now on."""
        if not self._set("products", store_id, product_id, "price", price):
            raise NotFound(f"store {store_id!r} has no product {product_id!r}")

    # ------------------------------------------------------------------------ orders

    def orders(self, store_id: str, limit: int) -> list[Order]:
        """The newest orders of a store: by id, the highest first."""
        items = self._query("orders", store_id, ScanIndexForward=False, Limit=limit * 3)
        return list(islice(schema.read_orders(items), limit))

    def order(self, store_id: str, order_id: str) -> Order:
        """One order with all of its lines, or NotFound."""
        for _ in range(ATTEMPTS):
            item = self._order_item(store_id, order_id)
            wanted = schema.line_ids(item)
            others = self._get_all("orders", store_id, wanted)
            if len(others) == len(wanted):
                return schema.read_order(item, others)
        raise Busy("the order is being changed by another request")

    def place(self, store_id: str, order: Order) -> tuple[Order, bool]:
        """Keep a new order, all of its items or none; `(order, False)` if it was placed before."""
        first, *rest = schema.order_items(store_id, order)
        table = self._tables["orders"]
        placed = self._transact(
            {
                "Put": {
                    "TableName": table,
                    "Item": _typed(first),
                    "ConditionExpression": "attribute_not_exists(object_id)",
                }
            },
            *({"Put": {"TableName": table, "Item": _typed(item)}} for item in rest),
        )
        return (order, True) if placed else (self.order(store_id, order.id), False)

    def set_status(self, store_id: str, order_id: str, status: str) -> None:
        """Move an order along."""
        if not self._set("orders", store_id, order_id, "status", status):
            raise NotFound(f"store {store_id!r} has no order {order_id!r}")

    def cancel(self, store_id: str, order_id: str) -> None:
        """Delete an order with all of its items."""
        item = self._order_item(store_id, order_id)
        names = [order_id, *schema.line_ids(item)]
        if not self._transact(*(self._deletion(store_id, name, order_id) for name in names)):
            raise NotFound(f"store {store_id!r} has no order {order_id!r}")

    def _order_item(self, store_id: str, order_id: str) -> schema.Item:
        item = self._get("orders", store_id, order_id)
        if item is None:
            raise NotFound(f"store {store_id!r} has no order {order_id!r}")
        return item

    def _deletion(self, store_id: str, object_id: str, order_id: str) -> dict[str, Any]:
        delete = {
            "TableName": self._tables["orders"],
            "Key": _typed(schema.key(store_id, object_id)),
        }
        if object_id == order_id:
            delete["ConditionExpression"] = "attribute_exists(object_id)"
        return {"Delete": delete}

    # ------------------------------------------------------------------- the requests

    def _get(self, table: str, store_id: str, object_id: str) -> schema.Item | None:
        answer = self._read(
            "get_item",
            TableName=self._tables[table],
            Key=_typed(schema.key(store_id, object_id)),
            ConsistentRead=True,
        )
        return _plain(answer["Item"]) if "Item" in answer else None

    def _get_all(self, table: str, store_id: str, object_ids: list[str]) -> list[schema.Item]:
        """Those of up to 100 items that there are, in any order."""
        items: list[schema.Item] = []
        name = self._tables[table]
        keys = [_typed(schema.key(store_id, object_id)) for object_id in object_ids]
        for attempt in range(ATTEMPTS):
            if not keys:
                return items
            if attempt:
                self._sleep(_backoff(attempt))
            request = {name: {"Keys": keys, "ConsistentRead": True}}
            answer = self._read("batch_get_item", RequestItems=request)
            items += map(_plain, answer["Responses"].get(name, ()))
            keys = answer.get("UnprocessedKeys", {}).get(name, {}).get("Keys", [])
        raise Busy("the database is overloaded")

    def _query(self, table: str, store_id: str, **more: Any) -> Iterator[schema.Item]:
        return self._pages(
            "query",
            TableName=self._tables[table],
            KeyConditionExpression="store_id = :s",
            ExpressionAttributeValues={":s": {"S": store_id}},
            ConsistentRead=True,
            **more,
        )

    def _pages(self, operation: str, **request: Any) -> Iterator[schema.Item]:
        start: dict[str, Any] = {}
        while True:
            answer = self._read(operation, **request, **start)
            yield from map(_plain, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _read(self, operation: str, **request: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**request)
        except (ClientError, BotoCoreError) as error:
            raise Busy(f"the database did not answer {operation}") from error
        return answer

    def _put_new(self, table: str, item: schema.Item) -> bool:
        return self._write(
            "put_item",
            TableName=self._tables[table],
            Item=_typed(item),
            ConditionExpression="attribute_not_exists(object_id)",
        )

    def _set(self, table: str, store_id: str, object_id: str, name: str, value: Any) -> bool:
        return self._write(
            "update_item",
            TableName=self._tables[table],
            Key=_typed(schema.key(store_id, object_id)),
            UpdateExpression="SET object_value.#name = :value",
            ConditionExpression="attribute_exists(object_id)",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues=_typed({":value": value}),
        )

    def _transact(self, *changes: dict[str, Any]) -> bool:
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(_backoff(attempt))
            try:
                return self._write("transact_write_items", TransactItems=list(changes))
            except _Conflict:
                continue
        raise Busy("the order is being changed by another request")

    def _write(self, operation: str, **request: Any) -> bool:
        """Send it; False when its condition does not hold."""
        try:
            getattr(self._client, operation)(**request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in DENIED:
                raise WritesPaused from error
            reasons = {r.get("Code") for r in error.response.get("CancellationReasons", ())}
            if "ConditionalCheckFailed" in reasons or code == "ConditionalCheckFailedException":
                return False
            if "TransactionConflict" in reasons:
                raise _Conflict from error
            raise Busy(f"the database did not accept {operation}") from error
        except BotoCoreError as error:
            raise Busy(f"the database did not answer {operation}") from error
        return True


class _Conflict(Exception):
    """Two transactions met on one item; the later one may be tried again."""


def _backoff(attempt: int) -> float:
    return random.uniform(0, 0.05 * 2**attempt)


def _typed(item: Mapping[str, Any]) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def _plain(item: Mapping[str, Any]) -> schema.Item:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}
