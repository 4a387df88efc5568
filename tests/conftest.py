"""Fixtures that every test may use."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

if 'PYTEST_XDIST_WORKER' in os.environ:  # tests run side by side: a core for each
    os.environ.setdefault('OMP_NUM_THREADS', '1')
# mmcv's ops get what compiled ones assume, in the tools that tests start, too
os.environ.setdefault('FGCLIP2_CHECK_OPS', '1')

from fgclip2_det.compat import prepare

# the longest files, for several processes to begin with: see pytest_configure
LONG = (
    'engine/test_strategies', 'onnx/test_detector', 'test_main_job',
    'engine/test_retention_hook', 'kill/test_kill', 'engine/test_feature_cache_hook',
    'tools/test_train_stages', 'compat/test_stack', 'tools/test_resume',
    'pretrain/test_configs', 'tools/test_train_test', 'pretrain/test_training',
    'models/test_scale', 'onnx/test_encoder', 'tools/test_rescore_coco',
    'onnx/test_detector_fgclip1', 'onnx/test_encoder_fgclip1',
)  # fmt: skip

HAS_MM = prepare()  # fills in missing ops before mmdet is imported
if HAS_MM:
    import fgclip2_det.registration
    from fgclip2_det.compat.yapf_cache import import_yapf

    import_yapf()  # once, before processes of tests import it at the same time

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """pytest-xdist gives out the files with the most tests first, and a file of a few
    long trainings last, when the other processes have nothing left to do."""
    if hasattr(config.option, 'loadscopereorder'):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / 'tests' / f'{name}.py': n for n, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@pytest.fixture(autouse=True)
def default_scope():
    """Names resolve as in MMDetection, whatever a runner of another test has set."""
    if not HAS_MM:
        yield
        return
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def fgclip2_tiny() -> Path:
    """Folder with a random model and the reference's outputs (README beside it)."""
    return ROOT / 'tests' / 'data' / 'golden' / 'fgclip2_tiny'


@pytest.fixture(scope='session')
def fgclip1_tiny(tmp_path_factory) -> Path:
    """Folder of a random FG-CLIP 1 with a tokenizer of bytes."""
    import torch

    from fgclip2_det import FGCLIP1

    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP1.from_size('tiny', generator=generator)
    return encoder.save_pretrained(tmp_path_factory.mktemp('version_1') / 'tiny')


@pytest.fixture(scope='session')
def clip_tiny(fgclip1_tiny, tmp_path_factory) -> Path:
    """The same towers as a folder of CLIP: without what FG-CLIP 1 adds."""
    from safetensors.torch import load_file, save_file

    clip = tmp_path_factory.mktemp('clip') / 'tiny'
    shutil.copytree(fgclip1_tiny, clip)
    new = ('filip', '_res.', '_ori.', 'finegraind', 'hardneg')
    state = load_file(clip / 'model.safetensors')
    state = {n: x for n, x in state.items() if not any(word in n for word in new)}
    save_file(state, clip / 'model.safetensors')
    return clip


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder with real data and compiled ops kept beside the project.

    ``FGCLIP2_SHARED`` names it; ``../shared`` of the repository by default.
    """
    folder = Path(os.environ.get('FGCLIP2_SHARED', ROOT.parent / 'shared'))
    if not folder.is_dir():
        pytest.skip(f'needs the reference data in {folder} (set FGCLIP2_SHARED)')
    return folder


@pytest.fixture(scope='session')
def reference_ap():
    """Function: (truths, detections, number of classes) -> (C, 10) AP of pycocotools,
    NaN where a class has no object; both sides are lists of ``ImageBoxes``."""
    pytest.importorskip('pycocotools')
    import numpy as np
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def content(images, num_classes) -> COCO:
        rows = []
        for image_id, image in enumerate(images, 1):
            for i, (bbox, label) in enumerate(
                zip(image.bboxes, image.labels, strict=True)
            ):
                row = dict(id=len(rows) + 1, image_id=image_id, bbox=bbox.tolist(),
                           category_id=int(label) + 1, area=bbox[2] * bbox[3],
                           iscrowd=0)  # fmt: skip
                if image.scores is None:
                    row['iscrowd'] = int(image.crowd[i])
                else:
                    row['score'] = image.scores[i]
                rows.append(row)
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=i) for i in range(1, len(images) + 1)],
            categories=[dict(id=c) for c in range(1, num_classes + 1)],
            annotations=rows,
        )
        coco.createIndex()
        return coco

    def ap(truths, detections, num_classes):
        sides = [content(side, num_classes) for side in (truths, detections)]
        evaluator = COCOeval(*sides, 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        precision = evaluator.eval['precision'][..., 0, -1]  # (IoU, recall, C)
        return np.where(precision < 0, np.nan, precision).mean(1).T

    return ap


def _row(a: dict, rng: np.random.Generator, classes: list, size: tuple) -> dict:
    """A shaken copy of an annotation; one in five has another class."""
    from pycocotools import mask as mask_utils

    x, y, w, h = np.array(a['bbox']) + rng.normal(0, 0.08, 4) * max(a['bbox'][2:])
    row = {
        'image_id': a['image_id'],
        'category_id': int(rng.choice(classes))
        if rng.random() < 0.2
        else a['category_id'],
        'bbox': [float(v) for v in (x, y, max(w, 0), max(h, 0))],  # some are empty
        'score': round(float(rng.random()), 2),  # in steps, so that scores tie
    }
    if isinstance(a.get('segmentation'), list):
        mask = mask_utils.merge(mask_utils.frPyObjects(a['segmentation'], *size))
        pixels = np.roll(mask_utils.decode(mask), rng.integers(-6, 7, 2), (0, 1))
        pixels[:, rng.integers(size[1]) :][:, :5] = 0
        mask = mask_utils.encode(np.asfortranarray(pixels))
        row['segmentation'] = {'size': mask['size'], 'counts': mask['counts'].decode()}
    return row


@pytest.fixture(scope='session')
def shaken() -> Callable[..., list[dict]]:
    """Function: (COCO content, seed, masks) -> result list.

    Objects are found zero to three times; boxes are shaken, some have a wrong class;
    scores tie; the images of every seventh object have a box of any class.
    """

    def make(coco: dict, seed: int = 0, masks: bool = False) -> list[dict]:
        rng, rows = np.random.default_rng(seed), []
        sizes = {i['id']: (i['height'], i['width']) for i in coco['images']}
        known = {c for i in coco['images'] for c in i.get('neg_category_ids', ())}
        known |= {a['category_id'] for a in coco['annotations']}
        for n, a in enumerate(coco['annotations']):
            for _ in range(rng.integers(0, 4)):
                row = _row(a, rng, sorted(known), sizes[a['image_id']])
                if not masks:
                    row.pop('segmentation', None)
                if not masks or 'segmentation' in row:
                    rows.append(row)
            if n % 7 == 0 and not masks:
                box = [*rng.uniform(0, 200, 2), *rng.uniform(5, 200, 2)]
                rows.append({
                    'image_id': a['image_id'],
                    'category_id': int(rng.choice(sorted(known))),
                    'bbox': [float(v) for v in box],
                    'score': float(rng.random()),
                })  # fmt: skip
        rng.shuffle(rows)  # images are not in one piece
        return rows

    return make
