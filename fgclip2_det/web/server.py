"""The application on a port, until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import Any

import uvicorn

from fgclip2_det.web.app import web_app
from fgclip2_det.web.guard import LOCAL
from fgclip2_det.web.service import Service

BACKLOG = 128
CONNECTIONS = 256  # open at a time; further ones are answered with 503
LEAVING = 5  # seconds that requests get when the server ends


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ValueError: if the address is in use, or not of this computer.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    own = socket.socket(family, socket.SOCK_STREAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        own.bind((host, port))
        own.listen(BACKLOG)  # who comes while the model loads waits
    except OSError as error:
        own.close()
        raise ValueError(
            f'port {port} of {host} cannot be opened ({error.strerror or error}); '
            'give another --port, 0 for a free one'
        ) from error
    return own


def serve(
    service: Service,
    listener: socket.socket,
    hosts: Collection[str] = LOCAL,
    about: dict[str, Any] | None = None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        service: what computes.
        listener: of :func:`open_socket`.
        hosts: names in the header ``Host`` that are this server.
        about: what the page says of the system.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    config = uvicorn.Config(
        web_app(service, about, hosts),
        http='h11',
        ws='none',
        loop='asyncio',
        lifespan='on',
        log_config=None,  # its own closes the log files of others
        log_level='warning',
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=LEAVING,
        timeout_graceful_shutdown=LEAVING,
    )
    uvicorn.Server(config).run(sockets=[listener])
