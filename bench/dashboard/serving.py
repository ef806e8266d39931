"""Serve a site on this machine only."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lossbench.bench.errors import UsageError

_HOST = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    """A handler that serves the files of a folder and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


def open_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a folder's files on 127.0.0.1, ready for ``serve_forever``.

    Args:
        folder: folder of the site.
        port: port to listen on; 0 takes a free one, ``server.server_port``.

    Raises:
        UsageError: if the port cannot be opened.
    """
    handler = partial(_Quiet, directory=str(folder))
    try:
        return ThreadingHTTPServer((_HOST, port), handler)
    except OSError as error:
        raise UsageError(
            f"port {port} of {_HOST} cannot be opened ({error.strerror}): "
            "expected a free port, or 0 for any free port"
        ) from None


def address(server: ThreadingHTTPServer) -> str:
    """Return the URL of a server's first page."""
    return f"http://{_HOST}:{server.server_port}/"
