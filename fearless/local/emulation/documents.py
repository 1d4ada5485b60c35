"""SSM documents: the API, the CloudFormation type, and their place in the saved state."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from fearless.local.emulation.handlers import register

Response = tuple[int, dict[str, str], bytes]
STATE_KEY = "fearless_documents"


class Documents:
    """Every version of every document, by account and region."""

    def __init__(self) -> None:
        from ministack.core.responses import AccountRegionScopedDict

        self.versions: Any = AccountRegionScopedDict()

    def put(self, name: str, content: Any, format: str = "JSON", kind: str = "Command") -> None:
        """Add a version. `content` is text, or the mapping a template gives."""
        text = content if isinstance(content, str) else json.dumps(content)
        version = {"content": text, "format": format, "kind": kind, "at": time.time()}
        self.versions[name] = [*self.versions.get(name, []), version]

    def describe(self, name: str) -> dict[str, Any]:
        """A `DocumentDescription`."""
        from ministack.core.responses import get_account_id

        versions = self.versions[name]
        latest = versions[-1]
        return {
            "Name": name,
            "DocumentType": latest["kind"],
            "DocumentFormat": latest["format"],
            "DocumentVersion": str(len(versions)),
            "LatestVersion": str(len(versions)),
            "DefaultVersion": "1",
            "Status": "Active",
            "CreatedDate": latest["at"],
            "Owner": get_account_id(),
            "Hash": hashlib.sha256(latest["content"].encode()).hexdigest(),
            "HashType": "Sha256",
            "SchemaVersion": "2.2",
        }

    def answer(self, action: str, request: Mapping[str, Any]) -> Response:
        """Serve one `*Document` or `ListDocuments` call."""
        from ministack.core.responses import error_response_json, json_response

        def fail(code: str, message: str) -> Response:
            response: Response = error_response_json(code, message, 400)
            return response

        def say(body: Mapping[str, Any]) -> Response:
            response: Response = json_response(body)
            return response

        name = request.get("Name", "")
        if action == "ListDocuments":
            return say({"DocumentIdentifiers": [self.describe(n) for n in self.versions]})
        if action == "CreateDocument":
            if name in self.versions:
                return fail("DocumentAlreadyExists", f"Document {name} already exists")
            kind = request.get("DocumentType", "Command")
            self.put(name, request["Content"], request.get("DocumentFormat", "JSON"), kind)
            return say({"DocumentDescription": self.describe(name)})
        if name not in self.versions:
            return fail("InvalidDocument", f"Document {name} does not exist")
        if action == "UpdateDocument":
            self.put(name, request["Content"], request.get("DocumentFormat", "JSON"))
            return say({"DocumentDescription": self.describe(name)})
        if action == "DescribeDocument":
            return say({"Document": self.describe(name)})
        if action == "GetDocument":
            latest = self.versions[name][-1]
            about = self.describe(name)
            kept = ("Name", "DocumentVersion", "DocumentFormat", "DocumentType", "Status")
            return say({"Content": latest["content"], **{key: about[key] for key in kept}})
        if action == "DeleteDocument":
            self.versions.pop(name)
            return say({})
        return fail("InvalidAction", f"Unknown action: {action}")


def install() -> None:
    """Serve documents from SSM, and save them with its state."""
    from ministack.services import ssm
    from ministack.services.cloudformation import provisioners

    documents = Documents()
    serve, save, restore, clear = (
        ssm.handle_request,
        ssm.get_state,
        ssm.load_persisted_state,
        ssm.reset,
    )

    async def handle_request(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any
    ) -> Any:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if action.endswith(("Document", "Documents")):
            return documents.answer(action, json.loads(body or b"{}"))
        return await serve(method, path, headers, body, query)

    def get_state() -> dict[str, Any]:
        return {**save(), STATE_KEY: documents.versions}

    def load_persisted_state(state: Mapping[str, Any]) -> None:
        restore(state)
        documents.versions.update(state.get(STATE_KEY, {}))

    def reset() -> None:
        clear()
        documents.versions.clear()

    ssm.handle_request, ssm.get_state = handle_request, get_state
    ssm.load_persisted_state, ssm.reset = load_persisted_state, reset

    def create(logical_id: str, properties: Any, stack: str) -> tuple[str, dict[str, Any]]:
        name = properties.get("Name") or provisioners._physical_name(stack, logical_id)
        if name in documents.versions:
            raise ValueError(f"Document {name} already exists")
        documents.put(
            name,
            properties["Content"],
            properties.get("DocumentFormat", "JSON"),
            properties.get("DocumentType", "Command"),
        )
        return name, {}

    def update(physical_id: str, _old: Any, new: Any, *_: Any) -> tuple[str, dict[str, Any]]:
        documents.put(physical_id, new["Content"], new.get("DocumentFormat", "JSON"))
        return physical_id, {}

    def delete(physical_id: str, _properties: Any) -> None:
        documents.versions.pop(physical_id, None)

    register("AWS::SSM::Document", {"create": create, "update": update, "delete": delete})
