"""From a job to a worker: its clients, its transforms, the clock of its state table."""

from __future__ import annotations

from fearless.data.job import Clients, Endpoint, Job
from fearless.data.machinery import Machinery
from fearless.data.wire import Wire
from fearless.data.worker import Worker
from fearless.errors import NotAuthorised


def worker(job: Job) -> Worker:
    """A worker with connections of its own, to enter. Raises FearlessError when that cannot be."""
    clients = connect(job)
    return Worker(job, job.load(), clients, Machinery(wall=clients.state.clock))


def connect(job: Job) -> Clients:
    """Clients of both sides and of the state, with the job's credentials or this machine's."""
    source = _keys(job, "source", job.source)
    streams = job.source.streams_url or job.source.url
    return Clients(
        Wire("dynamodb", job.source.url, job.source.region, source),
        Wire("streams", streams, job.source.region, source),
        Wire("dynamodb", job.target.url, job.target.region, _keys(job, "target", job.target)),
        Wire("dynamodb", job.state.url, job.state.region, _keys(job, "state", job.state)),
    )


def _keys(job: Job, side: str, endpoint: Endpoint) -> object:
    """The credentials for a side. botocore's search is slow to import, and rarely needed."""
    if side in job.credentials:
        return job.credentials[side]
    from botocore.session import Session

    found = Session(profile=endpoint.profile).get_credentials()
    if found is None:
        profile = f"profile {endpoint.profile}" if endpoint.profile else "the environment"
        raise NotAuthorised(
            f"a worker has no credentials for {endpoint.url} ({side} of run {job.run}): "
            f"{profile} has none"
        )
    return found
