"""What the labels of a pickle stand for: evidence, options, and an error between."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.coco.published_splits import CLASS_SPLITS
from fgclip2_det.datasets import OpenVocabCocoDataset
from fgclip2_det.datasets.config_labels import label_order_of

NAMES = ['cat', 'dog', 'sofa', 'bus']
SPLITS = ['novel', 'base', 'unused', 'base']


def write(folder: Path, labels: list[int], names=NAMES, splits=SPLITS) -> dict:
    """A pickle with a box for each label, ids 10, 20, ...; arguments to read it."""
    categories = [dict(id=10 * i, name=name) for i, name in enumerate(names, 1)]
    for category, split in zip(categories, splits or [], strict=False):
        category['split'] = split
    content = dict(
        images=[dict(id=1, file_name='1.png', width=100, height=100)],
        annotations=[],
        categories=categories,
    )
    (folder / 'ann.json').write_text(json.dumps(content))
    actual = dict(
        bboxes=np.tile([[10.0, 10, 30, 30]], (len(labels), 1)),
        scores=np.linspace(0.9, 0.1, len(labels)),
        labels=np.array(labels),
    )
    pickled = pickle.dumps([dict(img_id=1, pred_instances=actual)])
    (folder / 'results.pkl').write_bytes(pickled)
    return dict(
        predictions_file=folder / 'results.pkl', ann_file=folder / 'ann.json',
        unpickle=True,
    )  # fmt: skip


def ids(files: dict, **options) -> list[int]:
    if 'label_order' in options:
        options['label_order'] = label_order_of(options['label_order'])
    actual = read_predictions(**files, **options)
    return [row['category_id'] for row in actual.rows[1]]


def test_both_orders_and_the_option_that_decides(tmp_path):
    """In the file's order label 0 is 'cat'; with base before novel it is 'dog'."""
    files = write(tmp_path, [0, 1, 2])
    message = (
        r"results\.pkl: .* from label 0 on: 0 'cat', 1 'dog', 2 'sofa', .* \('file'\); "
        r"0 'dog', 1 'bus', 2 'cat', .* \('split'\); .*--label-order"
    )
    with pytest.raises(ValueError, match=message):
        ids(files)
    assert ids(files, label_order='split') == [20, 40, 10]
    assert ids(files, label_order='file') == [10, 20]  # the unused sofa is left out
    counts = read_predictions(**files, label_order='file').counts
    assert counts.lines() == ['1 rows of classes that do not count were left out']
    assert ids(write(tmp_path, [0, 1]), label_order='file') == [10, 20]
    with pytest.raises(ValueError, match="'other' is not one of 'file', 'split'"):
        ids(files, label_order='other')


def test_our_own_data_set_comes_back(tmp_path):
    """Labels as the data set gives them to a detector, back to the names."""
    files = write(tmp_path, [0, 1, 2])
    dataset = OpenVocabCocoDataset(ann_file=str(files['ann_file']), test_mode=True)
    names = {10: 'cat', 20: 'dog', 30: 'sofa', 40: 'bus'}
    actual = [names[i] for i in ids(files, label_order='split')]
    assert actual == list(dataset.metainfo['classes'])


def test_one_possible_order_needs_no_option(tmp_path):
    """More labels than base and novel classes; no split; or a split in file order."""
    assert ids(write(tmp_path, [3, 0]) | {}, label_order='file') == [40, 10]
    assert ids(write(tmp_path, [3, 0])) == [40, 10]
    files = write(tmp_path, [0, 1, 2, 3], splits=None)
    assert ids(files) == [10, 20, 30, 40]
    with pytest.raises(ValueError, match='orders differ from label 0 on'):
        ids(files, novel=['cat'])
    files = write(tmp_path, [0, 1, 2], splits=['base', 'base', 'novel', 'unused'])
    assert ids(files) == [10, 20, 30]


def test_ov_coco_is_a_possible_order_of_cocos_file(tmp_path):
    """48 + 17 classes of 80, which the file itself does not tell."""
    names = sorted(CLASS_SPLITS['ov_coco']['base'] + CLASS_SPLITS['ov_coco']['novel'])
    names = [*names, *(f'other {i}' for i in range(15))]
    files = write(tmp_path, [0, 64], names, None)
    with pytest.raises(ValueError, match=r"0 'airplane', .* 0 'person', .*'ov_coco'"):
        ids(files)
    actual = ids(files, label_order='ov_coco')
    assert [names[i // 10 - 1] for i in actual] == ['person', 'scissors']
    assert ids(write(tmp_path, [0, 65], names, None)) == [10, 660]


def test_names_in_label_order(tmp_path):
    files = write(tmp_path, [0, 1, 2])
    listed = tmp_path / 'names.txt'
    listed.write_text('bus\ncat | kitten\ndog\n')
    for order in (['bus', 'cat', 'dog'], listed, str(listed)):
        assert ids(files, label_order=order) == [40, 10, 20]
    with pytest.raises(ValueError, match="'zebra' is the name of no category"):
        ids(files, label_order=['zebra', 'cat', 'dog'])


CONFIG = """
model = dict(type='FasterRCNN')
test_dataloader = dict(dataset={dataset})
"""


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        ("dict(type='OpenVocabCocoDataset', ann_file='x')", [20, 40, 10]),
        ("dict(type='OpenVocabCocoDataset', ann_file='x', novel_classes=['dog'])",
         [10, 30, 40]),
        ("dict(type='CocoDataset', metainfo=dict(classes=('dog', 'cat', 'bus')))",
         [10, 20, 40]),
        ("dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=["
         "dict(type='mmdet.CocoDataset', metainfo=dict(classes=('bus', 'cat')))]))",
         [10, 40]),
        ("dict(type='LVISV1Dataset', metainfo=dict(classes=('bus',)))", [10, 20, 30]),
    ],
)  # fmt: skip
def test_the_config_tells(tmp_path, dataset, expected):
    """``metainfo`` has no say in the order of CocoDataset."""
    files = write(tmp_path, list(range(len(expected))))
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(dataset=dataset))
    options = dict(label_order=path, novel=['dog'])  # all four are known then
    assert ids(files, **options) == expected


def test_a_config_that_does_not(tmp_path):
    files, path = write(tmp_path, [0]), tmp_path / 'config.py'
    path.write_text(CONFIG.format(dataset="dict(type='VOCDataset')"))
    with pytest.raises(ValueError, match=r'VOCDataset\) does not read COCO files'):
        ids(files, label_order=path)


def test_a_result_list_has_names(tmp_path):
    files = write(tmp_path, [0])
    rows = tmp_path / 'rows.json'
    rows.write_text(json.dumps([]))
    with pytest.raises(ValueError, match='label_order is for a pickle'):
        read_predictions(rows, files['ann_file'], label_order='file')
