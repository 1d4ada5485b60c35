"""Sending requests as a customer: failures are counted, paused writes wait, writes are booked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fearless.local.traffic.book import Book, difference
from fearless.local.traffic.client import Answer, Client, Unanswered
from fearless.local.traffic.tally import Tally


@dataclass(frozen=True)
class Write:
    """A write: the request, the path that shows its outcome, and what must be read back there.

    `fields` picks from what `shows` answers; None when the path must be gone.
    """

    kind: str
    method: str
    path: str
    body: Mapping[str, Any] | None
    shows: str
    fields: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None


class Desk:
    """One customer's requests. `patience` is how long, in seconds, a paused write is retried."""

    def __init__(
        self,
        client: Client,
        book: Book,
        tally: Tally,
        stop: threading.Event,
        clock: Callable[[], float],
        patience: float = 60.0,
    ) -> None:
        self.client = client
        self._book = book
        self._tally = tally
        self._stop = stop
        self._clock = clock
        self._patience = patience

    def read(self, path: str, needs: str) -> Mapping[str, Any] | None:
        """GET a JSON object that has `needs`; None when it is not what comes back."""
        answer = self._get(path, (200,))
        if answer is None:
            return None
        shown = answer.json
        if not isinstance(shown, dict) or needs not in shown:
            self._tally.failed("GET", path, f"the answer has no {needs!r}")
            return None
        return shown

    def view(self, path: str) -> None:
        """GET a page for people."""
        self._get(path, (200,))

    def write(self, write: Write) -> Mapping[str, Any] | None:
        """Send it until it is taken. What must be read back from now on; None if it failed."""
        self._book.writing(write.shows)
        answer = self._patiently(write)
        if answer is None:
            self._resolve(write)
            return None
        shown = answer.json
        gone = write.fields is None and answer.resent and answer.status == 404
        if not gone and (answer.status not in (200, 201) or not isinstance(shown, dict)):
            self._failed(answer, write.method, write.path)
            if 400 <= answer.status < 500:
                self._book.settle(write.shows)
            else:
                self._resolve(write)
            return None
        fields = write.fields(shown) if write.fields else None
        self._book.acknowledge(write.shows, fields)
        self._tally.acknowledged(write.kind)
        return fields or {}

    def check(self, path: str) -> str | None:
        """Read an acknowledged write back; what is wrong with it, if anything is certain."""
        entry = self._book.entry(path)
        if entry is None:
            return None
        answer = self._get(path, (200, 404))
        if answer is None or self._book.entry(path) != entry:
            return None
        wrong = difference(entry, answer)
        if wrong:
            self._tally.stale()
        return wrong

    def _patiently(self, write: Write) -> Answer | None:
        """Send a write until it is not paused; None when there is no answer to go by."""
        began: float | None = None
        resent = False
        while True:
            answer = self._send(write.method, write.path, write.body)
            if answer is None or not answer.paused:
                if began is not None:
                    self._tally.wait_ended(self._clock() - began)
                return replace(answer, resent=resent or answer.resent) if answer else None
            resent = resent or answer.resent
            if began is None:
                began = self._clock()
                self._tally.wait_began()
            waited = self._clock() - began
            if waited > self._patience:
                reason = f"writes are still paused after {waited:.0f} s"
                self._tally.failed(write.method, write.path, reason)
            if waited > self._patience or self._stop.wait(answer.retry_after):
                self._tally.wait_ended(self._clock() - began, abandoned=True)
                return None

    def _resolve(self, write: Write) -> None:
        """Find out by reading whether a write that was not acknowledged was carried out."""
        answer = self._send("GET", write.shows)
        if answer is None or answer.status not in (200, 404):
            return
        before = self._book.believed(write.shows)
        unchanged = before is not None and difference(before, answer) is None
        if answer.status == 404:
            carried_out = write.fields is None
        else:
            carried_out = write.fields is not None and _shows(write, answer)
        if not unchanged and carried_out:
            fields = write.fields(answer.json) if write.fields else None
            self._book.acknowledge(write.shows, fields)
        else:
            self._book.settle(write.shows)

    def _get(self, path: str, good: tuple[int, ...]) -> Answer | None:
        answer = self._send("GET", path)
        if answer is None or answer.status in good:
            return answer
        self._failed(answer, "GET", path)
        return None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer | None:
        started = self._clock()
        before = self.client.reconnects
        try:
            answer = self.client.send(method, path, body)
        except Unanswered as error:
            self._tally.unanswered(method)
            self._tally.failed(method, path, str(error))
            return None
        finally:
            if self.client.reconnects != before:
                self._tally.reconnected(self.client.reconnects - before)
        took = self._clock() - started
        self._tally.answered(method, answer.status, took, answer.headers.get("x-release"))
        return answer

    def _failed(self, answer: Answer, method: str, path: str) -> None:
        text = answer.body[:200].decode(errors="replace").strip()
        self._tally.failed(method, path, f"{answer.status} {text}")


def _shows(write: Write, answer: Answer) -> bool:
    """Whether an answer shows what was written. An order of our own id can only be ours."""
    shown = answer.json
    if not isinstance(shown, dict):
        return False
    if write.method == "POST":
        return True
    return all(shown.get(name) == value for name, value in (write.body or {}).items())
