"""Middleware: who may ask, and what a browser may do with the answers."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fgclip2_det.web.limits import Refused

LOCAL = ('localhost', '127.0.0.1', '::1')
HEADERS = {
    'content-security-policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
}


class Guard:
    """Refuses requests that another web site makes, and adds headers to the answers.

    A page of another site can make a visitor's browser send requests to this computer.
    It is told apart by ``Origin`` and ``Sec-Fetch-Site``, and a name of its own that
    leads here (DNS rebinding) by ``Host``.

    Args:
        app: what is guarded.
        hosts: names in ``Host`` that are this server.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Headers(scope=scope), scope['method'])
        except Refused as refused:
            await _answer(refused, guarded)
            return
        await self.app(scope, receive, guarded)

    def _check(self, headers: Headers, method: str) -> None:
        host = headers.get('host', '')
        if len(headers.getlist('host')) != 1 or _name(f'//{host}') not in self.hosts:
            raise Refused(
                421,
                'host',
                f'this server is not called {host[:100]!r}; open it by one of '
                f'{", ".join(sorted(self.hosts))}, or add --allow-host NAME',
            )
        origin = headers.get('origin')
        foreign = origin is not None and _place(origin) != host.lower()
        site = headers.get('sec-fetch-site', 'none')
        opened = method == 'GET' and headers.get('sec-fetch-mode') == 'navigate'
        if foreign or (site not in ('none', 'same-origin') and not opened):
            raise Refused(403, 'origin', 'requests of other web sites are refused')


def _name(address: str) -> str:
    """Host name of an address without its port, '' if it is none."""
    try:
        return (urlsplit(address).hostname or '').lower()
    except ValueError:
        return ''


def _place(origin: str) -> str:
    """Host and port of an ``Origin``, '' if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ''


async def _answer(refused: Refused, send: Send) -> None:
    body = json.dumps(refused.content).encode()
    start: dict[str, Any] = {'type': 'http.response.start', 'status': refused.status}
    start['headers'] = [
        (b'content-type', b'application/json'),
        (b'content-length', str(len(body)).encode()),
    ]
    await send(start)
    await send({'type': 'http.response.body', 'body': body})
