"""Which addresses a process listens on, and loopback ports that nothing listens on."""

from __future__ import annotations

import itertools
import random
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from fearless.errors import FearlessError

FIRST, LAST = 21000, 31999
"""Below the range Linux takes the ports of outgoing connections from."""

LISTEN = "0A"


def is_free(port: int) -> bool:
    """True when a loopback listener could be opened on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listen(port: int) -> socket.socket:
    """A loopback socket that listens on the port; raises OSError when it is taken."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def free_port(taken: Collection[int] = ()) -> int:
    """A loopback port that is free now and not one of `taken`."""
    start = random.randrange(FIRST, LAST)
    for port in itertools.chain(range(start, LAST + 1), range(FIRST, start)):
        if port not in taken and is_free(port) and not open_to_others(port):
            return port
    raise FearlessError(f"no free loopback port between {FIRST} and {LAST}: stop what uses them")


def address(text: str) -> str:
    """`0100007F:1F90` of /proc/net/tcp as an IP address."""
    host = bytes.fromhex(text.partition(":")[0])
    words = [host[i : i + 4][::-1] for i in range(0, len(host), 4)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words))


def is_loopback(host: str) -> bool:
    """True for 127.0.0.0/8, ::1 and an IPv4 loopback address in IPv6 form."""
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")


def listeners(table: str) -> Iterator[tuple[str, str, int]]:
    """`(inode, address, port)` of each listening socket in the text of /proc/net/tcp."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTEN:
            yield fields[9], address(fields[1]), int(fields[1].rpartition(":")[2], 16)


def session_members(leader: int) -> list[int]:
    """The pids of every process in the session that `leader` leads. Linux only."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    found.append(int(entry.name))
    return found


def listening(pids: Iterable[int]) -> set[tuple[str, int]]:
    """`(address, port)` of each TCP socket these processes listen on; Linux only, else empty."""
    if sys.platform != "linux":
        return set()
    found: set[tuple[str, int]] = set()
    for pid in pids:
        with suppress(OSError):
            inodes = set()
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(fd.readlink()).removeprefix("socket:[").removesuffix("]"))
            for name in ("tcp", "tcp6"):
                table = Path(f"/proc/{pid}/net/{name}")
                rows = listeners(table.read_text()) if table.exists() else ()
                found |= {(host, port) for inode, host, port in rows if inode in inodes}
    return found


def exposed(pids: Iterable[int], port: int) -> list[str]:
    """Where these processes, or any process on `port`, listen beyond loopback, as `host:port`.

    Whose a socket is can only be seen of processes of one's own. A container's are root's, so
    what listens on the port it was given counts as its own.
    """
    found = {f"{host}:{number}" for host, number in listening(pids) if not is_loopback(host)}
    return sorted(found | {f"{host}:{port}" for host in open_to_others(port)})


def open_to_others(port: int) -> set[str]:
    """The addresses beyond loopback that anything listens on at the port; Linux only."""
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net") / name
        rows = listeners(table.read_text()) if table.exists() else ()
        found |= {host for _, host, number in rows if number == port and not is_loopback(host)}
    return found
