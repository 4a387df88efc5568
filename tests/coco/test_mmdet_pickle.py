"""MMDetection's pickled results, as its own metric writes them; and what is refused."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.evaluation import DumpDetResults
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fgclip2_det.coco.mmdet_pickle import read_mmdet_pickle
from fgclip2_det.coco.predictions import read_predictions

IDS = [7, 3, 5]


def sample(image_id: int, count: int, boxes=None) -> dict:
    rng = np.random.default_rng(image_id)
    corners = rng.uniform(0, 50, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 40, (count, 2))])
    actual = DetDataSample(metainfo=dict(img_id=image_id, ori_shape=(100, 100)))
    actual.gt_instances = InstanceData(bboxes=torch.zeros(1, 4))
    actual.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        scores=torch.tensor(rng.uniform(0, 1, count), dtype=torch.float32),
        labels=torch.tensor(rng.integers(0, 3, count)),
    )
    return actual.to_dict()


@pytest.fixture
def pickled(tmp_path) -> tuple[Path, list[dict]]:
    samples = [sample(4, 3), sample(2, 0), sample(9, 2)]
    metric = DumpDetResults(out_file_path=str(tmp_path / 'results.pkl'))
    metric.dataset_meta = {}
    metric.process({}, samples)
    metric.evaluate(len(samples))
    return tmp_path / 'results.pkl', samples


def test_what_the_metric_wrote(pickled):
    path, samples = pickled
    rows, number = read_mmdet_pickle(path, IDS), 0
    for entry in samples:
        actual = entry['pred_instances']
        for (x0, y0, x1, y1), score, label in zip(
            actual['bboxes'].tolist(), actual['scores'].tolist(),
            actual['labels'].tolist(), strict=True,
        ):  # fmt: skip
            row = rows[number]
            assert row['image_id'] == entry['img_id']
            assert row['category_id'] == IDS[label] and row['score'] == score
            assert row['bbox'] == [x0, y0, x1 - x0, y1 - y0]
            number += 1
    assert number == len(rows) == 5


def test_read_like_a_result_list(pickled, tmp_path):
    """The same predictions as from the json of these rows; not without the flag."""
    path, _ = pickled
    coco = dict(
        images=[dict(id=i, file_name=f'{i}', width=100, height=100) for i in (2, 4, 9)],
        categories=[dict(id=i, name=f'thing {i}') for i in IDS],
    )
    ann, rows = tmp_path / 'ann.json', tmp_path / 'rows.json'
    ann.write_text(json.dumps(coco))
    rows.write_text(json.dumps(read_mmdet_pickle(path, IDS)))
    novel = ['thing 7']  # puts category 7 last among the vocabulary's labels
    options = dict(novel=novel, unpickle=True, label_order='file')
    actual = read_predictions(path, ann, **options)
    assert actual == read_predictions(rows, ann, novel=novel)
    assert actual.split.category_ids[-1] == 7 and set(actual.rows) == {4, 9}
    with pytest.raises(ValueError, match=r'is a pickle; say that .* \(--unpickle\)'):
        read_predictions(path, ann)
    ann.write_text(json.dumps(coco | dict(categories=coco['categories'][:1])))
    with pytest.raises(ValueError, match=r'image 0 .* of 1 categories'):
        read_predictions(path, ann, unpickle=True)


class Trap:
    """What a pickle may ask for: here, to write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (exec, (f"open({str(self.path)!r}, 'w').close()",))


def test_nothing_is_run(tmp_path):
    target, path = tmp_path / 'target', tmp_path / 'results.pkl'
    inner = io.BytesIO()
    torch.save(Trap(target), inner)

    class Nested:
        def __reduce__(self):
            return (torch.storage._load_from_bytes, (inner.getvalue(),))

    for content in ([Trap(target)], [dict(img_id=Nested())]):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match='cannot be read as results'):
            read_mmdet_pickle(path, IDS)
        assert not target.exists()
    pickle.loads(pickle.dumps([Trap(target)]))  # the trap does work
    assert target.exists()


def test_what_is_no_result(tmp_path):
    path = tmp_path / 'results.pkl'
    whole = sample(4, 3)
    short = whole | dict(pred_instances=whole['pred_instances'] | dict(labels=[0]))
    for content, message in (
        (dict(a=1), 'must hold a list with one entry an image, got a dict'),
        ([dict(img_id=1)], "image 0 .*'pred_instances'"),
        ([short], r'image 0 .*shapes \(3, 4\), \(3,\), \(1,\)'),
        ([dict(whole, img_id=Path('a'))], 'neither a tensor nor an array'),
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=message):
            read_mmdet_pickle(path, IDS)
    for content in (b'', b'not a pickle', pickle.dumps([whole])[:-40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match='cannot be read as results'):
            read_mmdet_pickle(path, IDS)
    with pytest.raises(ValueError, match=r'absent\.pkl cannot be read'):
        read_mmdet_pickle(tmp_path / 'absent.pkl', IDS)
