"""Detections in the forms of other tools, read back by these."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.apis import Detections

CLASSES = ('black cat', '白色杯子', 'red cup')
BOXES = [[8.25, 4.5, 40.75, 30.1], [0.0, 0.1, 160.0, 96.0], [70.3, 11.7, 90.9, 60.6]]
SCORES, LABELS = [0.9, 0.1 + 0.2, 0.3], [1, 0, 1]


def some(count: int = 3, image: str = '') -> Detections:
    return Detections(
        torch.tensor(BOXES[:count]).reshape(-1, 4),
        torch.tensor(SCORES[:count]),
        torch.tensor(LABELS[:count], dtype=torch.long),
        CLASSES,
        image,
    )


COUNTS = pytest.mark.parametrize('count', [0, 1, 3])


@COUNTS
def test_json_restores_every_bit(count):
    text = some(count, '照片.png').to_json()
    actual = Detections.from_json(text)
    for name in ('bboxes', 'scores', 'labels'):
        value, expected = getattr(actual, name), getattr(some(count), name)
        assert torch.equal(value, expected) and value.dtype == expected.dtype
    assert actual.classes == CLASSES and actual.image == '照片.png'
    assert actual.names == ['白色杯子', 'black cat', '白色杯子'][:count]
    assert ('白色杯子' in text) and actual.to_json() == text


def test_json_of_random_floats():
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(0x33000000, 0x47000000, (500, 5), generator=generator)
    values = bits.int().view(torch.float32)  # 3e-8 to 3e4
    found = Detections(
        values[:, :4], values[:, 4], torch.zeros(500, dtype=torch.long), ('a',)
    )
    actual = Detections.from_json(found.to_json())
    assert torch.equal(actual.bboxes, found.bboxes)
    assert torch.equal(actual.scores, found.scores)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('[', 'text that is no JSON'),
        ('[]', r"expected a dict with \['bboxes', 'classes', 'labels', 'scores'\]"),
        (json.dumps(some().to_dict() | dict(scores=[1.0])), '3 boxes, 1 scores'),
        (json.dumps(some().to_dict() | dict(labels=[0, 1, 3])), 'of 3 classes'),
        (json.dumps(some().to_dict() | dict(bboxes=[[1.0]] * 3)), 'boxes of 4 numbers'),
    ],
)
def test_other_json(text, words):
    with pytest.raises(ValueError, match=words):
        Detections.from_json(text)


@COUNTS
def test_coco(count, tmp_path):
    """pycocotools loads the rows, and finds each box where it lies."""
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO

    truth = dict(
        images=[dict(id=7, width=160, height=96)],
        categories=[dict(id=i, name=name) for i, name in zip((1, 5, 9), CLASSES)],  # noqa: B905
        annotations=[],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(truth))
    coco = COCO(str(tmp_path / 'ann.json'))
    rows = some(count).to_coco(7, [1, 5, 9])
    json.dumps(rows)
    assert [row['category_id'] for row in rows] == [5, 1, 5][:count]
    if count:
        result = coco.loadRes(rows)
        for i, annotation in enumerate(result.loadAnns(result.getAnnIds())):
            x, y, w, h = annotation['bbox']
            np.testing.assert_allclose([x, y, x + w, y + h], BOXES[i], rtol=1e-6)
            assert annotation['score'] == float(torch.tensor(SCORES)[i])
    assert [row['category_id'] for row in some(count).to_coco('a')] == [2, 1, 2][:count]
    assert len(some().to_coco(7, [None, 5, 9])) == 2
    with pytest.raises(ValueError, match='for each of 3 classes, got 2'):
        some().to_coco(7, [1, 2])


@COUNTS
def test_supervision(count, tmp_path):
    """supervision's own exporter and loader: a COCO file, and a JSON sink."""
    sv = pytest.importorskip('supervision')
    found = some(count).to_supervision()
    assert len(found) == count and found['class_name'].tolist() == some(count).names
    np.testing.assert_array_equal(found.xyxy, some(count).bboxes.numpy())
    np.testing.assert_array_equal(found.confidence, some(count).scores.numpy())
    path = tmp_path / 'images' / 'a.png'
    path.parent.mkdir()
    Image.new('RGB', (160, 96)).save(path)
    data = sv.DetectionDataset(
        classes=list(CLASSES), images=[str(path)], annotations={str(path): found}
    )
    data.as_coco(annotations_path=str(tmp_path / 'ann.json'))
    again = sv.DetectionDataset.from_coco(str(path.parent), str(tmp_path / 'ann.json'))
    ((_, _, read),) = list(again)
    assert again.classes == list(CLASSES)
    np.testing.assert_allclose(read.xyxy, found.xyxy, rtol=1e-5)
    assert read.class_id.tolist() == LABELS[:count]
    with sv.JSONSink(str(tmp_path / 'rows.json')) as sink:
        sink.append(found, {})
    rows = json.loads((tmp_path / 'rows.json').read_text('utf-8'))
    assert [row['class_name'] for row in rows] == some(count).names


@pytest.fixture(scope='module')
def owl(tmp_path_factory):
    """A zero-shot-object-detection pipeline on a random OWL-ViT of one layer."""
    T = pytest.importorskip('transformers')
    from tokenizers import pre_tokenizers

    folder = tmp_path_factory.mktemp('owl')
    tiny = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                num_attention_heads=2)  # fmt: skip
    text = dict(tiny, vocab_size=600, max_position_embeddings=16, pad_token_id=0,
                bos_token_id=1, eos_token_id=2)  # fmt: skip
    torch.manual_seed(0)
    config = T.OwlViTConfig(
        vision_config=dict(tiny, image_size=96, patch_size=16), text_config=text,
        projection_dim=32,
    )  # fmt: skip
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ends = ['<|startoftext|>', '<|endoftext|>']
    tokens = [*letters, *(letter + '</w>' for letter in letters), *ends]
    (folder / 'vocab.json').write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    files = str(folder / 'vocab.json'), str(folder / 'merges.txt')
    images = T.OwlViTImageProcessorPil(
        size=dict(height=96, width=96), crop_size=dict(height=96, width=96)
    )
    return T.pipeline(
        'zero-shot-object-detection',
        model=T.OwlViTForObjectDetection(config).eval(),
        tokenizer=T.CLIPTokenizer(*files, model_max_length=16),
        image_processor=images,
    )


def shape(value):
    """Keys in their order and types."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)


def test_pipeline_dicts(owl):
    expected = owl(Image.new('RGB', (160, 96), 'red'), ['cat', '杯'], threshold=0.0)
    actual = some().to_pipeline_dicts()
    assert {str(shape(row)) for row in actual} == {str(shape(row)) for row in expected}
    assert [row['score'] for row in actual] == sorted(
        (row['score'] for row in actual), reverse=True
    )
    assert actual[0]['label'] == '白色杯子'
    assert actual[0]['box'] == dict(
        xmin=8, ymin=4, xmax=40, ymax=30
    )  # cut, not rounded
    assert some(0).to_pipeline_dicts() == []


@COUNTS
def test_dataframe(count, tmp_path):
    pandas = pytest.importorskip('pandas')
    frame = some(count).to_dataframe()
    assert list(frame.columns) == ['name', 'label', 'score', 'x1', 'y1', 'x2', 'y2']
    frame.to_csv(tmp_path / 'rows.csv', index=False)
    read = pandas.read_csv(tmp_path / 'rows.csv')
    assert read['name'].tolist() == some(count).names
    corners = read[['x1', 'y1', 'x2', 'y2']].to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(corners, some(count).bboxes.numpy())


def test_data_sample():
    sample = some(image='a.png').to_data_sample()
    assert sample.img_path == 'a.png'
    assert sample.pred_instances.bboxes.shape == (3, 4)
    assert sample.pred_instances[sample.pred_instances.scores > 0.5].labels == 1


def check_as_labelme(content: dict) -> list[str]:
    """Labels, checked as labelme 6.3.1's loader checks a file."""
    assert content['imageData'] is None and isinstance(content['imagePath'], str)
    assert {'version', 'flags', 'imageHeight', 'imageWidth'} <= content.keys()
    for row in content['shapes']:
        assert isinstance(row['label'], str) and row['shape_type'] == 'rectangle'
        assert row['points'] and all(
            isinstance(point, list)
            and len(point) == 2
            and all(isinstance(value, int | float) for value in point)
            for point in row['points']
        )
        assert isinstance(row['flags'], dict) and isinstance(row['description'], str)
        assert row['group_id'] is None and row['mask'] is None
    return [row['label'] for row in content['shapes']]


@COUNTS
def test_labelme(count, tmp_path):
    """labelme's own loader where it is installed (it brings Qt and onnxruntime), else
    what it checks."""
    Image.new('RGB', (160, 96)).save(tmp_path / '照片.png')
    content = some(count).to_labelme('照片.png', (160, 96))
    path = tmp_path / '照片.json'
    path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
    assert check_as_labelme(json.loads(path.read_text('utf-8'))) == some(count).names
    if importlib.util.find_spec('labelme') is None:
        return
    from labelme import LabelFile

    read = LabelFile(str(path)).shapes
    assert [row['label'] for row in read] == some(count).names
    corners = [row['points'][0] + row['points'][1] for row in read]
    assert corners == some(count).bboxes.tolist()
    assert [row['other_data']['score'] for row in read] == some(count).scores.tolist()


def test_pictures(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.new('RGB', (160, 96), 'gray').save(path)
    found = some(image=str(path))
    drawn = found.plot()
    assert drawn.size == (160, 96)
    assert (np.asarray(drawn) != 128).any()
    array = np.full((96, 160, 3), 128, np.uint8)
    assert np.array_equal(np.asarray(some().plot(array)), np.asarray(drawn))
    assert found.save(tmp_path / 'out' / 'b.png') == tmp_path / 'out' / 'b.png'
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'out/b.png')), drawn)
    empty = np.asarray(found.plot(score_thr=1.0))
    assert (empty == 128).all() and len(found.above(0.5)) == 1
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda self: shown.append(self.size))
    found.show()
    assert shown == [(160, 96)]
    with pytest.raises(ValueError, match='without a path; pass the image'):
        some().plot()
    with pytest.raises(ValueError, match='must end like an image file'):
        found.save(tmp_path / 'b.txt')
    assert not Path(tmp_path / 'b.txt').exists()


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pandas', None)
    with pytest.raises(ImportError, match='needs pandas, which is not installed'):
        some().to_dataframe()
