"""Explanations: they give the score that is reported, to the last bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary, cli
from fgclip2_det.apis.explaining import NEAREST
from fgclip2_det.apis.systems import EMBEDDED
from fgclip2_det.cli import detect as command

TINY = Path(EMBEDDED).parents[1] / 'fgclip2_tiny'
NAMES = [['red circle', '红色圆形', 'red disk'], '蓝色正方形', 'green star', 'dog']


@pytest.fixture(scope='module')
def image() -> Image.Image:
    image = Image.new('RGB', (300, 220), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((30, 60, 120, 150), fill='red')
    canvas.rectangle((190, 20, 270, 100), fill='blue')
    return image


@pytest.fixture(scope='module')
def two_stage() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(scope='module', params=['two-stage', 'keep', 'joint'])
def inferencer(request, two_stage) -> OpenVocabInferencer:
    if request.param == 'two-stage':
        return two_stage
    options = dict(calibration=dict(base=0.4, novel=0.9))
    if request.param == 'joint':
        options |= dict(mode='joint', merge_iou=0.7, nms_iou=0.6, labels_per_box=2)
    return OpenVocabInferencer(
        detector=EMBEDDED, encoder=dict(pretrained=str(TINY)), **options
    )


def test_values_give_the_reported_score(inferencer, image):
    (found,) = inferencer(image, NAMES)
    fusion = inferencer.model.__dict__.get('_rescorer') or inferencer.model.roi_head
    for index in range(min(4, len(found))):
        each = inferencer.explain(image, NAMES, index)
        assert each.score == float(found.scores[index])
        assert each.name == found.names[index]
        assert list(each.bbox) == found.bboxes[index].tolist()
        by_hand = each.det_score ** (1 - each.weight) * each.similarity**each.weight
        assert each.fused == pytest.approx(by_hand, rel=1e-5)
        calibration = fusion.calibration
        label = int(found.labels[index])
        known = (
            inferencer.model.classifier.known
            if inferencer.model is inferencer.system.detector
            else fusion.is_base
        )
        shift = calibration.base if known[label] else calibration.novel
        odds = each.fused / (1 - each.fused) * np.exp(shift)
        assert each.score == pytest.approx(odds / (1 + odds), rel=1e-5)
        # the same detection, by its box
        assert inferencer.explain(image, None, each.bbox).bbox[:2] == each.bbox[:2]


def test_what_a_name_is_compared_with(inferencer, image):
    """Against the encoder itself: texts, their mean, and the other names."""
    encoder = FGCLIP2.from_pretrained(TINY)
    each = inferencer.explain(image, NAMES, 0)
    aliases = {'red circle': NAMES[0]}.get(each.name, [each.name])
    assert [text.name for text in each.texts] == aliases
    own = Vocabulary(aliases, check=False).embed(encoder)
    mean = torch.nn.functional.normalize(own.mean(0), dim=0)
    cosines = torch.tensor([text.cosine for text in each.texts])
    expected = float(cosines.mean() / own.mean(0).norm())
    assert each.cosine == pytest.approx(expected, abs=1e-5)
    others = list(each.names)
    assert len(others) == 3 and each.name not in [other.name for other in others]
    for few in (each.names, each.competitors):
        values = [other.cosine for other in few]
        assert values == sorted(values, reverse=True)
    assert len(each.competitors) == NEAREST
    # a competitor's cosine is that of the same region: both lie near their texts
    names = [other.name for other in each.competitors]
    texts = Vocabulary(names, check=False).embed(encoder)
    gaps = torch.tensor([other.cosine for other in each.competitors]) - each.cosine
    assert (gaps.abs() <= (texts - mean).norm(dim=1) + 1e-4).all()
    assert 0 <= each.competing <= 1
    total = each.similarity + sum(other.similarity for other in others)
    assert total + each.competing == pytest.approx(1, abs=1e-4)
    two_stage = inferencer.model is inferencer.system.detector
    assert (each.background is not None) == two_stage


def test_heat_is_where_the_object_is(inferencer, image):
    each = inferencer.explain(image, 'red circle; 蓝色正方形', 0)
    height, width = each.heat.shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
    x = (columns + 0.5) * each.heat_size[0] / width
    y = (rows + 0.5) * each.heat_size[1] / height
    x0, y0, x1, y1 = each.bbox
    inside = (x > x0) & (x < x1) & (y > y0) & (y < y1)
    assert each.heat[inside].mean() > each.heat[~inside].mean() + 0.05
    assert 300 <= each.heat_size[0] < 325 and 220 <= each.heat_size[1] < 245


def test_json_and_sheet(two_stage, image):
    each = two_stage.explain(image, NAMES, 1)
    content = json.loads(each.to_json())
    assert content['name'] == each.name and content['score'] == each.score
    assert content['competitors'][0].keys() == {'name', 'cosine', 'similarity'}
    assert np.shape(content['heat']) == each.heat.shape
    sheet = each.plot()
    assert sheet.mode == 'RGB' and min(sheet.size) > 700


def test_one_pass_for_the_best_boxes(two_stage, image):
    best = two_stage.explain_best(image, NAMES, 2)
    (found,) = two_stage(image, NAMES)
    assert [each.score for each in best] == found.scores[:2].tolist()
    assert two_stage.explain_best(image, NAMES, 9, score_thr=1.0) == []
    assert 'dense_embeds' not in vars(two_stage.model.roi_head)
    assert not two_stage.model.roi_head.fusion._forward_hooks


def test_saved_results_with_equal_scores(image, tmp_path):
    """Fixed classes, asked for in another order; two boxes score 1 after fusion."""
    image.save(tmp_path / 'shapes.png')
    names = 'dog', 'red circle', 'blue square'
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    picture = dict(id=7, file_name='shapes.png', width=300, height=220)
    content = dict(images=[picture], annotations=[], categories=categories)
    rows = [
        dict(image_id=7, category_id=number, bbox=bbox, score=score)
        for number, bbox, score in (
            (2, [30, 60, 90, 90], 1.0),
            (2, [30, 60, 90, 80], 1.0),
            (3, [190, 20, 80, 80], 0.8),
        )
    ]
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    inferencer = OpenVocabInferencer(
        detector=tmp_path / 'rows.json', ann_file=tmp_path / 'ann.json',
        encoder=dict(pretrained=str(TINY)),
    )  # fmt: skip
    (found,) = inferencer(tmp_path / 'shapes.png', 'blue square; red circle')
    encoder = FGCLIP2.from_pretrained(TINY)
    batch = encoder.preprocess([image])
    (regions,) = encoder.region_features(batch, [found.bboxes], normalize=True)
    texts = Vocabulary(found.classes, check=False).embed(encoder)
    cosines = (regions * texts[found.labels]).sum(1)
    for index in range(3):
        each = inferencer.explain(tmp_path / 'shapes.png', None, index)
        assert each.score == float(found.scores[index])
        assert each.name == found.names[index]
        assert each.cosine == pytest.approx(float(cosines[index].detach()), abs=1e-5)
        assert len(each.names) == 2 and each.background is None


def test_bfloat16(image):
    inferencer = OpenVocabInferencer(dtype='bfloat16')
    (found,) = inferencer(image, NAMES)
    each = inferencer.explain(image, NAMES, 0)
    assert each.score == float(found.scores[0]) and each.heat.dtype == np.float32


def test_bad_input(two_stage, image, tmp_path):
    with pytest.raises(ValueError, match='there is no box 5000, the image has'):
        two_stage.explain(image, NAMES, 5000)
    with pytest.raises(ValueError, match='no detection overlaps the box'):
        two_stage.explain(image, NAMES, (0, 200, 4, 204))
    with pytest.raises(ValueError, match='a box is an index or x1'):
        two_stage.explain(image, NAMES, (0, 200, 4))
    with pytest.raises(ValueError, match='expected one image, got 2'):
        two_stage.explain([image, image], NAMES)
    with pytest.raises(ValueError, match='cannot be read'):
        two_stage.explain(tmp_path / 'absent.png', NAMES)


def test_command(two_stage, image, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, 'build', lambda args: two_stage)
    image.save(tmp_path / 'shapes.png')
    words = ['detect', str(tmp_path / 'shapes.png'), '--names', '红色圆形; blue square']
    words += ['--out', str(tmp_path / 'out'), '--explain']
    cli.main(words)
    folder = tmp_path / 'out' / 'explained'
    names = [f'shapes-{i}.{end}' for i in (1, 2) for end in ('json', 'png')]
    assert sorted(path.name for path in folder.iterdir()) == names
    content = json.loads((folder / 'shapes-1.json').read_text('utf-8'))
    report = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    first = report['images'][0]['detections'][0]
    assert (content['name'], content['score']) == (first['name'], first['score'])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, '--slices'])
    assert stop.value.code == 2 and 'without --slices' in capsys.readouterr().err
