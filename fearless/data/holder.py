"""Who holds a row by giving signs of life in it: the thread that gives them, and the wait for one
who gives none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from fearless.data.state import Row
from fearless.errors import FearlessError, Refused
from fearless.interfaces import Report


class Pulse:
    """A thread that calls `beat` every `seconds`, until it is stopped or `beat` raises `over`.

    Whatever else goes wrong with the service is tried again the next time.
    """

    def __init__(
        self, name: str, seconds: float, beat: Callable[[], None], over: type[FearlessError]
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._beat = beat
        self._over = over
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, if it ever began; a beat that is under way ends first."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._beat()
            except self._over:
                return
            except (FearlessError, ClientError, BotoCoreError):
                continue


def wait_for_expiry(
    row: Row,
    read: Callable[[], Row | None],
    lasts: str,
    report: Report,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    held: str,
    alive: Callable[[Row], str],
) -> Row | None:
    """The row of an owner that stayed silent for a whole lease; None if it let go.

    One renewal may have been under way when its sender died; two mean it is alive, and raise
    Refused with what `alive` says. `lasts` names the row's field with the lease in seconds, `held`
    is said at first.
    """
    report.line(f"{held}: waiting to see whether it is alive")
    renewals, deadline = 0, clock() + float(row[lasts])
    while (left := deadline - clock()) > 0:
        report.progress("waiting", 0, None, f"for process {row['pid']}")
        sleep(min(left, 1.0))
        now = read()
        if now is None or now["owner"] != row["owner"]:
            return None
        if now["version"] != row["version"]:
            renewals, deadline, row = renewals + 1, clock() + float(now[lasts]), now
        if renewals > 1:
            raise Refused(alive(row))
    return row
