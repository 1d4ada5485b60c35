"""The IAM condition key `dynamodb:LeadingKeys`, per table and action as AWS evaluates it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

KEY = "dynamodb:LeadingKeys"
EC2 = "ec2.amazonaws.com"
TRANSACTED = {
    "Put": ("dynamodb:PutItem", "Item"),
    "Update": ("dynamodb:UpdateItem", "Key"),
    "Delete": ("dynamodb:DeleteItem", "Key"),
    "Get": ("dynamodb:GetItem", "Key"),
    "ConditionCheck": ("dynamodb:ConditionCheckItem", "Key"),
}
HashKey = Callable[[str], "str | None"]


def leading_keys(request: Mapping[str, Any], hash_key: HashKey) -> Iterator[tuple[str, str, str]]:
    """`(table, action or "", partition key value)` of every item a request names.

    `hash_key(table)` is the name of the table's partition key, None for an unknown table.
    """
    for table, action, item in _items(request):
        value = item.get(hash_key(table) or "")
        if isinstance(value, dict) and value:
            yield table, action, str(next(iter(value.values())))
    name = request.get("TableName")
    if isinstance(name, str) and not request.get("IndexName"):
        queried = _queried(request, hash_key(name) or "")
        if queried is not None:
            yield name, "", queried


def _items(request: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    table = request.get("TableName")
    for part in ("Key", "Item"):
        if isinstance(table, str) and isinstance(request.get(part), dict):
            yield table, "", request[part]
    batches = request.get("RequestItems")
    for name, batch in batches.items() if isinstance(batches, dict) else ():
        if isinstance(batch, dict):
            yield from ((name, "", key) for key in batch.get("Keys", []))
        else:
            for entry in batch:
                yield name, "", (entry.get("PutRequest") or {}).get("Item") or {}
                yield name, "", (entry.get("DeleteRequest") or {}).get("Key") or {}
    for entry in request.get("TransactItems") or []:
        for member, (action, part) in TRANSACTED.items():
            if detail := entry.get(member):
                yield detail.get("TableName", ""), action, detail.get(part) or {}


def _queried(request: Mapping[str, Any], key: str) -> str | None:
    """The partition key value a Query asks for."""
    names = request.get("ExpressionAttributeNames") or {}
    values = request.get("ExpressionAttributeValues") or {}
    for name, value in re.findall(
        r"([#\w.-]+)\s*=\s*(:\w+)", request.get("KeyConditionExpression") or ""
    ):
        if names.get(name, name) == key and value in values:
            return str(next(iter(values[value].values())))
    condition = (request.get("KeyConditions") or {}).get(key) or {}
    for value in condition.get("AttributeValueList") or []:
        return str(next(iter(value.values())))
    return None


def instance_credentials(role_arn: str, session: str) -> dict[str, str]:
    """What EC2's metadata service gives an instance whose profile has that role.

    Raises PermissionError when there is no such role or it does not trust EC2.
    """
    from ministack.core import iam_evaluator
    from ministack.services import iam, sts

    role = iam._roles.get(role_arn.rpartition("/")[2])
    if role is None:
        raise PermissionError(f"there is no role {role_arn}")
    document = role["AssumeRolePolicyDocument"]
    trust = json.loads(document) if isinstance(document, str) else document
    statements = trust.get("Statement", [])
    if not any(
        statement.get("Effect") == "Allow"
        and iam_evaluator._service_principal_matches(statement.get("Principal"), EC2)
        for statement in (statements if isinstance(statements, list) else [statements])
    ):
        raise PermissionError(f"{role_arn} does not trust {EC2}")
    seconds = 3600
    issued = {
        "AccessKeyId": sts._gen_session_access_key(),
        "SecretAccessKey": sts._gen_secret(),
        "Token": sts._gen_session_token(),
        "Expiration": sts._future(seconds),
    }
    assumed, _ = sts._assumed_role_arn(role_arn, session)
    sts.register_session(
        issued["AccessKeyId"],
        {
            "Arn": assumed,
            "UserId": f"{sts._role_id(role_arn)}:{session}",
            "SecretAccessKey": issued["SecretAccessKey"],
            "SessionToken": issued["Token"],
            "Expiration": time.time() + seconds,
            "AccountId": role_arn.split(":")[4],
            "PrincipalType": "AssumedRole",
        },
    )
    return issued


def install() -> None:
    """Give IAM evaluation the keys each DynamoDB request addresses."""
    from ministack.core import iam_actions, iam_evaluator
    from ministack.services import dynamodb

    describe, enforce = iam_actions.dynamodb_service_context, iam_evaluator.enforce

    def hash_key(table: str) -> str | None:
        found = dynamodb._tables.get(table.rpartition("/")[2])
        return found["pk_name"] if found else None

    def service_context(body: bytes) -> dict[str, Any]:
        context = dict(describe(body))
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            return context
        if isinstance(request, dict):
            context[KEY] = list(leading_keys(request, hash_key))
        return context

    def enforce_with_keys(
        access_key: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Mapping[str, Any] | None = None,
    ) -> Any:
        context = dict(service_context or {})
        table = resource_arn.partition(":table/")[2].partition("/")[0]
        values = [
            value
            for name, only, value in context.pop(KEY, [])
            if name.rpartition("/")[2] == table and only in ("", action)
        ]
        if values:
            context[KEY] = values
        return enforce(access_key, action, service, region, resource_arn, context)

    iam_actions.dynamodb_service_context = service_context
    iam_evaluator.enforce = enforce_with_keys
