"""Run benchmarks and put what they print into docs/benchmarks.md, each between its marks."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import ROOT

TIMEOUT = 7200.0
NAMES = ("copy", "cores", "verify", "stream", "growth", "half_million", "rebuild", "farm")


def placed(page: str, name: str, output: str) -> str:
    """The page with `output` between the marks of the benchmark `name`."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page or end not in page:
        raise SystemExit(f"the page has no {begin} ... {end}")
    block = f"{begin}\n```text\n{output.strip()}\n```\n{end}"
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, page, flags=re.S)


def _run(command: list[str]) -> str:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return output


def main(arguments: Sequence[str] | None = None) -> None:
    """Run those named, one after the other; each is written as soon as it is done."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=", ".join(NAMES))
    made.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    made.add_argument("--peers", default="", metavar="DIR", help="where peers are, or go; kept")
    made.add_argument("--quick", action="store_true", help="tiny sizes")
    asked = made.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    for name in asked.names:
        if name not in NAMES:
            raise SystemExit(f"no benchmark {name!r}: there are {', '.join(NAMES)}")
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        command += ["--quick"] * asked.quick
        command += ["--peers", asked.peers] if name == "copy" and asked.peers else []
        output = _run(command)
        asked.page.write_text(placed(asked.page.read_text(), name, output))
        sys.stdout.write(output)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
