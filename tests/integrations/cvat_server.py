"""What ``cvat-cli task auto-annotate`` asks of a CVAT server, for one task."""

import io
import json
import re
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NOW = '2026-01-01T00:00:00Z'


class Server(ThreadingHTTPServer):
    """Task 1 with some images and labels; ``uploads`` has the annotations it got."""

    def __init__(self, images: list[Path], labels: list[str]) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.images, self.labels, self.uploads = images, labels, []

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'

    def task(self) -> dict:
        return dict(
            url=f'{self.url}/api/tasks/1', id=1, name='shapes', mode='annotation',
            owner=None, assignee=None, project_id=None, bug_tracker='',
            created_date=NOW, updated_date=NOW, status='annotation', subset='',
            overlap=0, segment_size=9, size=len(self.images), data_chunk_size=9,
            data_compressed_chunk_type='imageset', data_original_chunk_type='imageset',
            image_quality=70, data=1, dimension='2d', organization=None,
            labels={'url': f'{self.url}/api/labels?task_id=1'},
            jobs={'count': 1, 'completed': 0, 'validation': 0},
        )  # fmt: skip

    def label_page(self) -> dict:
        rows = [
            dict(id=70 + i, name=name, color='#ff0000', attributes=[], type='any',
                 sublabels=[], has_parent=False, parent_id=None)
            for i, name in enumerate(self.labels)
        ]  # fmt: skip
        return dict(count=len(rows), next=None, previous=None, results=rows)

    def meta(self) -> dict:
        frames = [dict(name=path.name, width=300, height=200, related_files=0)
                  for path in self.images]  # fmt: skip
        return dict(
            chunk_size=9, size=len(frames), image_quality=70, start_frame=0,
            stop_frame=len(frames) - 1, frame_filter='', frames=frames,
            deleted_frames=[], chunks_updated_date=NOW,
            storage_method='file_system', storage='local',
        )  # fmt: skip

    def chunk(self) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w') as chunk:
            for number, path in enumerate(self.images):
                chunk.write(path, f'{number:06d}{path.suffix}')
        return file.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        own, path = self.server, self.path.partition('?')[0].rstrip('/')
        answers = {
            '/api/server/about': lambda: dict(name='CVAT', description='',
                                              version='2.80.0', logo_url='',
                                              subtitle=''),
            '/api/users/self': lambda: dict(id=1, username='user', url=''),
            '/api/tasks/1': own.task,
            '/api/labels': own.label_page,
            '/api/tasks/1/data/meta': own.meta,
        }  # fmt: skip
        if path == '/api/tasks/1/data':
            self.answer(own.chunk(), 'application/zip')
        elif path in answers:
            self.answer(answers[path]())
        else:
            self.send_error(404, f'GET {self.path}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.answer({'key': 'token'})

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers['Content-Length']))
        assert re.match(r'/api/tasks/1/annotations', self.path)
        self.server.uploads.append(json.loads(body))
        self.answer(dict(version=1, tags=[], shapes=[], tracks=[]))

    do_PUT = do_PATCH

    def answer(self, content: dict | bytes, kind: str = 'application/json') -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
