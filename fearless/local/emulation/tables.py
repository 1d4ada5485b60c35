"""DynamoDB tables: what a template says is honoured, and streams outlive a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fearless.local.emulation.handlers import after, before_delete

TABLE = "AWS::DynamoDB::Table"
STREAMS = ("_stream_records", "_stream_trimmed", "_closed_streams")
COUNTER = "_stream_seq_counter"
"""What MiniStack knows of streams, and does not save by itself."""


def install() -> None:
    """Honour TTL, PITR and deletion protection, and keep streams with the rest of the state."""
    from ministack.services import dynamodb

    def honour(name: str, properties: Mapping[str, Any], attributes: Any) -> dict[str, Any]:
        recovery = properties.get("PointInTimeRecoverySpecification") or {}
        dynamodb._pitr_settings[name] = _true(recovery.get("PointInTimeRecoveryEnabled", False))
        expiry = properties.get("TimeToLiveSpecification") or {}
        enabled = _true(expiry.get("Enabled", False))
        attribute = expiry.get("AttributeName", "")
        dynamodb._ttl_settings[name] = {
            "TimeToLiveStatus": "ENABLED" if enabled else "DISABLED",
            "AttributeName": attribute if enabled else "",
        }
        table = dynamodb._tables[name]
        table["DeletionProtectionEnabled"] = _true(table.get("DeletionProtectionEnabled"))
        if encryption := properties.get("SSESpecification"):
            table["SSEDescription"] = dynamodb._sse_description_from_spec(
                {"Enabled": _true(encryption.get("SSEEnabled")), **encryption}
            )
        if arn := table.get("LatestStreamArn"):
            table["LatestStreamLabel"] = arn.rpartition("/stream/")[2]
        return dict(attributes)

    def refuse_protected(name: str) -> None:
        if (dynamodb._tables.get(name) or {}).get("DeletionProtectionEnabled"):
            raise ValueError(
                f"Resource cannot be deleted as it is currently protected against deletion. "
                f"Disable deletion protection first: {name}"
            )

    save, restore = dynamodb.get_state, dynamodb.load_persisted_state

    def get_state() -> dict[str, Any]:
        streams = {name: getattr(dynamodb, name) for name in STREAMS}
        return {**save(), **streams, COUNTER: getattr(dynamodb, COUNTER)}

    def load_persisted_state(state: Mapping[str, Any]) -> None:
        restore(state)
        if COUNTER in state:
            for name in STREAMS:
                getattr(dynamodb, name).update(state[name])
            setattr(dynamodb, COUNTER, int(state[COUNTER]))
            return
        for table in dynamodb._tables.all_values():
            renew_stream(table, dynamodb._stream_label())

    after(TABLE, honour)
    before_delete(TABLE, refuse_protected)
    dynamodb.get_state = get_state
    dynamodb.load_persisted_state = load_persisted_state


def renew_stream(table: dict[str, Any], label: str) -> None:
    """Give an enabled stream a new ARN: its records are gone, so no old position is valid."""
    if (table.get("StreamSpecification") or {}).get("StreamEnabled"):
        table["LatestStreamLabel"] = label
        table["LatestStreamArn"] = f"{table['TableArn']}/stream/{label}"


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
