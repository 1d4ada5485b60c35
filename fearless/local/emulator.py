"""The AWS emulator of the embedded cloud, as a process: `python -m fearless.local.emulator`."""

from __future__ import annotations


def main() -> None:
    """Run MiniStack in the foreground; its settings come from the environment."""
    from ministack.app import main as ministack

    ministack()


if __name__ == "__main__":
    main()
