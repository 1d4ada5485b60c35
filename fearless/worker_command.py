"""`fearless worker`: take part in data runs whose units of work come by an SQS queue."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from fearless.errors import ConfigError, NotAuthorised, Refused

if TYPE_CHECKING:
    from fearless.data.job import Job
    from fearless.data.worker import Worker
    from fearless.interfaces import Transform

OF_STACKS = "fearless.builtin.dynamodb:transforms_of"
PAUSE = 1.0


def add_parser(subparsers: Any) -> None:
    """Add `worker`; it sets `run(args) -> exit code`."""
    parser = subparsers.add_parser(
        "worker", help='work for data runs with [engine] use = "celery", on any machine'
    )
    parser.add_argument(
        "--queue",
        default=os.environ.get("FEARLESS_QUEUE", ""),
        help="the SQS queue, by name or URL (default: $FEARLESS_QUEUE)",
    )
    parser.add_argument(
        "--transforms",
        type=Path,
        metavar="FILE",
        help="a Python file with the release's transforms",
    )
    parser.add_argument("--threads", type=int, default=8, help="units at once in each process")
    parser.add_argument("--processes", type=int, help="processes (default: one for each core)")
    parser.add_argument("--endpoint-url", metavar="URL", help="of SQS and DynamoDB, if not AWS's")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM or Ctrl-C; the exit code."""
    if not args.queue:
        raise ConfigError("a worker needs a queue: --queue NAME, or FEARLESS_QUEUE")
    for name in ("threads", "processes"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: it must be at least 1")
    count = args.processes or os.cpu_count() or 1
    return work(args) if count == 1 else _several(args, count)


def work(args: argparse.Namespace, parent: int | None = None) -> int:
    """Work in this process, for as long as `parent` lives, if one is given."""
    try:
        from fearless.builtin.engines import broker
        from fearless.builtin.engines.roster import Roster
    except ImportError as error:
        raise ConfigError(
            f"`fearless worker` needs more packages ({error}): pip install 'fearless[celery]'"
        ) from error
    session = _Session(args.endpoint_url)
    client = session.client("sqs")
    queue = broker.Queue.find(client, args.queue)
    roster = Roster(session.state(), partial(hire, file=args.transforms), time.sleep)
    if parent is not None:
        threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()
    name = f"fearless-{os.getpid()}@{socket.gethostname()}"
    app = broker.application(client, queue)
    print(f"{name}: waiting for work in {queue.url}", flush=True)
    try:
        return broker.work(app, name, args.threads, roster.perform, roster.stop)
    finally:
        roster.close()


def hire(job: Job, file: Path | None) -> Worker:
    """A worker of the job, with the transforms in `file` or those that the run names."""
    from fearless.data.hire import connect
    from fearless.data.machinery import Machinery
    from fearless.data.worker import Worker

    clients = connect(job)
    return Worker(job, transforms(job, file), clients, Machinery(wall=clients.state.clock))


def transforms(job: Job, file: Path | None) -> Sequence[Transform]:
    """The job's transforms, as the code on this machine has them.

    A row must not choose what code runs: without a file it is that of the project in the working
    directory, or of the file that `fearless data` was given, and nothing else.
    """
    from fearless.builtin.dynamodb import transforms_of
    from fearless.data_command.transforms import LOADER, load

    if file is not None:
        return _chosen(load(str(file)), job.arguments.get("names"), file)
    if job.transforms == OF_STACKS:
        return transforms_of(**{**job.arguments, "root": ".", "ops": "."})
    if job.transforms == LOADER:
        return job.load()
    raise Refused(
        f"run {job.run} loads its transforms by {job.transforms}, which this worker does not do "
        "on anybody's word: start it with --transforms FILE"
    )


def _chosen(
    found: Sequence[Transform], names: Sequence[str] | None, file: Path
) -> Sequence[Transform]:
    """Those of a run that names its transforms, in its order."""
    if names is None:
        return found
    known = {transform.name: transform for transform in found}
    for name in names:
        if name not in known:
            raise Refused(
                f"{file} has no transform {name!r} (it has: {', '.join(known)}): a worker must "
                "run the same code as the release"
            )
    return [known[name] for name in names]


class _Session:
    """The clients of this machine's AWS environment, or of another endpoint with its keys."""

    def __init__(self, url: str | None) -> None:
        from boto3 import Session

        self._session: Any = Session()
        self._url = url

    def client(self, service: str) -> Any:
        """A boto3 client."""
        from botocore.config import Config
        from botocore.exceptions import NoRegionError

        config = Config(account_id_endpoint_mode="disabled")
        try:
            return self._session.client(service, endpoint_url=self._url, config=config)
        except NoRegionError:
            raise ConfigError("no AWS region: set AWS_REGION or AWS_DEFAULT_REGION") from None

    def state(self) -> Any:
        """The data plane's own client of where state tables are."""
        from fearless.data.wire import Wire

        meta = self.client("dynamodb").meta
        keys = self._session.get_credentials()
        if keys is None:
            raise NotAuthorised("no AWS credentials: a worker uses the standard AWS environment")
        return Wire("dynamodb", meta.endpoint_url, meta.region_name, keys)


def _several(args: argparse.Namespace, count: int) -> int:
    """The same in several processes; one that ends is replaced, until we are told to end."""
    context = multiprocessing.get_context("spawn")
    ending = threading.Event()

    def start() -> BaseProcess:
        process = context.Process(target=_child, args=(args, os.getpid()))
        process.start()
        return process

    def end(_: int, frame: FrameType | None) -> None:  # noqa: ARG001
        ending.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    processes = [start() for _ in range(count)]
    while not ending.is_set():
        time.sleep(PAUSE)
        if any(process.exitcode in (1, 2, 3, 4) for process in processes):
            break
        processes = [process if process.is_alive() else start() for process in processes]
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join()
    return max((process.exitcode or 0 for process in processes), default=0)


def _child(args: argparse.Namespace, parent: int) -> None:
    from fearless.errors import explain

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = work(args, parent)
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        print(explained, file=sys.stderr)
        code = explained.exit_code
    sys.exit(code)


def _outlive_nobody(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PAUSE)
    os.kill(os.getpid(), signal.SIGTERM)
