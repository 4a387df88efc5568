"""Detection without a prompt: all systems, and the names of a box."""

import json

import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.prompt_free import PromptFree, group_names
from fgclip2_det.vocabulary import Vocabulary


@pytest.fixture(scope='module')
def picture() -> Image.Image:
    image = Image.new('RGB', (256, 192), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((150, 60, 230, 140), fill='red')
    canvas.rectangle((30, 30, 90, 90), fill='blue')
    return image


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


def test_rows_of_an_object():
    box, near, far = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]
    bboxes = torch.tensor([box, near, far, box, box, near, box], dtype=torch.float32)
    labels = torch.tensor([0, 1, 0, 2, 0, 3, 4])
    apart = torch.zeros(5, 5, dtype=torch.bool)
    apart[1, 2] = apart[2, 1] = True  # 2 is another word for 1
    assert group_names(bboxes, labels, apart, 3) == [[0, 1, 5], [2]]
    assert group_names(bboxes, labels, apart, 9) == [[0, 1, 5, 6], [2]]
    assert group_names(bboxes, labels, apart, 1) == [[0], [2]]
    assert group_names(bboxes[:0], labels[:0], apart, 3) == []


def test_names_of_an_object_that_was_found_twice():
    apart = torch.zeros(4, 4, dtype=torch.bool)
    apart[0, 3] = apart[3, 0] = True  # a kitten is a cat
    lists = [
        (('cat', 0.8), ('dog', 0.3)),
        (('dog', 0.7), ('kitten', 0.75), ('cat', 0.6), ('fox', 0.2)),
    ]
    for top, wanted in (
        (1, (('cat', 0.8),)),
        (2, (('cat', 0.8), ('dog', 0.7))),
        (9, (('cat', 0.8), ('dog', 0.7), ('fox', 0.2))),
    ):
        free = PromptFree(Vocabulary(['cat', 'dog', 'fox', 'kitten']), apart, top)
        assert free.best_names(lists) == wanted
        assert free.best_names(lists[:1]) == lists[0][:top]


def test_the_embedded_detector_names_what_it_knows(inferencer, picture):
    """Right names, in the order of their scores, one row per object."""
    names = inferencer.set_prompt_free()
    (found,) = inferencer(picture, score_thr=0.3)
    assert len(names) >= 64 and found.classes == tuple(names.names)
    best = {
        own[0][0]: box for own, box in zip(found.candidates, found.bboxes, strict=True)
    }
    assert set(best) == {'red circle', 'blue square'} == set(found.names)
    torch.testing.assert_close(
        best['red circle'], torch.tensor([150.0, 60, 230, 140]), atol=8, rtol=0
    )
    for own, score in zip(found.candidates, found.scores.tolist(), strict=True):
        scores = [value for _, value in own]
        assert scores == sorted(scores, reverse=True) and scores[0] == score
        assert len({name for name, _ in own}) == len(own) == 3
    asked = inferencer(picture, 'red circle; blue square', score_thr=0.3)[0]
    assert asked.candidates is None and inferencer.system.prompt_free is None
    assert inferencer.model.competitors is not None  # those of asked names again


def test_thousands_of_names_in_both_languages(inferencer, picture):
    """Words that the encoder has never seen lose to those it knows."""
    names = inferencer.set_prompt_free('ram', 'zh', top=2)
    assert len(names) == 4379
    inferencer.set_prompt_free(
        [['红色圆形', 'red circle'], ['蓝色正方形', 'blue square'],
         ['red disc'], ['green star', '绿色星形'], *['cat', 'tree', '狗']], top=2,
    )  # fmt: skip
    (found,) = inferencer(picture, score_thr=0.3)
    assert set(found.names) == {'红色圆形', '蓝色正方形'}
    assert all(len(own) <= 2 for own in found.candidates)


def test_a_rescored_detector(picture, tmp_path):
    """Boxes of the detector, whatever it called them, named by the encoder."""
    content = dict(
        images=[dict(id=1, file_name='a.png', width=256, height=192)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=[],
    )  # fmt: skip
    rows = [
        dict(image_id=1, category_id=1, bbox=[150, 60, 80, 80], score=0.9),
        dict(image_id=1, category_id=2, bbox=[30, 30, 60, 60], score=0.8),
        dict(image_id=1, category_id=1, bbox=[30, 30, 60, 58], score=0.7),
    ]
    (tmp_path / 'val.json').write_text(json.dumps(content))
    (tmp_path / 'results.json').write_text(json.dumps(rows))
    picture.save(tmp_path / 'a.png')
    own = OpenVocabInferencer(
        detector=tmp_path / 'results.json', ann_file=tmp_path / 'val.json',
        encoder='fgclip2_tiny',
    )  # fmt: skip
    listed = ['red circle', 'blue square', 'green star', 'black ring', '黄色圆形']
    names = own.set_prompt_free(listed, top=2)
    assert names.names == listed
    (found,) = own(tmp_path / 'a.png')
    assert found.names == ['red circle', 'blue square']
    assert found.bboxes.tolist() == [[150, 60, 230, 140], [30, 30, 90, 90]]
    assert [len(each) for each in found.candidates] == [2, 2]
    with pytest.raises(ValueError, match='explained by names that were asked for'):
        own.explain(tmp_path / 'a.png')
    (again,) = own(tmp_path / 'a.png', 'cat; dog')
    assert set(again.names) <= {'cat', 'dog'} and again.candidates is None


def test_forms_and_slices(inferencer, picture):
    inferencer.set_prompt_free(top=2)
    (found,) = inferencer(picture, score_thr=0.3)
    again = Detections.from_json(found.to_json())
    assert again.candidates == found.candidates and again.names == found.names
    assert found.take(torch.tensor([1])).candidates == (found.candidates[1],)
    broken = found.to_dict() | dict(candidates=[])
    with pytest.raises(ValueError, match='candidates of 2 boxes, got 0'):
        Detections.from_dict(broken)
    (sliced,) = inferencer(picture, score_thr=0.3, slices=dict(size=192))
    assert set(sliced.names) == set(found.names)
    assert len(sliced.candidates) == len(sliced)


def test_errors(inferencer):
    with pytest.raises(ValueError, match='top must be 1 or more'):
        inferencer.set_prompt_free(top=0)
    with pytest.raises(ValueError, match='cannot be read'):
        inferencer.set_prompt_free('imagenet21k')


def test_the_command(inferencer, picture, tmp_path, monkeypatch, capsys):
    from fgclip2_det.cli import detect

    monkeypatch.setattr(detect, 'build', lambda args: inferencer)
    picture.save(tmp_path / 'a.png')
    words = ['detect', str(tmp_path / 'a.png'), '--out', str(tmp_path / 'out')]
    (tmp_path / 'own.txt').write_text(
        'red circle\nblue square\nred heart\n黑色圆形\n', 'utf-8'
    )
    cache = tmp_path / 'cache'
    cli.main([*words, '--prompt-free', str(tmp_path / 'own.txt'), '--top', '2',
              '--text-cache', str(cache)])  # fmt: skip
    assert list(cache.glob('*.safetensors'))
    content = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    rows = content['images'][0]['detections']
    assert {row['name'] for row in rows} == {'red circle', 'blue square'}
    assert all(row['candidates'][0] == dict(name=row['name'], score=row['score'])
               for row in rows)  # fmt: skip
    assert 'red circle (red heart)' in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, '--prompt-free', '--names', 'cat'])
    assert stop.value.code == 2
