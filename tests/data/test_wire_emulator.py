"""Against a real engine the client of the data plane does and says what boto3 does and says."""

from __future__ import annotations

import datetime as dt
import json
import threading
import uuid
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from fearless.data.wire import Wire
from fearless.testing.emulator import Emulator

pytestmark = pytest.mark.slow

DIGITS = "1234567890123456789012345678901234567.8"
EVERYTHING: dict[str, Any] = {
    "pk": {"S": "kéy \U0001f600"},
    "sk": {"N": "-0.5"},
    "empty": {"S": ""},
    "digits": {"N": DIGITS},
    "small": {"N": "0.0001"},
    "bytes": {"B": b"\x00\xff\x00\x00"},
    "no_bytes": {"B": b""},
    "yes": {"BOOL": True},
    "none": {"NULL": True},
    "list": {"L": [{"S": "a"}, {"L": []}, {"M": {}}, {"B": b"\x00"}]},
    "map": {"M": {"": {"S": "no name"}, 'q"\\': {"N": "7"}}},
    "strings": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", DIGITS]},
    "binaries": {"BS": [b"\x00", b"a\x00\x00"]},
}
KEY = {"pk": EVERYTHING["pk"], "sk": EVERYTHING["sk"]}
SCHEMA: dict[str, Any] = {
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "N"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}


def as_sent(value: Any) -> Any:
    """What boto3 made of an answer, as it was in the JSON."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, dt.datetime):
        return int(value.timestamp())
    if isinstance(value, dict):
        return {k: as_sent(v) for k, v in value.items() if k != "ResponseMetadata"}
    if isinstance(value, list):
        return [as_sent(member) for member in value]
    return int(value) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def wire(emulator: Emulator) -> Wire:
    return emulator.wire()


@pytest.fixture(scope="module")
def boto(emulator: Emulator) -> Any:
    return emulator.client("dynamodb")


@pytest.fixture
def table(wire: Wire) -> Iterator[str]:
    name = f"wire-{uuid.uuid4().hex[:8]}"
    made = wire.create_table(TableName=name, **SCHEMA)["TableDescription"]
    assert made["TableName"] == name and isinstance(made["CreationDateTime"], int | float)
    yield name
    wire.delete_table(TableName=name)


def both(wire: Wire, boto: Any, method: str, **request: Any) -> Any:
    """The answer of both, which must be the same."""
    ours = getattr(wire, method)(**request)
    assert as_sent(ours) == as_sent(getattr(boto, method)(**request))
    return ours


def test_every_type_goes_and_comes_back_as_with_boto3(wire: Wire, boto: Any, table: str) -> None:
    wire.put_item(TableName=table, Item=EVERYTHING)
    theirs = boto.get_item(TableName=table, Key=KEY, ConsistentRead=True)["Item"]
    assert {**theirs, "binaries": None} == {**EVERYTHING, "binaries": None}
    assert sorted(theirs["binaries"]["BS"]) == sorted(EVERYTHING["binaries"]["BS"])
    ours = both(wire, boto, "get_item", TableName=table, Key=KEY, ConsistentRead=True)["Item"]
    wire.put_item(TableName=table, Item={**ours, "sk": {"N": "1"}})
    again = boto.get_item(TableName=table, Key={**KEY, "sk": {"N": "1"}})["Item"]
    assert as_sent(again) == {**ours, "sk": {"N": "1"}}
    assert ours["bytes"] == {"B": "AP8AAA=="} and ours["digits"] == {"N": DIGITS}


@pytest.fixture
def filled(wire: Wire, table: str) -> str:
    puts = [{"pk": {"S": "p"}, "sk": {"N": str(n)}, "b": {"B": bytes([n])}} for n in range(20)]
    requests = {table: [{"PutRequest": {"Item": item}} for item in puts]}
    assert wire.batch_write_item(RequestItems=requests)["UnprocessedItems"] == {}
    return table


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("scan", {"ConsistentRead": True}),
        ("scan", {"Limit": 7, "TotalSegments": 2, "Segment": 0, "ReturnConsumedCapacity": "TOTAL"}),
        ("scan", {"Select": "COUNT"}),
        ("get_item", {"Key": {"pk": {"S": "absent"}, "sk": {"N": "1"}}}),
        (
            "query",
            {
                "KeyConditionExpression": "pk = :p AND sk > :n",
                "ExpressionAttributeValues": {":p": {"S": "p"}, ":n": {"N": "3"}},
                "ScanIndexForward": False,
                "Limit": 5,
            },
        ),
        (
            "update_item",
            {
                "Key": {"pk": {"S": "p"}, "sk": {"N": "1"}},
                "UpdateExpression": "SET b = :b",
                "ExpressionAttributeValues": {":b": {"B": b"x\x00"}},
                "ReturnValues": "ALL_NEW",
            },
        ),
        ("put_item", {"Item": {"pk": {"S": "p"}, "sk": {"N": "1"}}}),
        ("delete_item", {"Key": {"pk": {"S": "p"}, "sk": {"N": "99"}}, "ReturnValues": "ALL_OLD"}),
        ("describe_table", {}),
        ("describe_time_to_live", {}),
        ("describe_continuous_backups", {}),
    ],
)
def test_operations_answer_as_boto3_says(
    wire: Wire, boto: Any, filled: str, method: str, request_: dict[str, Any]
) -> None:
    both(wire, boto, method, TableName=filled, **request_)


def test_batches_and_transactions_too(wire: Wire, boto: Any, filled: str) -> None:
    keys = [{"pk": {"S": "p"}, "sk": {"N": str(n)}} for n in (3, 4, 99)]
    found = both(wire, boto, "batch_get_item", RequestItems={filled: {"Keys": keys}})
    assert len(found["Responses"][filled]) == 2
    put = {"Put": {"TableName": filled, "Item": {**keys[0], "b": {"B": b"t\x00"}}}}
    both(wire, boto, "transact_write_items", TransactItems=[put])
    gets = [{"Get": {"TableName": filled, "Key": keys[0]}}]
    read = both(wire, boto, "transact_get_items", TransactItems=gets)
    assert read["Responses"][0]["Item"]["b"] == {"B": "dAA="}


def test_tables_are_changed(wire: Wire, boto: Any, table: str) -> None:
    wire.update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    described = both(wire, boto, "describe_time_to_live", TableName=table)
    assert described["TimeToLiveDescription"]["AttributeName"] == "ttl"
    wire.update_table(TableName=table, DeletionProtectionEnabled=True)
    with pytest.raises(ClientError) as caught:
        wire.delete_table(TableName=table)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    wire.update_table(TableName=table, DeletionProtectionEnabled=False)
    assert table in listed(wire)


def listed(wire: Wire) -> set[str]:
    """Every table there is: those of other tests too, so there may be many pages."""
    page = wire.list_tables()
    found = set(page["TableNames"])
    while last := page.get("LastEvaluatedTableName"):
        page = wire.list_tables(ExclusiveStartTableName=last)
        found |= set(page["TableNames"])
    return found


def refused(client: Any, method: str, request: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        getattr(client, method)(**request)
    response: dict[str, Any] = dict(caught.value.response)
    status = response.pop("ResponseMetadata")["HTTPStatusCode"]
    response = {k: as_sent(v) for k, v in response.items() if k.lower() != "message"}
    return {**response, "status": status, "text": str(caught.value)}


CONDITION = {"Item": {"pk": {"S": "p"}, "sk": {"N": "1"}}, "ConditionExpression": "b = :no"}


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        (
            "put_item",
            {
                **CONDITION,
                "ExpressionAttributeValues": {":no": {"B": b"no"}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            },
            "ConditionalCheckFailedException",
        ),
        ("put_item", {"Item": {"pk": {"N": "1"}, "sk": {"N": "1"}}}, "ValidationException"),
        ("scan", {"TableName": "no-such-table"}, "ResourceNotFoundException"),
    ],
)
def test_refusals_are_as_boto3_raises_them(
    wire: Wire, boto: Any, filled: str, method: str, request_: dict[str, Any], code: str
) -> None:
    request = {"TableName": filled, **request_}
    ours = refused(wire, method, request)
    assert ours == refused(boto, method, request) and ours["Error"]["Code"] == code
    if code.startswith("Cond"):
        assert ours["Item"]["b"] == {"B": "AQ=="}


def test_a_cancelled_transaction_says_why(wire: Wire, boto: Any, filled: str) -> None:
    failing = {
        "TableName": filled,
        **CONDITION,
        "ExpressionAttributeValues": {":no": {"B": b"no"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    request = {"TransactItems": [{"Put": failing}]}
    ours = refused(wire, "transact_write_items", request)
    assert ours == refused(boto, "transact_write_items", request)
    assert ours["CancellationReasons"][0]["Code"] == "ConditionalCheckFailed"


def test_a_stream_is_read(emulator: Emulator, wire: Wire, filled: str) -> None:
    ours, theirs = emulator.wire("streams"), emulator.client("dynamodbstreams")
    wire.put_item(TableName=filled, Item=EVERYTHING)
    arn = wire.describe_table(TableName=filled)["Table"]["LatestStreamArn"]
    both(ours, theirs, "list_streams", TableName=filled)
    stream = both(ours, theirs, "describe_stream", StreamArn=arn)["StreamDescription"]
    iterator = ours.get_shard_iterator(
        StreamArn=arn, ShardId=stream["Shards"][0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = ours.get_records(ShardIterator=iterator)["Records"]
    assert records == as_sent(theirs.get_records(ShardIterator=iterator)["Records"])
    assert len(records) == 21
    change = records[-1]["dynamodb"]
    assert change["NewImage"]["bytes"] == {"B": "AP8AAA=="}
    assert isinstance(change["ApproximateCreationDateTime"], int | float)
    assert isinstance(change["SequenceNumber"], str)


def test_a_signature_is_accepted_with_the_right_secret_only(emulator: Emulator, table: str) -> None:
    iam, user = emulator.client("iam"), f"wire-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=user)
    allow = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    right = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    assert emulator.wire(credentials=right).scan(TableName=table)["Count"] == 0
    wrong = Credentials(key["AccessKeyId"], key["SecretAccessKey"][::-1])
    with pytest.raises(ClientError) as caught:
        emulator.wire(credentials=wrong).scan(TableName=table)
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"


def test_a_session_of_a_role_signs_with_its_token(emulator: Emulator, table: str) -> None:
    iam, role = emulator.client("iam"), f"wire-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(
        RoleName=role, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=role, PolicyName="scan", PolicyDocument=document)
    given = emulator.client("sts").assume_role(RoleArn=arn, RoleSessionName="session")[
        "Credentials"
    ]
    session = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    wire = emulator.wire(credentials=session)
    assert wire.scan(TableName=table)["Count"] == 0
    with pytest.raises(ClientError) as caught:
        wire.delete_item(TableName=table, Key=KEY)
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_eight_threads_write_and_read_their_own(wire: Wire, table: str) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for index in range(50):
            item = {"pk": {"S": f"t{number}"}, "sk": {"N": str(index)}}
            wire.put_item(TableName=table, Item=item)
            if wire.get_item(TableName=table, Key=item, ConsistentRead=True)["Item"] != item:
                wrong.append(item)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and wire.scan(TableName=table, Select="COUNT")["Count"] == 400
