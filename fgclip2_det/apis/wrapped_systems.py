"""Any detector, alone or re-scored with FG-CLIP 2, as a system."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_state_dict

from fgclip2_det.apis.inputs import InputImage
from fgclip2_det.apis.pipelines import ImagePipeline
from fgclip2_det.apis.systems import System, config_of, finish, refuse_segmentor
from fgclip2_det.engine.config import read_config
from fgclip2_det.models.checkpoints import check_weights, read_checkpoint
from fgclip2_det.models.detectors.saved_predictions import SavedPredictions
from fgclip2_det.rescoring.rules import ALL_RULES

CHUNK_SIZE = 40  # names a pass, as LLMDet's LVIS results
MAX_PER_IMAGE = 300
# of configs/_base_/models/rescore-llmdet.py, for detectors that score every name
JOINT = dict(
    mode='joint', merge_iou=0.7, nms_iou=0.7, labels_per_box=3, max_per_image=1000
)
WITHOUT_WEIGHTS = 'HuggingFaceDetector', 'SavedPredictions'


@dataclass(frozen=True)
class Wrapping:
    """What goes around a detector.

    Args:
        encoder: folder, hub id or options of an encoder; None: no re-scoring.
        fusion: a rule by its name in ``tools/rescore.py``, or a config of one; None:
            the geometric mean.
        chunk_size: names a pass of a detector that reads names; None: 40 for those of
            transformers, the config's for MMDetection's.
        options: of ``FGCLIP2Rescorer``.

    Raises:
        ValueError: for an unknown rule, or options without an encoder.
    """

    encoder: str | dict | None
    fusion: str | dict | None
    chunk_size: int | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        if isinstance(self.fusion, str) and self.fusion not in ALL_RULES:
            raise ValueError(
                f'fusion must be one of {", ".join(ALL_RULES)}, or a config of a rule, '
                f'got {self.fusion!r}'
            )
        if self.encoder is None and (self.fusion is not None or self.options):
            names = [*(['fusion'] if self.fusion else []), *self.options]
            raise ValueError(
                f'{", ".join(names)}: nothing is re-scored without an encoder; pass '
                "encoder='qihoo360/fg-clip2-base' or a folder"
            )

    def around(self, detector: dict, weights: str | None, defaults: dict) -> dict:
        """Config of the detector, or of a re-scorer around it."""
        if self.encoder is None:
            return detector
        encoder = self.encoder
        model = dict(type='FGCLIP2Rescorer', detector=detector, checkpoint=weights)
        model['encoder'] = (
            encoder if isinstance(encoder, dict) else dict(pretrained=str(encoder))
        )
        if isinstance(self.fusion, str):
            model['fusion'] = dict(type=ALL_RULES[self.fusion])
        elif self.fusion is not None:
            model['fusion'] = self.fusion
        return {**model, **defaults, **self.options}


def wrapped_system(
    detector: str | os.PathLike,
    weights: str | os.PathLike | None,
    wrapping: Wrapping,
    ann_file: str | os.PathLike | None = None,
) -> System:
    """A system of a detector by its kind: a config (.py), a checkpoint with one (.pth),
    saved results (.json, .pkl), or else a hub id or folder of transformers.

    Args:
        detector: see above.
        weights: checkpoint of a config's detector.
        wrapping: around it.
        ann_file: COCO file of saved results: its images and categories.

    Raises:
        FileNotFoundError, ValueError: naming what is missing or does not fit.
    """
    detector = os.fspath(detector)
    ending = Path(detector).suffix
    if ending in ('.json', '.pkl'):
        return _saved_system(detector, ann_file, wrapping)
    if ann_file is not None:
        raise ValueError(
            f'ann_file belongs to saved results (.json), detector is {detector}'
        )
    if ending == '.py':
        if not Path(detector).is_file():
            raise FileNotFoundError(f'there is no config {detector} of a detector')
        return _config_system(read_config(detector), weights, wrapping, detector)
    if ending in ('.pth', '.pt'):
        meta = read_checkpoint(detector).get('meta', {})
        config = config_of(None, meta, detector)
        return _config_system(config, detector, wrapping, detector)
    if weights is not None:
        raise ValueError(f'weights belong to a config (.py); {detector} has its own')
    return _transformers_system(detector, wrapping)


def _transformers_system(name: str, wrapping: Wrapping) -> System:
    detector = dict(
        type='HuggingFaceDetector',
        pretrained=name,
        chunk_size=wrapping.chunk_size or CHUNK_SIZE,
        max_per_image=MAX_PER_IMAGE,
    )
    defaults = JOINT if _scores_every_name(name) else {}
    return System(MODELS.build(wrapping.around(detector, None, defaults)).eval())


def _scores_every_name(name: str) -> bool:
    """Whether a detector of transformers gives a box several labels."""
    from transformers import AutoConfig

    from fgclip2_det.models.detectors.huggingface_outputs import ADAPTERS, token_scores

    kind = AutoConfig.from_pretrained(name).model_type
    return kind in ADAPTERS and ADAPTERS[kind][1] is token_scores


def _config_system(
    config: Config,
    weights: str | os.PathLike | None,
    wrapping: Wrapping,
    source: str,
) -> System:
    refuse_segmentor(config, source)
    model = config.model
    weights = weights or config.get('load_from')
    whole = str(model.type).split('.')[-1] == 'FGCLIP2Rescorer'
    inner = model.detector if whole else model
    if isinstance(inner, str):
        inner = model.detector = read_config(inner).model
    if weights is None and _needs_weights(model, inner):
        raise ValueError(
            f'{source} names no weights; pass weights=CHECKPOINT of its detector'
        )
    if wrapping.chunk_size is not None:
        _set_chunk_size(inner, wrapping.chunk_size, source)
    path = None if weights is None else str(weights)
    if whole:
        if wrapping.encoder is not None:
            raise ValueError(
                f'{source} is a re-scorer already; leave encoder out, or give the '
                'config of the detector alone'
            )
        if path is not None:
            model.checkpoint = path
    elif wrapping.encoder is not None:
        defaults = JOINT if 'language_model' in inner else {}
        model = wrapping.around(model, path, defaults)
    built = MODELS.build(model)
    if not whole and wrapping.encoder is None and path is not None:
        _load(built, path)
    pipeline = None if inner.get('type') in WITHOUT_WEIGHTS else ImagePipeline(config)
    return finish(System(built.eval(), pipeline, config=config))


def _set_chunk_size(detector: dict, chunk_size: int, source: str) -> None:
    if 'language_model' in detector:
        detector.setdefault('test_cfg', {})['chunked_size'] = chunk_size
    elif str(detector['type']).split('.')[-1] == 'HuggingFaceDetector':
        detector['chunk_size'] = chunk_size
    else:
        raise ValueError(
            f'chunk_size belongs to detectors that read names, and that of {source} '
            f'({detector["type"]}) has classes of its own; leave it out'
        )


def _needs_weights(model: dict, inner: dict) -> bool:
    return not (inner.get('type') in WITHOUT_WEIGHTS or model.get('checkpoint'))


def _load(model: Any, path: str) -> None:
    checkpoint = read_checkpoint(path)
    state = checkpoint.get('state_dict', checkpoint)
    check_weights(model, state, path)
    load_state_dict(model, state)
    meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
    if 'classes' in meta and not hasattr(model, 'set_vocabulary'):
        model.dataset_meta = meta


def _saved_system(
    predictions: str, ann_file: str | os.PathLike | None, wrapping: Wrapping
) -> System:
    if ann_file is None:
        raise ValueError(
            f'{predictions}: saved results need ann_file=FILE (--ann), the COCO file '
            'that names their images and categories'
        )
    detector = dict(
        type='SavedPredictions',
        predictions=predictions,
        ann_file=os.fspath(ann_file),
        unpickle=predictions.endswith('.pkl'),
    )
    model = MODELS.build(wrapping.around(detector, None, {})).eval()
    return finish(System(model))


def image_ids(system: System) -> Callable[[InputImage, int], int | str]:
    """Function: (image, its number) -> id of the data sample.

    Saved results are found by file name; for other systems it is the number.
    """
    saved = system.detector
    if not isinstance(saved, SavedPredictions):
        return lambda source, number: number
    by_name: dict[str, list] = {}
    for image_id, entry in saved.images.items():
        path = Path(entry['file_name'])
        by_name.setdefault(path.name, []).append((path.parts, image_id))

    def find(source: InputImage, number: int) -> int | str:
        parts = Path(source.path or source.name).parts
        found = [
            image_id
            for own, image_id in by_name.get(parts[-1] if parts else '', [])
            if own == parts[-len(own) :] or len(by_name[parts[-1]]) == 1
        ]
        if len(found) != 1:
            count = 'several' if found else 'no'
            raise ValueError(
                f'{saved.ann_file} has {count} images for {source.name}; saved '
                'results are found by file name, give a path that ends as file_name '
                'does there'
            )
        return found[0]

    return find
