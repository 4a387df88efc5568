"""Bodies of requests, read within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from fgclip2_det.web.asks import FIELDS, NO_PATHS
from fgclip2_det.web.limits import MEGABYTE, Limits, Refused
from fgclip2_det.web.pictures import Upload

Result = TypeVar('Result')
DRAINED = 64 * MEGABYTE  # of a refused upload, so that the client reads the answer


class Body:
    """The body of a request.

    Args:
        request: not read yet.
        limits: of the server.

    Attributes:
        size: bytes that it may have: what it says, or the limit.
    """

    def __init__(self, request: Request, limits: Limits) -> None:
        self.limits = limits
        self._receive, self._read, self._complete = request.receive, 0, False
        self._request = Request(request.scope, self._limited)
        length = request.headers.get('content-length', '')
        self.size = int(length) if length.isdecimal() else limits.upload

    def check(self) -> None:
        """Refuse one that says that it is too large."""
        self._check(self.size)

    async def bytes(self) -> bytes:
        """All of it.

        Raises:
            Refused: if it is too large, or does not arrive in time.
        """
        return await self._in_time(self._request.body())

    async def form(self) -> tuple[list[Upload | str], dict[str, Any]]:
        """Images and other fields of a form.

        Raises:
            Refused: see :meth:`bytes`; if it is no form, or has other fields.
        """
        reading = self._request.form(
            max_files=self.limits.images,
            max_fields=self.limits.images + len(FIELDS),
            max_part_size=self.limits.upload,
        )
        try:
            form = await self._in_time(reading)
        except (HTTPException, MultiPartException) as error:
            reason = getattr(error, 'detail', None) or error
            raise Refused(
                400, 'bad_form', f'the form cannot be read ({reason}); see /api'
            ) from error
        try:
            return await _sorted(form)
        finally:
            await form.close()

    async def drain(self) -> None:
        """Read what is left of a refused body, up to a limit: a client that is still
        sending would not see the answer."""
        try:
            await asyncio.wait_for(self._drain(), self.limits.seconds)
        except asyncio.TimeoutError:
            return

    async def _drain(self) -> None:
        left = DRAINED
        while not self._complete and left > 0:
            left -= len((await self._next()).get('body', b''))

    async def _next(self) -> Message:
        message = await self._receive()
        self._complete = not message.get('more_body', False)
        return message

    async def _limited(self) -> Message:
        message = await self._next()
        self._read += len(message.get('body', b''))
        self._check(self._read)
        return message

    def _check(self, size: int) -> None:
        if size > self.limits.upload:
            raise Refused(
                413,
                'too_large',
                f'the request is larger than {self.limits.upload:,} bytes; send '
                'a smaller image, or fewer at a time',
            )

    async def _in_time(self, reading: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(reading, self.limits.seconds)
        except asyncio.TimeoutError as error:
            raise Refused(
                408,
                'slow',
                f'the request took more than {self.limits.seconds:g} s to arrive; '
                'send it again',
            ) from error


async def _sorted(form: FormData) -> tuple[list[Upload | str], dict[str, Any]]:
    images: list[Upload | str] = []
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == 'image':
            images.append(await _upload(value))
        elif name == 'id' and isinstance(value, str):
            images.append(value)
        elif name in FIELDS and name != 'images' and isinstance(value, str):
            fields[name] = value
        else:
            raise Refused(
                422,
                'bad_form',
                f'a form has no field {name[:40]!r} like this; see /api',
            )
    return images, fields


async def _upload(value: UploadFile | str) -> Upload:
    if isinstance(value, str):
        raise Refused(422, 'no_path', NO_PATHS)
    return Upload(await value.read(), value.filename or '')
