"""What is refused, and in which words."""

import re
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('starlette', reason='needs the extra web: pip install -e .[web]')

from starlette.testclient import TestClient

from fgclip2_det.web import app as app_module
from fgclip2_det.web.app import STATIC, web_app
from fgclip2_det.web.limits import Limits, without_paths
from fgclip2_det.web.openapi import ERRORS, description

EXAMPLE = {'id': 'x', 'bbox': [0, 0, 9, 9], 'name': 'a'}
ID = [{'id': 'x'}]
# body of /api/detect -> code, and words of the message
JSON = {
    'path': ({'images': ['/etc/passwd'], 'names': 'a'}, 'no_path', 'paths and URLs'),
    'url': ({'image': 'http://localhost/a.png', 'names': 'a'}, 'no_path', 'are upl'),
    'path in data': ({'images': [{'data': '/etc/hostname'}], 'names': 'a'}, None, ''),
    'list': ([1], 'bad_request', 'expected a JSON object, got list'),
    'nothing': ({}, 'bad_request', 'expected 1 to 4 images, got 0'),
    'no list': ({'images': 'x'}, 'bad_request', 'images must be a list'),
    'many': ({'images': ID * 5, 'names': 'a'}, 'bad_request', '1 to 4 images, got 5'),
    'both': ({'images': [{'id': 'x', 'data': ''}], 'names': 'a'}, 'bad_request', 'id'),
    'name': ({'images': [{'id': 'x', 'name': 3}], 'names': 'a'}, 'bad_request', 'text'),
    'empty': ({'images': [{'data': ''}], 'names': 'a'}, 'no_image', 'is empty'),
    'no names': ({'images': ID, 'names': ' '}, 'bad_request', 'expected names'),
    'number': ({'images': ID, 'names': 3}, 'bad_request', 'a text or a list'),
    'no texts': ({'images': ID, 'names': ['a', 3]}, 'bad_request', 'must be texts'),
    '10,000': ({'images': ID, 'names': 'a;' * 10_000}, 'too_many_names', 'at most 200'),
    'list of': ({'images': ID, 'names': ['a'] * 201}, 'too_many_names', '201 names'),
    'braces': ({'images': ID, 'names': ' {a|b}{c|d}{e|f}{g|h}{i|j}{k|l}{m|n}{o|p}'},
               'too_many_names', '256 or more'),
    'long': ({'images': ID, 'names': 'a' * 50_000}, 'too_many_names', '40,000'),
    'open': ({'images': ID, 'names': '{a|b'}, 'names', 'nested or not closed'),
    'twice': ({'images': ID, 'names': 'cat; Cat'}, 'names', 'names both'),
    'punctuation': ({'images': ID, 'names': ['???']}, 'names', 'non-empty'),
    'tokens': ({'images': ID, 'names': ['cat ' * 49]}, None, ''),
    'not': ({'images': ID, 'names': 'a', 'not': 3}, 'bad_request', 'list of texts'),
    'not, what': ({'images': ID, 'names': 'a', 'not': 'b=c'}, 'names', 'not asked for'),
    'score': ({'images': ID, 'names': 'a', 'threshold': 2}, 'bad_request', '0 to 1'),
    'NaN': ({'images': ID, 'names': 'a', 'threshold': 'nan'}, 'bad_request', "'nan'"),
    'example': ({'images': ID, 'examples': [{**EXAMPLE, 'name': ' '}]},
                'bad_request', 'an example is'),
    'corners': ({'images': ID, 'examples': [{**EXAMPLE, 'bbox': [1, 2, 3]}]},
                'bad_request', 'an example is'),
    'negative': ({'images': ID, 'examples': [{**EXAMPLE, 'bbox': [-1, 2, 3, 4]}]},
                 'bad_request', 'bbox must be a number from 0'),
    'unknown': ({'images': ID, 'names': 'a'}, 'unknown_image', 'upload it again'),
}  # fmt: skip


@pytest.mark.parametrize('case', JSON)
def test_json(client, case):
    content, code, words = JSON[case]
    answer = client.post('/api/detect', json=content)
    own = answer.json()
    assert answer.status_code in (404, 422), answer.text
    assert set(own) == {'error', 'code'} and words in own['error']
    assert code is None or own['code'] == code
    assert len(own['error']) < 400


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        (b'{', 'as JSON'),
        (b'[' * 100_000, 'too deeply'),
        (b'\xff\xfe', 'as JSON'),
        (b'{"images": [{"id": ' + b'1' * 9000 + b'}]}', ''),
    ],
)
def test_bodies_that_are_no_json(client, body, words):
    kind = {'content-type': 'application/json; charset=utf-8'}
    answer = client.post('/api/detect', content=body, headers=kind)
    assert answer.status_code == 422 and words in answer.json()['error']


@pytest.mark.parametrize(
    ('kind', 'body', 'status'),
    [
        ('text/plain', b'{}', 415),
        ('multipart/form-data', b'x', 400),
        ('multipart/form-data; boundary=x', b'--x\r\nContent-Disposition: y\r\n', 422),
        ('multipart/form-data; boundary=x', b'', 422),
    ],
)
def test_other_kinds_of_bodies(client, kind, body, status):
    answer = client.post('/api/detect', content=body, headers={'content-type': kind})
    assert answer.status_code == status and len(answer.json()['error']) > 10


def test_forms(client, drawn):
    def post(files, **fields):
        answer = client.post('/api/detect', files=files, data=fields)
        assert answer.status_code in (400, 422)
        return answer.json()

    image = ('image', ('a.png', drawn()))
    assert post([('x', ('a', b'')), image], names='a')['code'] == 'bad_form'
    assert post([image], names='a', image='/etc/passwd')['code'] == 'no_path'
    assert post([image], names='a', images='x')['code'] == 'bad_form'
    assert 'Too many files' in post([image] * 5, names='a')['error']
    assert 'JSON' in post([image], examples='[')['error']


@pytest.mark.parametrize(
    ('data', 'status', 'words'),
    [
        (b'', 422, 'is empty'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 422, 'expected an image, AVIF'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 422, 'an image, AVIF'),
        (b'%PDF-1.4\n', 422, 'expected an image, AVIF'),
        ('cut', 422, 'cannot be read'),
        ('pixels', 413, '310 x 300, has more than 90,000 pixels'),
        ('bomb', 413, 'has more than 90,000 pixels'),
        ('bytes', 413, 'larger than 400,000 bytes'),
    ],
)
def test_files(client, drawn, monkeypatch, data, status, words):
    if data == 'cut':
        data = drawn()[:400]
    elif data == 'pixels':
        data = drawn(size=(310, 300))
    elif data == 'bomb':
        monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', 99)
        data = drawn()
    elif data == 'bytes':
        data = bytes(400_001)
    answer = client.post('/api/images?name=/home/me/a.png', content=data)
    assert answer.status_code == status and words in answer.json()['error']
    assert '/home' not in answer.text and 'MAX_IMAGE' not in answer.text


@pytest.mark.parametrize(
    ('headers', 'status'),
    [
        ({}, 200),
        ({'host': 'localhost:9'}, 200),
        ({'host': '[::1]:8000'}, 200),
        ({'host': 'evil.example'}, 421),
        ({'host': 'localhost.evil.example'}, 421),
        ({'host': 'localhost@evil.example'}, 421),
        ({'host': ''}, 421),
        ({'host': '['}, 421),
        ({'origin': 'http://127.0.0.1:8000'}, 200),
        ({'origin': 'http://127.0.0.1:9000'}, 403),
        ({'origin': 'http://evil.example'}, 403),
        ({'origin': 'null'}, 403),
        ({'origin': 'http://[evil'}, 403),
        ({'sec-fetch-site': 'same-origin'}, 200),
        ({'sec-fetch-site': 'cross-site'}, 403),
        ({'sec-fetch-site': 'same-site'}, 403),
        ({'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate'}, 200),
    ],
)
def test_other_web_sites(client, headers, status):
    answer = client.get('/healthz', headers=headers)
    assert answer.status_code == status
    assert 'access-control-allow-origin' not in answer.headers
    assert answer.headers['cross-origin-resource-policy'] == 'same-origin'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ("'/home/me/x.pth' is damaged", "'[file]' is damaged"),
        ('C:\\Users\\me\\a.json: no', '[file]: no'),
        ('no km/h, 1/2 or and/or', 'no km/h, 1/2 or and/or'),
        ('see /api', 'see /api'),
    ],
)
def test_no_paths_in_messages(text, expected):
    assert without_paths(text) == expected


def test_internal_errors_say_nothing_of_the_server(service, drawn, monkeypatch):
    def fail(*_):
        raise RuntimeError('/secret/folder')

    monkeypatch.setattr(service, 'add', fail)
    app = web_app(service)
    with TestClient(app, 'http://localhost', raise_server_exceptions=False) as client:
        answer = client.post('/api/images', content=drawn())
        assert answer.status_code == 500 and 'secret' not in answer.text
        assert client.get('/healthz').json()['waiting'] == 0


def test_routes_that_are_not_there(client):
    for path in ('/static/../app.py', '/static/%2e%2e/app.py', '/x', '/api/detect/'):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code in (404, 405, 307), path
    assert client.get('/api/detect').status_code == 405


def test_limits_must_make_sense():
    with pytest.raises(ValueError, match='kept of a server must be above 0'):
        Limits(kept=0)
    with pytest.raises(ValueError, match='allow more uploads'):
        Limits(uploads=5)


# ------------------------------------------------------------- what is described
def test_the_description_has_every_route(client, service):
    paths = description(service.limits)['paths']
    described = {(p, m.upper()) for p, methods in paths.items() for m in methods}
    routes = {
        (route.path, method)
        for route in client.app.routes
        for method in getattr(route, 'methods', ())
        if method != 'HEAD'
    }
    pages = {(path, 'GET') for path in ('/', '/api', '/api/openapi.json')}
    assert described == routes - pages
    assert client.get('/api/openapi.json').json() == description(service.limits)


def test_every_status_is_described():
    folder = Path(app_module.__file__).parent
    text = ''.join(path.read_text('utf-8') for path in folder.glob('*.py'))
    used = {int(n) for n in re.findall(r'Refused\(\s*(\d{3})', text)}
    assert used == set(ERRORS)


def test_answers_have_the_fields_of_the_description(client, service, drawn):
    schemas = description(service.limits)['components']['schemas']
    paths = description(service.limits)['paths']

    def check(value, schema):
        if '$ref' in schema:
            schema = schemas[schema['$ref'].rpartition('/')[2]]
        if isinstance(value, dict) and 'properties' in schema:
            assert set(value) <= set(schema['properties'])
            for key, each in value.items():
                check(each, schema['properties'][key])
        elif isinstance(value, list):
            for each in value:
                check(each, schema['items'].get('oneOf', [schema['items']])[0])

    files = [('image', ('a.png', drawn()))]
    answer = client.post(
        '/api/detect', files=files, data={'names': 'red circle'}
    ).json()
    check(answer, schemas['Answer'])
    content = {'images': [{'id': answer['images'][0]['id']}], 'names': 'red circle'}
    explained = client.post('/api/explain', json={**content, 'index': 0}).json()
    check(explained, schemas['Explanation'])
    assert set(explained) == set(schemas['Explanation']['properties'])
    for path in ('/healthz', '/api/info'):
        own = paths[path]['get']['responses']['200']['content']['application/json']
        answer = client.get(path).json()
        assert set(answer) == set(own['schema']['properties'])


# -------------------------------------------------------------------- the pages
def test_pages_need_nothing_from_outside(client):
    for path in ('/', '/api'):
        answer = client.get(path)
        assert answer.headers['content-type'].startswith('text/html')
        policy = answer.headers['content-security-policy']
        assert "default-src 'none'" in policy and 'http' not in policy
        for link in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
            assert client.get(link).status_code == 200, link
    for file in STATIC.iterdir():
        text = file.read_text('utf-8').replace('http://www.w3.org/2000/svg', '')
        assert not re.search(r'https?://|\sstyle="|\son\w+="|innerHTML', text), file


def test_both_languages_have_every_text():
    text = (STATIC / 'words.js').read_text('utf-8')
    english, chinese = text.split('  zh: {')
    keys = [set(re.findall(r'(?<=[\s{])(\w+): ', part)) for part in (english, chinese)]
    assert keys[0] - {'en'} == keys[1] - {'zh'}
    pages = ''.join(path.read_text('utf-8') for path in STATIC.glob('*.*'))
    used = set(re.findall(r'data-(?:t|label)="(\w+)"', pages))
    used |= set(re.findall(r"\bt\('(\w+)'", pages))
    assert used <= keys[0]
