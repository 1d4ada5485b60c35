"""The HTTP server: gunicorn, one process with threads, that stops without losing a request."""

from __future__ import annotations

from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from shop.config import Settings


class Worker(ThreadWorker):
    """A worker that refuses new connections as soon as it stops.

    gunicorn's own keeps the listening socket open until its last request is answered, so
    the kernel goes on taking connections that nobody will ever serve.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop taking connections; when stopping for good, take what is queued first."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                served = -1
                while served != self.nr_conns:
                    served = self.nr_conns
                    self.accept(listener)
                listener.close()


class Server(BaseApplication):
    """gunicorn with the settings this app needs; there is no command line to get wrong."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        options = {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "worker_class": Worker,
            "workers": 1,
            "threads": 8,
            "keepalive": 150,  # longer than any load balancer keeps an idle connection
            "graceful_timeout": 20,  # for requests in flight after SIGTERM
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI application, made in the worker process."""
        from shop.database import Database, connect
        from shop.web import create_app

        database = Database(connect(self._settings.region), self._settings.tables)
        return create_app(database, self._settings.release)
