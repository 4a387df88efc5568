"""``fgclip2-det serve``: names changed on an image, and many clients at once.

- names: over HTTP, the first answer for a photograph of 640 x 480 (sent, decoded,
  encoded) against a second one with other names; OV-COCO's detector at base size with
  random weights, two names each. Medians of per-round ratios, both sides in turn;
- clients: the embedded detector in a process of its own. N clients ask for S seconds
  without a pause, each about its own image of 256 x 256, and check every answer
  against the one that they got alone. The queue's arithmetic: one request computes at a
  time, so an answer takes N times as long as one that is asked for alone, on average
  before and after. Memory is the server's largest resident size: until a sixth of the
  time, and until the end.

    python -m benchmarks.web --rounds 5 --clients 50 --seconds 60 --threads 1
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks.import_time import ROOT
from benchmarks.inferencer import base_inferencer, drawn, names, ratio, seconds

PARTS = 'names', 'clients'
TIMEOUT = 600


def png(number: int, size: tuple[int, int] = (256, 256)) -> bytes:
    file = BytesIO()
    Image.fromarray(drawn(number, size)).save(file, 'PNG')
    return file.getvalue()


class Client:
    """One connection to a server."""

    def __init__(self, port: int) -> None:
        self.line = HTTPConnection('127.0.0.1', port, timeout=TIMEOUT)

    def post(self, path: str, body: bytes, kind: str) -> tuple[int, dict, str | None]:
        """Status, JSON and Retry-After."""
        self.line.request('POST', path, body, {'Content-Type': kind})
        answer = self.line.getresponse()
        return answer.status, json.load(answer), answer.getheader('Retry-After')

    def get(self, path: str) -> dict:
        self.line.request('GET', path)
        return json.load(self.line.getresponse())

    def detect(self, image: bytes | str, texts: list[str]):
        """Answer for a file, or for the id of one that was sent."""
        if isinstance(image, str):
            body = json.dumps({'images': [{'id': image}], 'names': texts}).encode()
            return self.post('/api/detect', body, 'application/json')
        parts = [
            b'--b\r\nContent-Disposition: form-data; name="names"\r\n\r\n',
            '; '.join(texts).encode(),
            b'\r\n--b\r\nContent-Disposition: form-data; name="image"; ',
            b'filename="a.png"\r\nContent-Type: image/png\r\n\r\n',
            image,
            b'\r\n--b--\r\n',
        ]
        kind = 'multipart/form-data; boundary=b'
        return self.post('/api/detect', b''.join(parts), kind)


# ------------------------------------------------------------------------- names
@contextmanager
def own_server(inferencer):
    """Port of a server in a thread."""
    import uvicorn

    from fgclip2_det.web.app import web_app
    from fgclip2_det.web.limits import Limits
    from fgclip2_det.web.server import open_socket
    from fgclip2_det.web.service import Service

    app = web_app(Service(inferencer, Limits()))
    server = uvicorn.Server(uvicorn.Config(app, log_level='warning'))
    with open_socket('127.0.0.1', 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def changed_names(rounds: int, folder: Path) -> dict:
    answers = []
    with own_server(base_inferencer(folder)) as port:
        client = Client(port)
        client.detect(png(0, (640, 480)), names(0))  # loads the text tower
        pairs = []
        for number in range(1, rounds + 1):
            data = png(number, (640, 480))

            def ask(image: bytes | str, number: int) -> None:
                answers.append(client.detect(image, names(number))[1])

            first = seconds(lambda d=data, n=number: ask(d, 2 * n))
            key = answers[-1]['images'][0]['id']
            second = seconds(lambda k=key, n=number: ask(k, 2 * n + 1))
            pairs.append((first, second))
    passes = [answer['encoder_passes'] for answer in answers]
    assert passes == [1, 0] * rounds, passes
    return ratio(pairs)


# ----------------------------------------------------------------------- clients
@contextmanager
def server_process(threads: int):
    """Process id and port of ``tools/serve.py``."""
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools/serve.py')]
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    with subprocess.Popen(
        [*command, '--port', '0'], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith('open '))
        try:
            yield process.pid, int(line.split()[1].rpartition(':')[2])
        finally:
            process.terminate()


def resident_mb(pid: int) -> float:
    text = Path(f'/proc/{pid}/status').read_text()
    (line,) = [line for line in text.splitlines() if line.startswith('VmRSS:')]
    return int(line.split()[1]) / 1024


def boxes(answer: dict) -> list:
    return [
        (d['name'], d['score'], d['bbox']) for d in answer['images'][0]['detections']
    ]


class Crowd:
    """Clients that ask until a moment, and what became of their requests."""

    def __init__(self, port: int, count: int) -> None:
        self.port, self.count = port, count
        self.files = [png(i) for i in range(count)]
        self.alone: list[float] = []  # seconds of each request without others
        self._ask_alone(0)  # loads the text tower
        self.alone.clear()
        self.expected = [self._ask_alone(i) for i in range(count)]
        self.latencies: list[float] = []
        self.outcomes: Counter[str] = Counter()

    def _ask_alone(self, i: int) -> list:
        client = Client(self.port)
        start = time.perf_counter()
        status, answer, _ = client.detect(self.files[i], names(i))
        self.alone.append(time.perf_counter() - start)
        assert status == 200, answer
        return boxes(answer)

    def run_alone(self) -> None:
        """Once more, for a machine whose speed drifts."""
        assert [self._ask_alone(i) for i in range(self.count)] == self.expected

    def run(self, until: float) -> None:
        threads = [
            threading.Thread(target=self._one, args=(i, until))
            for i in range(self.count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _one(self, i: int, until: float) -> None:
        client = Client(self.port)
        while time.perf_counter() < until:
            start = time.perf_counter()
            try:
                status, answer, retry = client.detect(self.files[i], names(i))
            except OSError as error:
                self.outcomes[f'lost: {error}'] += 1
                client = Client(self.port)
                continue
            if status == 503:
                self.outcomes['told to wait'] += 1
                time.sleep(float(retry or 1))
                continue
            right = status == 200 and boxes(answer) == self.expected[i]
            self.outcomes['right' if right else f'wrong: {status}'] += 1
            self.latencies.append(time.perf_counter() - start)


def many_clients(count: int, duration: float, threads: int) -> dict:
    with server_process(threads) as (pid, port):
        crowd = Crowd(port, count)
        begin = time.perf_counter()
        memory: list[tuple[float, float]] = []
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.25):
                memory.append((time.perf_counter() - begin, resident_mb(pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        crowd.run(begin + duration)
        took = time.perf_counter() - begin
        ended.set()
        watcher.join()
        crowd.run_alone()
        health = Client(port).get('/healthz')
    service = statistics.mean(crowd.alone)
    p50, p95 = (statistics.quantiles(crowd.latencies, n=20)[i] for i in (9, 18))
    early = max(mb for at, mb in memory if at < duration / 6)
    late = max(mb for _, mb in memory)
    return dict(
        clients=count, outcomes=dict(crowd.outcomes),
        per_second=len(crowd.latencies) / took,
        alone=service, p50=p50, p95=p95, arithmetic=count * service,
        p95_to_arithmetic=p95 / (count * service), memory_mb=[early, late],
        growth_mb=round(late - early, 1), waiting_after=health['waiting'],
        encoder_passes=health['encoder_passes'],
    )  # fmt: skip


def main(args: argparse.Namespace) -> None:
    content: dict[str, dict] = {}
    if 'clients' in args.parts:
        content['clients'] = many_clients(args.clients, args.seconds, args.threads)
    if 'names' in args.parts:
        import torch

        torch.set_num_threads(args.threads)
        with tempfile.TemporaryDirectory() as folder:
            content['names'] = changed_names(args.rounds, Path(folder))
    print(json.dumps(content, indent=1, ensure_ascii=False))
    if args.out:
        args.out.write_text(json.dumps(content, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--clients', type=int, default=50)
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path)
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
