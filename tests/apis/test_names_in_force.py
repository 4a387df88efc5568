"""Names hold: to the end of what uses them, and when others are refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, Vocabulary
from fgclip2_det.apis import prompt_free
from fgclip2_det.apis.systems import EMBEDDED

TINY = Path(EMBEDDED).parents[1] / 'fgclip2_tiny'
NAMES = 'red circle; 蓝色正方形'
LONG = ' '.join(['cup'] * 300)  # beyond the tokens of a text


@pytest.fixture(scope='module', params=['two-stage', 're-scored'])
def inferencer(request) -> OpenVocabInferencer:
    if request.param == 'two-stage':
        return OpenVocabInferencer()
    return OpenVocabInferencer(detector=EMBEDDED, encoder=dict(pretrained=str(TINY)))


@pytest.fixture(scope='module')
def images() -> list[Image.Image]:
    return [picture(i) for i in range(3)]


def picture(i: int) -> Image.Image:
    image = Image.new('RGB', (256, 192), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((20 + 8 * i, 20, 90 + 8 * i, 90), fill='red')
    canvas.rectangle((180, 110, 240, 170), fill='blue')
    return image


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('video') / 'clip.avi'
    file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (256, 192))
    for i in range(6):
        file.write(np.asarray(picture(i))[..., ::-1])
    file.release()
    return path


def same(actual, expected) -> None:
    assert len(actual) == len(expected) > 0
    for one, other in zip(actual, expected, strict=True):
        assert one.classes == other.classes and one.names == other.names
        assert torch.equal(one.bboxes, other.bboxes)
        assert torch.equal(one.scores, other.scores)
        assert one.candidates == other.candidates


@pytest.mark.parametrize('texts', ['given', 'in force', 'in the model', 'no prompt'])
@pytest.mark.parametrize('slices', [None, 128])
def test_a_stream_keeps_its_names(inferencer, images, texts, slices):
    names = None
    if texts == 'given':
        names = NAMES
    elif texts == 'in force':
        inferencer.set_vocabulary(NAMES, 'shadow')
    elif texts == 'in the model':
        inferencer.set_vocabulary('dog')
        inferencer.model.set_vocabulary(NAMES.split('; '))
    else:
        inferencer.set_prompt_free(['red circle', 'blue square', 'green star'])
    expected = [
        each.detections for each in inferencer.stream(images, names, 0.2, slices=slices)
    ]
    found = []
    for number, each in enumerate(inferencer.stream(images, names, 0.2, slices=slices)):
        found.append(each.detections)
        if number == 0:
            inferencer(images[0], 'dog; green star')
        else:
            inferencer.set_prompt_free(['dog', 'green star'])
    same(found, expected)


@pytest.mark.parametrize('given', [True, False])
def test_a_video_keeps_its_names(inferencer, clip, given):
    inferencer.set_vocabulary(NAMES)
    names = NAMES if given else None
    expected = [each.detections for each in inferencer.frames(clip, names)]
    found = []
    for each in inferencer.frames(clip, names, batch_size=2):
        found.append(each.detections)
        inferencer(each.frame.image, 'green star')
    assert {own.classes for own in found} == {tuple(NAMES.split('; '))}
    assert [own.names for own in found] == [own.names for own in expected]


def test_a_vocabulary_of_a_video_is_set_once(inferencer, clip, monkeypatch):
    calls = []
    own = inferencer.system.set_vocabulary
    monkeypatch.setattr(
        inferencer.system, 'set_vocabulary', lambda names: calls.append(1) or own(names)
    )
    frames = list(inferencer.frames(clip, Vocabulary(NAMES.split('; '))))
    assert len(frames) == 6 and len(calls) == 1


@pytest.mark.parametrize('size', [0, -1])
def test_batches_of_nothing(inferencer, clip, images, size, tmp_path):
    message = f'batch_size must be at least 1, got {size}'
    with pytest.raises(ValueError, match=message):
        list(inferencer.frames(clip, NAMES, batch_size=size))
    with pytest.raises(ValueError, match=message):
        inferencer.video(clip, NAMES, tmp_path / 'out', batch_size=size)
    assert not (tmp_path / 'out').exists()
    with pytest.raises(ValueError, match=message):
        inferencer(images, NAMES, batch_size=size)


@pytest.mark.parametrize('score', [2, -0.1, 'high', float('nan')])
def test_scores_that_are_none(inferencer, clip, images, score):
    message = 'score_thr must be a number from 0 to 1, got'
    with pytest.raises(ValueError, match=message):
        inferencer.video(clip, NAMES, score_thr=score)
    with pytest.raises(ValueError, match=message):
        list(inferencer.frames(clip, NAMES, score))
    with pytest.raises(ValueError, match=message):
        inferencer(images, NAMES, score)


@pytest.mark.parametrize('before', ['names', 'no prompt'])
@pytest.mark.parametrize(
    ('names', 'negatives'),
    [('cat; cat', None), (LONG, None), ('black cat', LONG), ('cat', 'cat')],
)
def test_refused_names_change_nothing(inferencer, images, before, names, negatives):
    if before == 'names':
        inferencer.set_vocabulary(NAMES)
    else:
        inferencer.set_prompt_free(['red circle', 'blue square', 'green star'])
    expected = inferencer(images[0])
    vocabulary, free = inferencer.vocabulary, inferencer.system.prompt_free
    for _ in range(2):
        with pytest.raises(ValueError, match=r'cat|tokens'):
            inferencer(images[0], names, negatives=negatives)
        assert inferencer.vocabulary is vocabulary
        assert inferencer.system.prompt_free is free
        same(inferencer(images[0]), expected)


def test_a_refused_list_changes_nothing(inferencer, images, monkeypatch, tmp_path):
    inferencer.set_vocabulary(NAMES)
    expected, cache = inferencer(images[0]), inferencer.model.cache_dir
    for names in (['red circle', LONG], ['cat', 'cat'], 'imagenet21k'):
        with pytest.raises(ValueError, match=r'token|cat|cannot be read'):
            inferencer.set_prompt_free(names, cache_dir=tmp_path)
        assert inferencer.model.cache_dir == cache
        same(inferencer(images[0]), expected)

    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(prompt_free.Vocabulary, 'embed', stop)
    with pytest.raises(KeyboardInterrupt):
        inferencer.set_prompt_free(['cat', 'dog'], box_names=['thing'])
    monkeypatch.undo()
    same(inferencer(images[0]), expected)
