"""The routes: a page, a JSON interface, and what a monitor asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fgclip2_det.version import __version__
from fgclip2_det.web.asks import Ask, whole_number
from fgclip2_det.web.bodies import Body
from fgclip2_det.web.guard import LOCAL, Guard
from fgclip2_det.web.limits import Refused
from fgclip2_det.web.openapi import description
from fgclip2_det.web.pictures import Upload
from fgclip2_det.web.queue import Gone, Queue
from fgclip2_det.web.service import Service

STATIC = Path(__file__).parent / 'static'
Work = Callable[[], Any]
Read = Callable[[Request, Body], Awaitable[Work]]


def web_app(
    service: Service,
    about: dict[str, Any] | None = None,
    hosts: Collection[str] = LOCAL,
) -> Starlette:
    """The web application of a service.

    Args:
        service: what computes, in a thread of the application.
        about: what the page says of it, see ``/api/info``.
        hosts: names in the header ``Host`` that are this server.
    """
    app = _App(service, about or {})
    return Starlette(
        routes=[
            Route('/', _page('index.html')),
            Route('/api', _page('api.html')),
            Route('/healthz', app.health),
            Route('/api/info', app.info),
            Route('/api/openapi.json', app.openapi),
            Route('/api/images', app.answer(app.read_upload), methods=['POST']),
            Route('/api/images/{key}', app.picture),
            Route('/api/detect', app.answer(app.read_detect), methods=['POST']),
            Route('/api/explain', app.answer(app.read_explain), methods=['POST']),
            Mount('/static', StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _http_error, Exception: _error},
        lifespan=app.lifespan,
    )


class _App:
    def __init__(self, service: Service, about: dict[str, Any]) -> None:
        self.service, self.limits, self.about = service, service.limits, about
        self.queue = Queue(service.limits)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self.queue.close()

    async def health(self, request: Request) -> Response:
        """Answered at once, also while a request computes."""
        content = dict(
            status='ok',
            version=__version__,
            waiting=self.queue.waiting,
            queue=self.limits.queue,
            held_bytes=self.queue.held,
            images=len(self.service.pictures),
            encoder_passes=self.service.encoder_passes,
            job_seconds=round(self.queue.seconds, 4),
        )
        return JSONResponse(content)

    async def info(self, request: Request) -> Response:
        """What the page should know before it asks."""
        limits = asdict(self.limits)
        return JSONResponse(dict(version=__version__, limits=limits, **self.about))

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(description(self.limits))

    async def picture(self, request: Request) -> Response:
        """An upload as every browser can show it."""
        key = request.path_params['key']
        try:
            with self.queue.place(0):
                work = partial(self.service.picture, key)
                data = await self.queue.run(work, _left(request))
        except Refused as refused:
            return _refusal(refused)
        except Gone:
            return Response(status_code=499)
        return Response(data, media_type='image/jpeg')

    def answer(self, read: Read) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that reads a body, then waits for its turn."""

        async def endpoint(request: Request) -> Response:
            body = Body(request, self.limits)
            try:
                body.check()
                with self.queue.place(body.size):
                    work = await read(request, body)
                    return JSONResponse(await self.queue.run(work, _left(request)))
            except Refused as refused:
                await body.drain()
                return _refusal(refused)
            except (ClientDisconnect, Gone):
                return Response(status_code=499)  # nobody reads it

        return endpoint

    async def read_upload(self, request: Request, body: Body) -> Work:
        upload = Upload(await body.bytes(), request.query_params.get('name', ''))
        return partial(self.service.add, upload)

    async def read_detect(self, request: Request, body: Body) -> Work:
        if _kind(request) == 'multipart/form-data':
            ask = Ask.of_fields(*await body.form(), self.limits)
        else:
            ask, _ = await self._read_json(request, body)
        return partial(self.service.detect, ask)

    async def read_explain(self, request: Request, body: Body) -> Work:
        ask, content = await self._read_json(request, body)
        if len(ask.images) != 1:
            raise Refused(422, 'bad_request', 'one image is explained at a time')
        return partial(self.service.explain, ask, whole_number(content, 'index'))

    async def _read_json(
        self, request: Request, body: Body
    ) -> tuple[Ask, dict[str, Any]]:
        if _kind(request) != 'application/json':
            raise Refused(
                415,
                'content_type',
                'expected application/json, or a form where /api says so, got '
                f'{_kind(request)[:80]!r}',
            )
        return Ask.of_json(await body.bytes(), self.limits)


def _kind(request: Request) -> str:
    return request.headers.get('content-type', '').partition(';')[0].strip().lower()


async def _left(request: Request) -> None:
    """Ends when the client has closed the connection."""
    while (await request.receive())['type'] != 'http.disconnect':
        pass


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return FileResponse(STATIC / name)

    return endpoint


def _refusal(refused: Refused) -> Response:
    headers = None if refused.retry is None else {'retry-after': f'{refused.retry:g}'}
    return JSONResponse(refused.content, refused.status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """No such route or method."""
    assert isinstance(error, HTTPException)
    content = dict(error=f'{error.detail}; see /api', code='http')
    return JSONResponse(content, error.status_code, error.headers)


async def _error(request: Request, error: Exception) -> Response:
    """An error of the program, whose text may name files: the server logs it."""
    content = dict(error='internal error; the log of the server has it', code='error')
    return JSONResponse(content, 500)
