"""ECR: repositories some of whose tags may move, and deleting one tag of several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

EXCLUSION = "IMMUTABLE_WITH_EXCLUSION"
FILTERS = "imageTagMutabilityExclusionFilters"


def install() -> None:
    """Keep and enforce the filters of IMMUTABLE_WITH_EXCLUSION; let a tag be deleted alone."""
    from ministack.services import ecr

    create, shape, put = ecr._create_repository, ecr._repo_shape, ecr._v2_put_manifest
    mutability, delete = ecr._put_image_tag_mutability, ecr._batch_delete_image

    def create_repository(data: Mapping[str, Any]) -> Any:
        return remember(data, create(data))

    def put_image_tag_mutability(data: Mapping[str, Any]) -> Any:
        return remember(data, mutability(data))

    def remember(data: Mapping[str, Any], answer: Any) -> Any:
        if answer[0] == 200:
            ecr._repositories[data["repositoryName"]][FILTERS] = list(data.get(FILTERS, ()))
        return answer

    def repo_shape(repository: Mapping[str, Any]) -> dict[str, Any]:
        return {**shape(repository), FILTERS: repository.get(FILTERS, [])}

    def put_manifest(name: str, reference: str, headers: Any, body: bytes) -> Any:
        repository = ecr._repositories.get(name) or {}
        if repository.get("imageTagMutability") == EXCLUSION:
            patterns = [entry["filter"] for entry in repository.get(FILTERS, ())]
            held, _, _ = ecr._resolve_manifest(name, reference)
            moves = held not in (None, ecr._content_digest(body)) and held != reference
            if moves and not any(fnmatchcase(reference, pattern) for pattern in patterns):
                return ecr._registry_error(
                    400,
                    "TAG_INVALID",
                    f"The image tag '{reference}' already exists and is immutable",
                )
        return put(name, reference, headers, body)

    def batch_delete_image(data: Mapping[str, Any]) -> Any:
        name = data.get("repositoryName", "")
        wanted: list[Mapping[str, Any]] = []
        rest: list[Mapping[str, Any]] = []
        for entry in data.get("imageIds", ()):
            image, tag = ecr._find_image(name, entry), entry.get("imageTag")
            several = image is not None and len(image.get("imageTags", ())) > 1
            (rest if several and tag and not entry.get("imageDigest") else wanted).append(entry)
        status, headers, body = delete({**data, "imageIds": wanted})
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        for entry in rest:
            image = ecr._find_image(name, entry)
            image["imageTags"].remove(entry["imageTag"])
            image["imageId"]["imageTag"] = image["imageTags"][0]
            answer["imageIds"].append({**entry, "imageDigest": image["imageDigest"]})
        return ecr.json_response(answer)

    ecr._create_repository, ecr._repo_shape = create_repository, repo_shape
    ecr._v2_put_manifest, ecr._batch_delete_image = put_manifest, batch_delete_image
    ecr._put_image_tag_mutability = put_image_tag_mutability
