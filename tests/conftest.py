"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

if 'PYTEST_XDIST_WORKER' in os.environ:  # tests run side by side: a core for each
    os.environ.setdefault('OMP_NUM_THREADS', '1')
# mmcv's ops get what compiled ones assume, in the tools that tests start, too
os.environ.setdefault('FGCLIP2_CHECK_OPS', '1')

from fgclip2_det.compat import prepare

HAS_MM = prepare()  # fills in missing ops before mmdet is imported
if HAS_MM:
    import fgclip2_det.registration  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]


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
