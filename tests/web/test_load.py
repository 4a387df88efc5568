"""Many clients at once, slow ones, broken ones, and those that leave."""

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('starlette', reason='needs the extra web: pip install -e .[web]')

import uvicorn
from starlette.testclient import TestClient

from fgclip2_det.web.app import web_app
from fgclip2_det.web.limits import Limits, Refused
from fgclip2_det.web.queue import Gone, Queue
from fgclip2_det.web.server import open_socket
from fgclip2_det.web.service import Service

CLIENTS = 50
WAIT = 1800  # seconds at most, for anything


@pytest.fixture(scope='module')
def crowd(service, drawn):
    """Files of many clients, and the boxes of each."""
    rows = []
    for data in [drawn(x) for x in range(0, 120, 15)]:
        for name in ('red circle', '红色圆形'):
            (found,) = service.inferencer(Image.open(BytesIO(data)), name, 0.3)
            rows.append((data, name, [(name, s) for s in found.scores.tolist()]))
    assert len({str(expected) for *_, expected in rows}) == len(rows)
    return [rows[i % len(rows)] for i in range(CLIENTS)]


@pytest.mark.parametrize('places', [CLIENTS, 7])
def test_everyone_gets_their_own_boxes_or_is_told_to_wait(service, crowd, places):
    limits = replace(service.limits, queue=places, uploads=50_000_000)
    own = Service(service.inferencer, limits)
    start = threading.Barrier(CLIENTS, timeout=WAIT)

    def one(data, name, expected) -> int:
        start.wait()
        files = [('image', ('a.png', data))]
        answer = client.post('/api/detect', files=files, data={'names': name})
        if answer.status_code == 503:
            assert int(answer.headers['retry-after']) >= 1
            assert 'try again in' in answer.json()['error']
        else:
            found = answer.json()['images'][0]['detections']
            assert [(d['name'], d['score']) for d in found] == expected
        return answer.status_code

    with (
        TestClient(web_app(own), 'http://localhost') as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        statuses = Counter(pool.map(lambda each: one(*each), crowd))
        health = client.get('/healthz').json()
    assert set(statuses) <= {200, 503} and statuses[200] >= places
    assert statuses[503] == 0 or places < CLIENTS
    assert health['waiting'] == health['held_bytes'] == 0
    assert health['images'] <= limits.kept


def test_uploads_that_wait_have_a_limit():
    queue = Queue(Limits(upload=60, uploads=100, queue=9))
    with queue.place(60), pytest.raises(Refused, match='uploads of 60 bytes') as error:
        queue.place(50).__enter__()
    assert error.value.status == 503 and error.value.retry == 1
    with queue.place(50):
        assert (queue.waiting, queue.held) == (1, 50)
    queue.close()


def test_work_of_clients_that_left_is_not_done():
    done = []

    async def leave():
        pass

    async def both() -> None:
        queue = Queue(Limits())
        busy, stay = threading.Event(), asyncio.Event()
        first = asyncio.create_task(queue.run(busy.wait, stay.wait()))
        await asyncio.sleep(0)
        with pytest.raises(Gone):
            await queue.run(lambda: done.append('left'), leave())
        busy.set()
        assert await first
        assert await queue.run(lambda: 3, stay.wait()) == 3
        with pytest.raises(ZeroDivisionError):
            await queue.run(lambda: 1 / 0, stay.wait())
        queue.close()

    asyncio.run(both())
    assert done == []


# ------------------------------------------------------------------ a real server
@contextmanager
def served(service: Service, seconds: float) -> Iterator[int]:
    """Port of a server of this process; a request may take ``seconds`` to arrive."""
    own = Service(service.inferencer, replace(service.limits, seconds=seconds))
    config = uvicorn.Config(
        web_app(own),
        log_config=None,
        log_level='critical',
        loop='asyncio',
        ws='none',
        lifespan='on',
    )
    server = uvicorn.Server(config)
    with open_socket('127.0.0.1', 0) as listener:  # who comes early waits there
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope='module')
def port(service):
    with served(service, WAIT) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(('127.0.0.1', port), WAIT)


def talk(port: int, sent: bytes) -> tuple[int, str]:
    """Status and body of what a server answers to raw bytes."""
    with closing(connect(port)) as line:
        line.sendall(sent)
        answer = b''
        while part := line.recv(65536):
            answer += part
    head, _, body = answer.partition(b'\r\n\r\n')
    return int(head.split()[1]), body.decode()


def post(path: str, body: bytes, length: int | None = None, kind='image/png') -> bytes:
    head = (
        f'POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
        f'Content-Type: {kind}\r\nContent-Length: {length or len(body)}\r\n\r\n'
    )
    return head.encode() + body


def health(port: int) -> dict:
    sent = b'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    return json.loads(talk(port, sent)[1])


def until_waiting(port: int, number: int) -> None:
    """Until a server has as many requests."""
    end = time.monotonic() + WAIT
    while health(port)['waiting'] != number:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_malformed_and_dropped_requests(port, drawn):
    data = drawn()
    kinds = 'multipart/form-data; boundary=x', 'application/json'
    for sent in (
        b'\x16\x03\x01\x02',
        post('/api/images', data[:200], len(data)),
        post('/api/detect', b'--x', 900, kinds[0]),
        post('/api/detect', b'{"images"', 900, kinds[1]),
    ):
        with closing(connect(port)) as line:
            line.sendall(sent)  # and the client leaves in the middle
    assert talk(port, b'nonsense\r\n\r\n')[0] == 400
    # refused by its header, and yet read, so that the client gets to the answer
    status, body = talk(port, post('/api/images', bytes(3_000_000)))
    assert status == 413 and json.loads(body)['code'] == 'too_large'
    chunks = b'Transfer-Encoding: chunked\r\n\r\n' + 5 * (
        b'186a0\r\n%b\r\n' % bytes(10**5)
    )
    head = b'POST /api/images HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
    assert talk(port, head + chunks + b'0\r\n\r\n')[0] == 413
    status, body = talk(port, post('/api/images', data))
    assert status == 200 and json.loads(body)['width'] == 256
    until_waiting(port, 0)  # those that left are no longer waited for
    assert health(port)['held_bytes'] == 0


def test_a_slow_request(service, drawn):
    """One that never arrives in full; another server, so that no other is in haste."""
    with served(service, 0.05) as port:
        status, body = talk(port, post('/api/images', drawn()[:200], 900))
        assert status == 408 and 'took more than 0.05 s' in body


def test_a_client_that_leaves_the_queue(port, drawn, monkeypatch):
    """What it asked for is not computed, its place is free."""
    busy, begun = threading.Event(), threading.Event()
    own, added = Service.add, []

    def add(self, upload):
        added.append(upload.label)
        begun.set()
        assert busy.wait(WAIT)
        return own(self, upload)

    monkeypatch.setattr(Service, 'add', add)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(talk, port, post('/api/images?name=first', drawn()))
        try:
            assert begun.wait(WAIT)
            with closing(connect(port)) as line:
                line.sendall(post('/api/images?name=left', drawn(61)))
                until_waiting(port, 2)
            until_waiting(port, 1)
        finally:
            busy.set()
        assert first.result()[0] == 200
    assert talk(port, post('/api/images?name=last', drawn(62)))[0] == 200
    assert added == ['first', 'last']


def test_a_port_in_use(port):
    with pytest.raises(ValueError, match=f'port {port} of 127.0.0.1 cannot be opened'):
        open_socket('127.0.0.1', port)
