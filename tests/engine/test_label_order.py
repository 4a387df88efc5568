"""A label means one name to data set, vocabulary, detector and metric, or an error
shows both orders."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric, LVISMetric
from mmdet.evaluation.metrics.lvis_metric import LVISFixedAPMetric
from mmdet.registry import DATASETS
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from fgclip2_det.coco.categories import first_exchange, read_categories
from fgclip2_det.datasets import OpenVocabCocoDataset
from fgclip2_det.engine.hooks.label_order_hook import OpenVocabLabelOrderHook
from fgclip2_det.engine.hooks.vocabulary_hook import OpenVocabVocabularyHook
from fgclip2_det.engine.label_order import (
    check_dataset,
    check_metrics,
    merge_metainfo,
)
from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric

NAMES = ['dog', 'cat', 'sofa', 'bus']  # in the file's order; ids 3, 1, 7, 2
SORTED = sorted(NAMES)
ORDERS = r"0 'bus', 1 'cat', .* and 0 'dog', 1 'cat'"


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def write(path: Path, ids=(3, 1, 7, 2), first_image=1) -> Path:
    """Two images with a box of each category, readable as COCO's and as LVIS's file."""
    images = [
        dict(id=i, file_name=f'{i}.png', width=160, height=96, neg_category_ids=[],
             coco_url=f'http://images.cocodataset.org/x/{i}.png',
             not_exhaustive_category_ids=[])
        for i in (first_image, first_image + 1)
    ]  # fmt: skip
    boxes = [
        dict(id=10 * image['id'] + k, image_id=image['id'], category_id=category,
             bbox=[30 * k, 10, 25, 25], area=625, iscrowd=0)
        for image in images for k, category in enumerate(ids)
    ]  # fmt: skip
    categories = [
        dict(id=i, name=name, frequency='f', image_count=2)
        for i, name in zip(ids, NAMES, strict=True)
    ]
    content = dict(images=images, annotations=boxes, categories=categories)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def file(tmp_path) -> Path:
    return write(tmp_path / 'ann.json')


def config(file: Path, classes=NAMES, kind: str = 'CocoDataset') -> dict:
    return dict(
        type=kind, ann_file=str(file), metainfo=dict(classes=tuple(classes)),
        data_prefix=dict(img=''), test_mode=True,
    )  # fmt: skip


def plain(file: Path, classes=NAMES, kind: str = 'CocoDataset') -> CocoDataset:
    return DATASETS.build(config(file, classes, kind))


@pytest.mark.parametrize('kind', ['CocoDataset', 'LVISV1Dataset'])
def test_a_plain_data_set_goes_by_the_file(file, kind):
    if kind == 'LVISV1Dataset':
        pytest.importorskip('lvis', reason='needs the package lvis')
    check_dataset(plain(file, NAMES, kind))
    check_dataset(plain(file, [name.upper() for name in NAMES], 'LVISV1Dataset'))
    for classes in (SORTED, NAMES[::-1], ['dog', 'cat', 'unknown', 'sofa', 'bus']):
        with pytest.raises(ValueError, match=r"ann\.json: label \d is .*'dog'"):
            check_dataset(plain(file, classes, kind))


def test_the_error_shows_both_orders(file):
    with pytest.raises(ValueError, match=ORDERS):
        check_dataset(plain(file, SORTED))


def test_a_subset_keeps_the_order_of_the_file(file):
    check_dataset(plain(file, ['dog', 'sofa']))
    with pytest.raises(ValueError, match="label 0 is 'sofa' to the vocabulary"):
        check_dataset(plain(file, ['sofa', 'dog']))
    pytest.importorskip('lvis', reason='needs the package lvis')
    with pytest.raises(ValueError, match=r"label 1 is 'sofa' .* 'cat' to the boxes"):
        check_dataset(plain(file, ['dog', 'sofa'], 'LVISV1Dataset'))


def test_our_data_sets_go_by_name(file):
    check_dataset(OpenVocabCocoDataset(ann_file=str(file), novel_classes=['dog']))


def wrapped(kind: str, inner: dict):
    options = dict(
        RepeatDataset=dict(times=2, dataset=inner),
        ClassBalancedDataset=dict(oversample_thr=0.1, dataset=inner),
        ConcatDataset=dict(datasets=[inner, inner]),
        MultiImageMixDataset=dict(pipeline=[], dataset=inner),
    )
    nested = dict(type='ConcatDataset', datasets=[inner])
    options['Nested'] = dict(type='RepeatDataset', times=2, dataset=nested)
    return DATASETS.build(dict(type=kind) | options[kind])


@pytest.mark.parametrize(
    'kind',
    ['RepeatDataset', 'ClassBalancedDataset', 'ConcatDataset',
     'MultiImageMixDataset', 'Nested'],
)  # fmt: skip
def test_inside_wrappers(file, kind):
    check_dataset(wrapped(kind, config(file)))
    with pytest.raises(ValueError, match=ORDERS):
        check_dataset(wrapped(kind, config(file, SORTED)))


def test_metrics_that_go_by_the_file(file):
    ours = OpenVocabCocoDataset(ann_file=str(file), novel_classes=['dog']).metainfo
    assert ours['classes'] == ('cat', 'sofa', 'bus', 'dog')
    metrics = [CocoMetric(str(file)), OpenVocabCocoMetric(str(file))]
    for metric in metrics:
        metric.dataset_meta = ours
    check_metrics(Evaluator(metrics[1:]), ours['classes'])
    with pytest.raises(
        ValueError, match=r"label 0 is 'cat' .* 'dog' to CocoMetric; .*OpenVocabCoco"
    ):
        check_metrics(Evaluator(metrics), ours['classes'])
    check_metrics(Evaluator(metrics), NAMES)
    check_metrics(Evaluator([CocoMetric()]), ours['classes'])  # no file: by label
    with pytest.raises(ValueError, match=r"label 4 is 'bird' .* nothing to CocoMetric"):
        check_metrics(Evaluator(metrics), [*NAMES, 'bird'])


@pytest.mark.parametrize('kind', [CocoMetric, LVISMetric, LVISFixedAPMetric])
def test_metrics_check_our_labels_by_themselves(file, kind):
    """Under any tool; a data set of MMDetection is left to it."""
    if kind is not CocoMetric:
        pytest.importorskip('lvis', reason='needs the package lvis')
    actual = dict(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0)
    )
    sample = dict(img_id=1, ori_shape=(96, 160), pred_instances=actual)
    for options, fault in ((dict(novel_classes=['dog']), True), (dict(), False)):
        metric = kind(str(file))
        metric.dataset_meta = OpenVocabCocoDataset(
            ann_file=str(file), **options
        ).metainfo
        if fault:
            with pytest.raises(ValueError, match=r"label 0 is 'cat' .* 'dog' to"):
                metric.process({}, [sample])
        else:
            metric.process({}, [sample])
    metric = kind(str(file))
    metric.dataset_meta = dict(classes=SORTED)
    metric.process({}, [sample])


@pytest.mark.parametrize('kind', [LVISMetric, LVISFixedAPMetric])
def test_lvis_metrics(file, kind):
    pytest.importorskip('lvis', reason='needs the package lvis')
    metric = Evaluator([kind(str(file))])
    check_metrics(metric, NAMES)
    check_metrics(metric, ['狗', '猫', '沙发', '公交车'])  # no name of the file
    with pytest.raises(ValueError, match='OpenVocabLVISMetric, which matches names'):
        check_metrics(metric, SORTED)


class Loop(BaseLoop):
    """A test loop without a runner."""

    def __init__(self, dataset, metric) -> None:
        super().__init__(None, DataLoader(dataset))
        self.evaluator = Evaluator([metric])
        self.evaluator.dataset_meta = dataset.metainfo

    def run(self) -> None:
        """Nothing."""


class Detector:
    """Has names, or labels alone."""

    templates, configured_vocabulary = 'raw', None


class NamedDetector(Detector):
    def set_vocabulary(self, vocabulary) -> None:
        self.vocabulary = vocabulary


def runner_of(loop: Loop, model: object) -> SimpleNamespace:
    return SimpleNamespace(
        model=model, _train_loop=None, _val_loop={}, _test_loop=loop, test_loop=loop,
        visualizer=SimpleNamespace(), logger=logging.getLogger('labels'),
    )  # fmt: skip


def test_both_hooks_look_at_once(file):
    """Where names matter; MMDetection's own parts get a warning."""
    loop = Loop(plain(file, SORTED), CocoMetric(str(file)))
    for hook in (OpenVocabLabelOrderHook(), OpenVocabVocabularyHook()):
        with pytest.raises(ValueError, match=ORDERS):
            hook.before_run(runner_of(loop, NamedDetector()))


def test_mmdetections_own_parts_get_a_warning(file, caplog):
    loop = Loop(plain(file, SORTED), CocoMetric(str(file)))
    OpenVocabLabelOrderHook().before_run(runner_of(loop, Detector()))
    assert 'class names in drawn images are swapped' in caplog.text
    caplog.clear()
    loop = Loop(plain(file, NAMES), CocoMetric(str(file)))
    OpenVocabLabelOrderHook().before_run(runner_of(loop, Detector()))
    assert not caplog.records


def test_a_checkpoint_with_another_order(file):
    runner = runner_of(Loop(plain(file), CocoMetric(str(file))), Detector())
    hook = OpenVocabLabelOrderHook()
    for model in (Detector(), SimpleNamespace(detector=Detector())):
        runner.model = model
        for classes in (NAMES, ['hund', 'katze'], None):
            meta = dict(dataset_meta=dict(classes=classes))
            hook.after_load_checkpoint(runner, dict(meta=meta))
            hook.before_test_epoch(runner)
        meta = dict(dataset_meta=dict(classes=SORTED))
        hook.after_load_checkpoint(runner, dict(meta=meta))
        with pytest.raises(ValueError, match="'bus' to the checkpoint's detector"):
            hook.before_test_epoch(runner)
    runner.model = NamedDetector()  # takes any names
    hook.before_test_epoch(runner)


@pytest.fixture
def two_files(file, tmp_path):
    """Same names, other ids, other images."""
    other = write(tmp_path / 'other.json', (11, 12, 13, 14), first_image=5)
    options = dict(type='OpenVocabCocoDataset', novel_classes=['dog'], test_mode=True)
    parts = [dict(options, ann_file=str(path)) for path in (file, other)]
    return DATASETS.build(dict(type='ConcatDataset', datasets=parts))


def test_two_files_with_the_same_names(two_files):
    """Their ids differ; the hook, the metric and the images get one metainfo."""
    assert isinstance(two_files.metainfo, list)
    loop, model = Loop(two_files, OpenVocabCocoMetric()), NamedDetector()
    runner = runner_of(loop, model)
    hook = OpenVocabVocabularyHook()
    hook.before_run(runner)
    hook.before_test_epoch(runner)
    assert model.vocabulary.names == ['cat', 'sofa', 'bus', 'dog']
    assert model.vocabulary.novel_classes == ['dog']
    metric = loop.evaluator.metrics[0]
    assert 'category_ids' not in metric.dataset_meta
    for info in map(two_files.get_data_info, range(4)):
        truth = dict(
            bboxes=np.array([b['bbox'] for b in info['instances']]),
            labels=np.array([b['bbox_label'] for b in info['instances']]),
        )
        actual = truth | dict(scores=np.ones(4))
        sample = dict(img_id=info['img_id'], img_path=info['img_path'])
        metric.process({}, [sample | dict(pred_instances=actual, gt_instances=truth)])
    values = metric.evaluate(4)
    assert values['open_vocab/novel_ap50'] == pytest.approx(1)
    assert values['open_vocab/base_ap50'] == pytest.approx(1)


def test_labels_that_differ_between_files():
    ours = dict(classes=('cat', 'dog'), base_classes=('cat',), novel_classes=('dog',))
    merged = merge_metainfo(
        [ours | dict(image_counts=(1, 2), category_ids=(1, 2)),
         ours | dict(image_counts=(3, 4), category_ids=(5, 6), language='en')]
    )  # fmt: skip
    assert merged == ours | dict(image_counts=(4, 6), language='en')
    for other, key in (
        (dict(ours, classes=('dog', 'cat')), 'classes'),
        (dict(ours, base_classes=('dog',), novel_classes=('cat',)), 'base_classes'),
    ):
        with pytest.raises(ValueError, match=f'differ in {key}: .*cat.* and .*dog'):
            merge_metainfo([ours, other])


def test_categories_are_read_alone(tmp_path, file):
    expected = json.loads(file.read_text())['categories']
    assert read_categories(file) == expected
    content = json.loads(file.read_text())
    first = {'categories': content.pop('categories')} | content
    for text in (
        json.dumps(first),
        json.dumps(first, indent=2),
        json.dumps({'info': {'categories': [1]}} | first),  # the key twice
        json.dumps({'info': {'x': '"categories": ['}} | first),
    ):
        file.write_text(text)
        assert read_categories(file) == expected
    named = {'categories': [{'id': 1, 'name': '狗'}]}
    for encoding in ('utf-8', 'utf-8-sig', 'utf-16', 'gb18030'):
        text = json.dumps(named, ensure_ascii=False)
        file.write_text(text, encoding=encoding)
        assert read_categories(file) == named['categories'], encoding
    file.write_text('{"categories": [{"id": 1, "na')
    with pytest.raises(ValueError, match=r'ann\.json is not a complete JSON file'):
        read_categories(file)
    file.write_text('{}')
    with pytest.raises(ValueError, match=r"ann\.json must hold a list of 'categories'"):
        read_categories(file)
    with pytest.raises(ValueError, match=r'absent\.json'):
        read_categories(tmp_path / 'absent.json')


def test_any_name_of_a_category_counts():
    categories = [
        dict(name='sofa_bed', synonyms=['couch']),
        dict(name='cat', name_zh='猫'),
    ]
    assert first_exchange(['Sofa bed', '猫'], categories) is None
    assert first_exchange(['couch', 'CAT'], categories) is None
    assert first_exchange(['猫', 'couch'], categories) == 0
    assert first_exchange(['a prompt', 'another'], categories) is None
