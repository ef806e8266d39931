"""Serve a site to this machine alone."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lossbench.bench.errors import UsageError

_HOST = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a line on the terminal for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def open_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a folder's files, on 127.0.0.1, ready for ``serve_forever``.

    Args:
        folder: the site.
        port: the port; 0 takes a free one, which ``server.server_port`` names.

    Raises:
        UsageError: the port cannot be had.
    """
    handler = partial(_Quiet, directory=str(folder))
    try:
        return ThreadingHTTPServer((_HOST, port), handler)
    except OSError as error:
        raise UsageError(
            f"port {port} of {_HOST} cannot be had ({error.strerror}): "
            "expected a free one, or 0 for any"
        ) from None


def address(server: ThreadingHTTPServer) -> str:
    """Return the URL of a server's first page."""
    return f"http://{_HOST}:{server.server_port}/"
