"""Options of ``tools/test.py`` besides config and checkpoint."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from mmengine.config import Config, ConfigDict

from fgclip2_det.engine.first_process import is_first_process
from fgclip2_det.io.atomic import temporary_path

META_KEYS = (
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
    'flip_direction',
)  # fmt: skip


def use_tta(cfg: Config) -> None:
    """Wrap the model in test-time augmentation: the config's, or a horizontal flip.

    Without ``tta_model`` and ``tta_pipeline``, the original and the flipped image are
    tested and their boxes merged by NMS at 0.5, as in MMDetection.

    Raises:
        ValueError: for a model that cannot be augmented: a re-scorer, which reads the
            image file itself, or one that predicts masks or label maps.
    """
    if cfg.model.type == 'OpenVocabSegmentor':
        raise ValueError(
            '--tta merges boxes, and a segmentor predicts label maps; test it without '
            '--tta'
        )
    if cfg.model.type == 'FGCLIP2Rescorer':
        raise ValueError(
            '--tta is for detectors; a re-scorer reads the original image. Augment its '
            'detector, save the results, and re-score them with tools/rescore.py'
        )
    if _has_masks(cfg.model):
        raise ValueError(
            '--tta merges boxes but not masks, and this model predicts masks; test it '
            'without --tta'
        )
    limit = ((cfg.model.get('test_cfg') or {}).get('rcnn') or cfg.model.test_cfg).get(
        'max_per_img', 100
    )
    cfg.setdefault(
        'tta_model',
        dict(
            type='DetTTAModel',
            tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=limit),
        ),
    )
    dataset = cfg.test_dataloader.dataset
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset.dataset
    if 'tta_pipeline' not in cfg:
        cfg.tta_pipeline = _with_flip(dataset.pipeline)
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def show_results(cfg: Config, wait_time: float) -> None:
    """Show every image in a window.

    Args:
        cfg: config of a test; changed in place.
        wait_time: seconds per image; 0 waits for a key.

    Raises:
        ValueError: if there is no display.
    """
    display = any(os.environ.get(name) for name in ('DISPLAY', 'WAYLAND_DISPLAY'))
    if sys.platform.startswith('linux') and not display:
        raise ValueError('--show needs a display and there is none; use --show-dir DIR')
    hook = dict(type='mmdet.DetVisualizationHook')
    hook |= (cfg.get('default_hooks') or {}).get('visualization') or {}
    hook |= dict(draw=True, show=True, wait_time=wait_time)
    cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'visualization': hook}


@contextmanager
def dump_predictions(cfg: Config, out: str) -> Iterator[None]:
    """Configure a test, built and run in the block, to write its predictions.

    A dump gets its name when the block ends; if it raises, nothing is left.

    Args:
        cfg: config of a test; changed in place.
        out: ``.pkl`` or ``.pickle`` for MMDetection's dump; ``NAME.json`` for COCO
            result lists of the evaluator, ``NAME.bbox.json`` and ``NAME.segm.json``.

    Raises:
        ValueError: for another extension, or an evaluator that writes no result lists.
    """
    path = Path(out)
    evaluators = cfg.test_evaluator
    evaluators = list(evaluators) if isinstance(evaluators, list) else [evaluators]
    if path.suffix not in ('.pkl', '.pickle'):
        _write_lists(evaluators, out)
        cfg.test_evaluator = evaluators
        yield
        return
    # the first process alone writes it; MMEngine asks for the suffix
    file = (
        temporary_path(path, path.suffix) if is_first_process() else nullcontext(path)
    )
    with file as partial:
        evaluators.append(dict(type='DumpDetResults', out_file_path=str(partial)))
        cfg.test_evaluator = evaluators
        yield


def _write_lists(evaluators: list, out: str) -> None:
    """Have the evaluator of COCO metrics write its result lists."""
    path = Path(out)
    if path.suffix != '.json':
        raise ValueError(f'--out must end with .pkl, .pickle or .json, got {out}')
    path.parent.mkdir(parents=True, exist_ok=True)
    for evaluator in evaluators:
        kind = str(evaluator.type).split('.')[-1]
        if kind.endswith(('CocoMetric', 'COCOMetric', 'LVISMetric')):
            evaluator.outfile_prefix = str(path.with_suffix(''))
            return
    raise ValueError(
        f'--out {out}: {evaluators[0].type} writes no COCO result list; dump to .pkl'
    )


def _with_flip(pipeline: list) -> list:
    """Test pipeline whose last step packs the image twice, original and flipped."""
    if not str(pipeline[-1]['type']).endswith('PackDetInputs'):
        raise ValueError(
            f'--tta needs a tta_pipeline in the config: its test pipeline ends with '
            f'{pipeline[-1]["type"]}, not with PackDetInputs'
        )
    steps = copy.deepcopy(list(pipeline))
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    pack = [dict(type='PackDetInputs', meta_keys=META_KEYS)]
    steps[-1] = dict(type='TestTimeAug', transforms=[flips, pack])
    return steps


def _has_masks(model: Mapping) -> bool:
    head = model.get('roi_head') or {}
    return 'mask_head' in head or 'mask_head' in model or 'panoptic_head' in model
