"""The JSON interface gives what the inferencer gives."""

import base64
from io import BytesIO

import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('starlette', reason='needs the extra web: pip install -e .[web]')

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.apis.systems import EMBEDDED
from fgclip2_det.web.asks import Ask
from fgclip2_det.web.limits import Limits, Refused
from fgclip2_det.web.pictures import FORMATS, Upload
from fgclip2_det.web.service import Service

NAMES = 'red circle; 蓝色正方形'


def boxes(found) -> list[tuple]:
    """(name, score, box) rows of Detections."""
    return list(
        zip(found.names, found.scores.tolist(), found.bboxes.tolist(), strict=True)
    )


def answered(image: dict) -> list[tuple]:
    return [(d['name'], d['score'], d['bbox']) for d in image['detections']]


@pytest.fixture(scope='module')
def expected():
    """Function: file, names -> rows of an inferencer that keeps nothing."""
    inferencer = OpenVocabInferencer(cache_size=0)

    def rows(data: bytes, names=NAMES, score_thr=0.3) -> list[tuple]:
        return boxes(inferencer(Image.open(BytesIO(data)), names, score_thr)[0])

    return rows


@pytest.fixture
def sent(client, drawn) -> str:
    """Id of an image that was sent."""
    return client.post('/api/images?name=a.png', content=drawn()).json()['id']


def ask(client, key: str, names=NAMES, **more):
    content = {'images': [{'id': key}], 'names': names, **more}
    answer = client.post('/api/detect', json=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_form_gives_what_the_inferencer_gives(client, drawn, expected):
    data = drawn()
    files = [('image', ('../folder/a.png', data))]
    answer = client.post('/api/detect', files=files, data={'names': NAMES}).json()
    assert answer['names'] == ['red circle', '蓝色正方形']
    assert answered(answer['images'][0]) == expected(data)
    assert {row[0] for row in expected(data)} == {'red circle', '蓝色正方形'}
    image = answer['images'][0]
    assert (image['name'], image['width'], image['height']) == ('a.png', 256, 256)


def test_other_names_encode_nothing(client, service, sent, drawn, expected):
    service.inferencer.forget()
    before = service.encoder_passes
    assert ask(client, sent)['encoder_passes'] == 1
    for names in ('blue star', 'red square; 蓝色正方形', NAMES):
        answer = ask(client, sent, names)
        assert answer['encoder_passes'] == 0
        assert answered(answer['images'][0]) == expected(drawn(), names)
    assert service.encoder_passes == before + 1
    assert client.get('/healthz').json()['encoder_passes'] == before + 1


def test_kinds_of_names(client, sent, drawn, expected):
    given = [['red circle', '红色圆形'], 'blue square']
    answer = ask(client, sent, given, threshold=0.05)
    assert answered(answer['images'][0]) == expected(drawn(), given, 0.05)
    assert answer['names'] == ['red circle', 'blue square'] and not answer['notes']
    text = ask(client, sent, 'red circle|红色圆形; blue square', threshold=0.05)
    assert text['images'] == answer['images']
    assert ask(client, sent, '{red|blue} circle')['names'] == [
        'red circle', 'blue circle',
    ]  # fmt: skip
    assert 'dogs' in ask(client, sent, 'dog; dogs')['notes'][0]


def test_names_of_braces_alone_have_negatives(client, service, sent):
    ask(client, sent, 'red {circle|square}; blue star')
    assert set(service.inferencer.vocabulary.given_negatives) == {
        'red circle', 'red square'
    }  # fmt: skip
    ask(client, sent, 'red circle; blue star')
    assert service.inferencer.vocabulary.negatives is None


def test_aliases_of_a_class_that_is_shown(client, service, sent):
    box = {'id': sent, 'bbox': [60, 80, 140, 160], 'name': 'red circle'}
    ask(client, sent, 'Red circle|红色圆形; blue star', examples=[box])
    vocabulary = service.inferencer.vocabulary
    assert vocabulary.aliases == [['blue star'], ['red circle', '红色圆形']]
    assert vocabulary.prompts()[1] == ['red circle', '红色圆形']


def test_negatives_compete(client, service, sent, drawn):
    image = Image.open(BytesIO(drawn()))
    answer = ask(
        client, sent, 'circle', **{'not': ['red circle', 'circle=blue circle']}
    )
    (found,) = service.inferencer(
        image, 'circle', 0.3, negatives={'*': ['red circle'], 'circle': ['blue circle']}
    )
    assert answered(answer['images'][0]) == boxes(found)


def test_base64_and_several_images(client, drawn, expected):
    files = [drawn(20), b'no image', drawn(120)]
    images = [
        {'data': base64.b64encode(data).decode(), 'name': f'{i}.png'}
        for i, data in enumerate(files)
    ]
    answer = client.post('/api/detect', json={'images': images, 'names': NAMES}).json()
    first, bad, last = answer['images']
    assert answered(first) == expected(files[0])
    assert answered(last) == expected(files[2])
    assert bad['code'] == 'no_image' and '1.png' in bad['error']


def test_uploads_of_a_request_do_not_push_out_its_own_images(client, drawn, expected):
    """Uploads that fill what is kept, and then an image by its id."""
    key = client.post('/api/images', content=drawn(7)).json()['id']
    client.post('/api/images', content=drawn(80)).raise_for_status()
    images = [
        {'data': base64.b64encode(drawn(90 + i)).decode(), 'name': f'{i}.png'}
        for i in range(3)
    ]
    content = {'images': [*images, {'id': key}], 'names': NAMES}
    answer = client.post('/api/detect', json=content).json()
    assert answered(answer['images'][-1]) == expected(drawn(7))
    assert client.get('/healthz').json()['images'] == 4


@pytest.mark.parametrize('kind', [k for k in FORMATS if k not in ('MPO', 'AVIF')])
def test_formats(client, drawn, kind):
    client.post('/api/images', content=drawn(33, kind)).raise_for_status()


def test_upright_and_animated(client, drawn):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = drawn(60, 'JPEG', (256, 200), exif=exif)
    answer = client.post('/api/images', content=data).json()
    assert (answer['width'], answer['height'], answer['notes']) == (200, 256, [])
    shown = client.get(f'/api/images/{answer["id"]}')
    assert shown.headers['content-type'] == 'image/jpeg'
    assert Image.open(BytesIO(shown.content)).size == (200, 256)
    frames = [Image.open(BytesIO(drawn(x))) for x in (20, 120)]
    data = drawn(60, 'GIF', save_all=True, append_images=frames)
    assert (
        'first is used' in client.post('/api/images', content=data).json()['notes'][0]
    )


def test_a_box_shows_a_class(client, service, sent, drawn):
    """A red circle is shown, without a name of ours; another image has it as well."""
    box = {'id': sent, 'bbox': [60, 80, 140, 160], 'name': '这个'}
    other = client.post('/api/images', content=drawn(100)).json()['id']
    found = ask(client, other, '', examples=[box])['images'][0]['detections']
    assert [each['name'] for each in found] == ['这个']
    assert abs(found[0]['bbox'][0] - 100) < 8
    for x in range(LAST := service.limits.kept):  # the example's image is forgotten
        client.post('/api/images', content=drawn(x))
    other = client.post('/api/images', content=drawn(100)).json()['id']
    again = ask(client, other, '', examples=[box])
    assert again['images'][0]['detections'] == found and LAST == 4
    mixed = ask(client, other, '这个; blue square', examples=[box])
    assert mixed['names'] == ['blue square', '这个']
    new = {**box, 'bbox': [61, 80, 140, 160]}
    content = {'images': [{'id': other}], 'names': '', 'examples': [new]}
    assert client.post('/api/detect', json=content).status_code == 404


def test_a_name_that_is_shown_in_another_case(client, sent):
    """'Blue Square' typed and 'blue square' shown are one class, half of each."""
    box = {'id': sent, 'bbox': [60, 80, 140, 160], 'name': 'blue square'}
    same, other = (
        ask(client, sent, names, examples=[box])['images'][0]['detections']
        for names in ('blue square', 'Blue Square')
    )
    assert same == other


def test_explanation(client, service, sent, drawn):
    content = {'images': [{'id': sent}], 'names': NAMES, 'index': 1}
    answer = client.post('/api/explain', json=content).json()
    image = Image.open(BytesIO(drawn()))
    own = service.inferencer.explain(image, None, 1).to_dict()
    assert answer == {**own, 'image': sent}
    assert answer['score'] == ask(client, sent)['images'][0]['detections'][1]['score']
    content['index'] = 5000
    answer = client.post('/api/explain', json=content)
    assert answer.status_code == 422 and 'no box 5000' in answer.json()['error']


def test_a_fixed_number_of_images_is_kept(client, service, drawn):
    first = client.post('/api/images', content=drawn(1)).json()['id']
    for x in range(2, 9):
        key = client.post('/api/images', content=drawn(x)).json()['id']
        ask(client, key, 'star')
    assert len(service.pictures) == len(service.inferencer._memories) == 4
    answer = client.post(
        '/api/detect', json={'images': [{'id': first}], 'names': 'star'}
    )
    assert answer.status_code == 404 and answer.json()['code'] == 'unknown_image'
    assert client.get(f'/api/images/{first}').status_code == 404
    assert client.get('/healthz').json()['images'] == 4


def test_a_rescored_detector(drawn, tmp_path):
    """Encoder passes are counted, explanations given, image prompts refused."""
    encoder = str(EMBEDDED.parents[1] / 'fgclip2_tiny')
    limits = Limits(kept=2)
    own = Service(OpenVocabInferencer(detector=EMBEDDED, encoder=encoder), limits)
    upload = Upload(drawn(), 'a.png')
    content = {'names': 'red circle; 蓝色正方形', 'threshold': 0.1}
    first = own.detect(Ask.of_fields([upload], content, limits))
    assert first['encoder_passes'] == 2  # the detector's and the re-scorer's
    content['names'] = 'blue square'
    ask = Ask.of_fields([upload.key], content, limits)
    second = own.detect(ask)
    assert second['encoder_passes'] == 0
    assert second['images'][0]['detections'][0]['name'] == 'blue square'
    assert own.explain(ask, 0)['score'] == second['images'][0]['detections'][0]['score']
    own.inferencer.system.own_classes = ('blue square',)  # as of other detectors
    example = {'id': upload.key, 'bbox': [1, 1, 9, 9], 'name': 'a'}
    with pytest.raises(Refused, match='image prompts need a detector'):
        own.detect(Ask.of_fields([upload], {'examples': [example]}, limits))
