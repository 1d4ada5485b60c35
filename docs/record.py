"""Draw docs/release.svg from a real run: `python docs/record.py OUTPUT-OF-DOIT-RELEASE`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

STEPS = ("tag", "image", "ami", "stack", "copy", "sync", "gate:", "cutover", "retire")


def draw(text: str, out: Path) -> None:
    """Write what a terminal showed as an SVG picture."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=112, file=nowhere, force_terminal=True)
        console.print(Text("$ doit release", style="bold"))
        for line in text.rstrip().splitlines():
            shown = Text(line)
            if line.startswith("  ") and line.split()[0].startswith(STEPS):
                shown.stylize("green", 2, 18)
            elif line.endswith("is live"):
                shown.stylize("bold")
            console.print(shown)
        out.write_text(console.export_svg(title="Fearless"))


if __name__ == "__main__":
    draw(Path(sys.argv[1]).read_text(), Path(__file__).parent / "release.svg")
