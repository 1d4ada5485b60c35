"""packer's manifest: which machine image it made."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fearless.errors import FearlessError

_ID = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")


def machine_image(path: Path, region: str) -> str:
    """The id of the one machine image that the last run made, in that region.

    Raises FearlessError when the manifest does not say so.
    """
    try:
        manifest = json.loads(path.read_bytes())
        builds = [
            b for b in manifest["builds"] if b["packer_run_uuid"] == manifest["last_run_uuid"]
        ]
        made = [str(build["artifact_id"]) for build in builds]
    except FileNotFoundError:
        raise FearlessError(
            f'packer wrote no {path.name}: packer/ami.pkr.hcl needs `post-processor "manifest"` '
            "with `output = var.manifest`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise FearlessError(f"{path}: not a manifest of packer's ({error!r})") from None
    places = [place.partition(":") for artifact in made for place in artifact.split(",")]
    ids = [ami for where, _, ami in places if where == region]
    if len(ids) != 1 or len(places) != 1 or not _ID.fullmatch(ids[0]):
        raise FearlessError(
            f"packer made {', '.join(made) or 'nothing'}, and not one machine image in {region}: "
            "packer/ must have one build that makes one"
        )
    return ids[0]
