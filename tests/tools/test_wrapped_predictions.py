"""Saved results wrapped like a detector, against tools/rescore.py on the same file."""

import json

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

import fgclip2_det.registration


@pytest.fixture
def files(coco_data, tmp_path):
    """Three rows on one image, one on another, none on the rest; a checked order."""
    coco = json.loads((coco_data / 'ann.json').read_text())
    ids = [c['id'] for c in coco['categories']]
    one, two = coco['images'][0]['id'], coco['images'][2]['id']
    rows = [
        dict(image_id=i, category_id=ids[c], bbox=b, score=s)
        for i, c, b, s in (
            (two, 1, [4, 6, 40, 30], 0.75), (one, 0, [10, 10, 30, 40], 0.5),
            (one, 1, [10, 10, 30, 40], 0.25), (one, 0, [0.5, 3, 60, 50], 1.0),
        )
    ]  # fmt: skip
    path = tmp_path / 'rows.json'
    path.write_text(json.dumps(rows))
    return path, coco_data / 'ann.json'


def test_same_as_the_tool(files, coco_data, write_config, run_tool, tmp_path):
    rows, ann = files
    config = Config.fromfile(write_config())
    config.model = dict(
        type='FGCLIP2Rescorer', encoder=dict(pretrained='fgclip2_tiny'),
        detector=dict(
            type='SavedPredictions', predictions=str(rows), ann_file=str(ann)
        ),
    )  # fmt: skip
    config.custom_hooks = [dict(type='OpenVocabVocabularyHook')]
    config.test_dataloader.batch_size = 3
    config.test_evaluator.outfile_prefix = str(tmp_path / 'found')
    path = write_config().with_name('saved.py')
    config.dump(path)
    code, _, err = run_tool('test', path, '--work-dir', tmp_path / 'work')
    assert code == 0, err
    actual = json.loads((tmp_path / 'found.bbox.json').read_text())
    code, _, err = run_tool(
        'rescore', '--predictions', rows, '--ann', ann, '--images', coco_data,
        '--encoder', 'fgclip2_tiny', '--out', tmp_path / 'out.json',
    )  # fmt: skip
    assert code == 0, err
    wanted = json.loads((tmp_path / 'out.json').read_text())

    def key(row):
        return row['image_id'], row['category_id'], *row['bbox']

    actual, wanted = sorted(actual, key=key), sorted(wanted, key=key)
    assert len(actual) == 4
    for one, other in zip(actual, wanted, strict=True):
        assert key(one) == pytest.approx(key(other), abs=1e-4)
        assert one['score'] == pytest.approx(other['score'], abs=1e-6)


def test_boxes_that_differ_outside_the_image(files, coco_data):
    """Clipped for pooling alone, as with the tool: two results, with one embedding."""
    rows, ann = files
    content = json.loads(rows.read_text())[1:3]
    for row, box in zip(content, ([-9, -8, 40, 40], [-19, -28, 50, 60]), strict=True):
        row['bbox'] = box  # (0, 0, 31, 32) inside
    rows.write_text(json.dumps(content))
    init_default_scope('mmdet')
    saved = dict(type='SavedPredictions', predictions=str(rows), ann_file=str(ann))
    model = MODELS.build(
        dict(type='FGCLIP2Rescorer', encoder=dict(pretrained='fgclip2_tiny'),
             detector=saved, mode='box', competitors=False)
    )  # fmt: skip
    model.set_vocabulary(['black cat', '白色杯子'])
    meta = dict(img_path=str(coco_data / '0.png'), img_id=0, ori_shape=(96, 160))
    sample = DetDataSample(metainfo=meta | dict(img_shape=(96, 160)))
    (result,) = model.predict(None, [sample])
    found = result.pred_instances
    assert sorted(found.bboxes[:, 0].tolist()) == [-19, -9]
    ratio = found.scores / found.det_scores.sqrt()
    assert ratio.tolist() == pytest.approx([float(ratio[0])] * 2, abs=1e-5)


def test_unknown_images(files):
    init_default_scope('mmdet')
    rows, ann = files
    model = MODELS.build(
        dict(type='SavedPredictions', predictions=str(rows), ann_file=str(ann))
    )
    sample = DetDataSample(metainfo=dict(img_id='elsewhere'))
    with pytest.raises(ValueError, match=r"ann\.json has no image 'elsewhere'"):
        model.predict(None, [sample])
