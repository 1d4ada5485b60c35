"""A build by the engine's own builder, through its API."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from fearless.builtin.builds.order import Order
from fearless.builtin.builds.progress import BuildFailed, Progress, Step, one_line

if TYPE_CHECKING:
    from docker import DockerClient
    from requests import Response

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)", re.DOTALL)
_CACHED = "---> Using cache"
_NOISE = ("--->", "Removing intermediate", "Successfully built", "Successfully tagged")


def options(order: Order) -> dict[str, Any]:
    """The order as the API takes it, but for the labels and the tag."""
    return {
        "dockerfile": order.dockerfile,
        "buildargs": dict(order.args),
        "target": order.target,
        "cache_from": list(order.cache_from),
        "nocache": order.nocache,
        "network_mode": order.network,
        "timeout": order.timeout,
        "rm": True,
        "forcerm": True,
    }


def labelled(image_id: str, labels: Mapping[str, str]) -> str:
    """A Dockerfile that adds labels to an image in one step. The API's own `labels` make a step of
    each, after the cached ones of every build of a new commit."""
    quoted = {name: re.sub(r'(["\\$])', r"\\\1", value) for name, value in labels.items()}
    pairs = " ".join(f'"{name}"="{value}"' for name, value in quoted.items())
    return f"FROM {image_id}\nLABEL {pairs}\n" if pairs else f"FROM {image_id}\n"


class Classic:
    """Runs one build and reads its events. The engine stops a build whose client goes away: the
    container of the step is removed, and nothing is tagged before the last step."""

    def __init__(self, order: Order, progress: Progress) -> None:
        self.order = order
        self.progress = progress
        self.step: Step | None = None
        self.image_id = ""
        keywords = [instruction.keyword for instruction in order.instructions]
        self._above_from = keywords.index("FROM")

    def run(self, client: DockerClient) -> str:
        """Build; the image's id. Raises BuildFailed."""
        from docker.errors import APIError, DockerException
        from urllib3.exceptions import HTTPError

        broken = ""
        with self.order.archive.open("rb") as file, _hanging_up(client, self.order.timeout) as late:
            try:
                for event in client.api.build(
                    fileobj=file, custom_context=True, decode=True, **options(self.order)
                ):
                    self.read(event)
                if self.image_id:
                    return self._labelled(client)
            except APIError as error:
                raise self.progress.interrupted(
                    f"the Docker engine refused: {error.explanation or error}"
                ) from error
            except (DockerException, HTTPError, OSError) as error:
                broken = one_line(error) or type(error).__name__
        if late.is_set():
            raise self.progress.late(self.order.timeout)
        raise self.progress.lost(broken)

    def _labelled(self, client: DockerClient) -> str:
        """The image with its labels, tagged: the same one for the same labels."""
        image_id = ""
        text = labelled(self.image_id, self.order.labels)
        for event in client.api.build(
            fileobj=BytesIO(text.encode()), tag=self.order.tag, decode=True, rm=True, forcerm=True
        ):
            if "error" in event:
                raise self._failure(event)
            image_id = event.get("aux", {}).get("ID", image_id)
        return image_id

    def read(self, event: Mapping[str, Any]) -> None:
        """Take in one event; raises BuildFailed when it says so."""
        text = str(event.get("stream") or event.get("status") or event.get("error") or "")
        if text:
            self.progress.write(text)
        if "error" in event:
            raise self._failure(event)
        self._said(text.strip())
        self.image_id = event.get("aux", {}).get("ID", self.image_id)

    def _said(self, text: str) -> None:
        match = _STEP.match(text)
        if match:
            number, total = int(match[1]), int(match[2])
            lines = self.order.instructions
            instruction = lines[number - 1] if number <= len(lines) else None
            self.step = self.progress.begin(number, one_line(match[3]), instruction, number, total)
            self.step.counts &= number > self._above_from
        elif self.step is not None and text == _CACHED:
            self.step.cached = True
        elif self.step is not None and text and not text.startswith(_NOISE):
            self.step.said.extend(text.splitlines())

    def _failure(self, event: Mapping[str, Any]) -> BuildFailed:
        code = (event.get("errorDetail") or {}).get("code")
        return self.progress.failure(f"exit code {code}" if code else event["error"], self.step)


@contextmanager
def _hanging_up(client: DockerClient, seconds: float) -> Iterator[threading.Event]:
    """Hang up on the engine when the block is left, and after so many seconds: then the event is
    set. It ends a read that waits for a silent step, which no timeout of a read would in time."""
    answers: list[Response] = []
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        for answer in answers:
            answer.raw.shutdown()

    def remember(answer: Response, **_: object) -> None:
        answers.append(answer)

    hooks = client.api.hooks["response"]
    hooks.append(remember)
    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        hooks.remove(remember)
        for answer in answers:
            answer.close()
