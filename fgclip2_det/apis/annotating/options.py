"""Options of a labelling, and the manifest that a folder of labels keeps of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from fgclip2_det.apis.inferencer import OpenVocabInferencer
from fgclip2_det.apis.slicing import Slices
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.digests import file_digest, json_digest
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.io.text import json_values, read_json
from fgclip2_det.models.detectors.saved_predictions import SavedPredictions
from fgclip2_det.vocabulary.ontology import Ontology

FORMATS = ('coco', 'yolo', 'voc', 'odvg', 'labelme')
ACCEPT, REVIEW = 0.5, 0.25
FLOOR = 0.05  # lower scores are not kept
MANIFEST = 'manifest.json'
KIND = 'fgclip2_det labels 1'
# buffers that follow the vocabulary, not the weights
_OF_NAMES = ('text_embeds', 'is_base', 'digest', 'trained_text')


@dataclass(frozen=True)
class AnnotateOptions:
    """How a folder is labelled.

    Args:
        formats: some of 'coco', 'yolo', 'voc', 'odvg', 'labelme'.
        accept: lowest score that goes into the labels.
        review: lowest score that a person is to look at.
        labelled: COCO file of some of the images; takes the place of ``accept``.
        precision: that accepted boxes are to have, measured on ``labelled``.
        min_boxes: boxes in ``labelled`` that a class's own threshold takes; others get
            that of all classes.
        batch_size: images per pass of the model.
        slices: as for the inferencer; None: one pass an image.

    Raises:
        ValueError: naming the option.
    """

    formats: Sequence[str] = ('coco',)
    accept: float = ACCEPT
    review: float = REVIEW
    labelled: str | os.PathLike | None = None
    precision: float = 0.9
    min_boxes: int = 20
    batch_size: int = 1
    slices: Slices | Mapping | int | None = None

    def __post_init__(self) -> None:
        check_formats(self.formats)
        if not self.formats:
            raise ValueError(f'name one or more formats: {", ".join(FORMATS)}')
        for name in ('accept', 'review', 'precision'):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f'{name} must be a number from 0 to 1, got {value}')
        if self.labelled is None and self.review > self.accept:
            raise ValueError(
                f'review {self.review:g} is above accept {self.accept:g}; exchange them'
            )
        for name in ('min_boxes', 'batch_size'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be 1 or more, got {getattr(self, name)}')

    def floor(self, ontology: Ontology) -> float:
        """Lowest score that is kept of a detection."""
        own = [
            value
            for each in ontology.classes
            for value in (each.threshold, each.review)
            if value is not None
        ]
        return min([FLOOR, self.accept, self.review, *own])


def check_formats(names: Sequence[str]) -> None:
    """Raise ValueError for a name that is none of :data:`FORMATS`."""
    for name in names:
        if name not in FORMATS:
            raise ValueError(
                f'formats must be some of {", ".join(FORMATS)}, got {name!r}'
            )


@dataclass(frozen=True)
class Manifest:
    """What a folder of labels was made with.

    Attributes:
        folder: absolute path of the images.
        ontology: as :meth:`.Ontology.to_dict` gives it.
        detection: settings that detections depend on, by their names.
        labelling: settings that only the bands depend on.
        formats: that were asked for, in the order of :data:`FORMATS`.
        complete: whether all images were done.
        replace: whether labels that exist already are replaced until it is complete.
    """

    folder: str
    ontology: dict[str, Any]
    detection: dict[str, Any]
    labelling: dict[str, Any]
    formats: list[str] = field(default_factory=list)
    complete: bool = False
    replace: bool = False

    @classmethod
    def of(
        cls,
        folder: Path,
        ontology: Ontology,
        options: AnnotateOptions,
        inferencer: OpenVocabInferencer,
    ) -> Manifest:
        """Of a labelling that is about to start."""
        slices = Slices.of(options.slices)
        part = options.labelled
        classes = ontology.to_dict()['classes']
        prompts = [
            [each['name'], each['prompts'], each['negatives'], each['weight'],
             [[_digest_of(path), box] for path, box in each['examples']]]
            for each in classes
        ]  # fmt: skip
        return cls(
            str(folder.resolve()),
            json_values(ontology.to_dict()),
            json_values({
                'images': str(folder.resolve()),
                'prompts': json_digest([prompts, ontology.negatives]),
                'model': model_digest(inferencer),
                'batch size': options.batch_size,
                'slices': None if slices is None else vars(slices),
                'lowest score': options.floor(ontology),
            }),
            json_values({
                'accept': None if part is not None else options.accept,
                'review': options.review,
                'labelled part': None if part is None else _digest_of(part),
                'precision': None if part is None else options.precision,
                'min boxes': None if part is None else options.min_boxes,
                'thresholds': [[c['threshold'], c['review']] for c in classes],
                'Chinese names': [c['name_zh'] for c in classes],
            }),
            list(options.formats),
        )  # fmt: skip

    @classmethod
    def read(cls, out: Path) -> Manifest | None:
        """That of a folder; None where it has none.

        Raises:
            ValueError: it is damaged, or of another version.
        """
        path = out / MANIFEST
        if not path.is_file():
            return None
        content = read_json(path, 'take another --out')
        if not isinstance(content, dict) or content.pop('kind', None) != KIND:
            raise ValueError(
                f'{path} is no manifest of this version; take another --out'
            )
        try:
            return cls(**content)
        except TypeError as error:
            raise ValueError(
                f'{path} is damaged ({error}); take another --out'
            ) from error

    def write(self, out: Path, **changes: Any) -> Manifest:
        """Write it into a folder, with some attributes changed."""
        own = replace(self, **changes)
        text = json.dumps({'kind': KIND, **vars(own)}, indent=1, ensure_ascii=False)
        write_atomic(out / MANIFEST, f'{text}\n'.encode())
        return own

    def check(self, earlier: Manifest, out: Path) -> None:
        """Refuse a folder whose labels were made with other settings.

        Raises:
            ValueError: naming what differs, and the remedy.
        """
        detection = _differences(earlier.detection, self.detection)
        labelling = _differences(earlier.labelling, self.labelling)
        if detection or labelling:
            kept = '' if detection else '; what was detected is used again'
            raise ValueError(
                f'{out} was made with other settings '
                f'({"; ".join(detection + labelling)}); take another --out, or '
                f'--overwrite to replace its labels{kept}'
            )


def _differences(there: Mapping, here: Mapping) -> list[str]:
    found = []
    for key in [*there, *(key for key in here if key not in there)]:
        first, second = there.get(key), here.get(key)
        if first != second:
            short = all(
                isinstance(v, int | float) or v is None for v in (first, second)
            )
            found.append(f'{key} {first} there, {second} here' if short else f'{key}')
    return found


def model_digest(inferencer: OpenVocabInferencer) -> str:
    """SHA-256 of a system's weights and settings, its vocabulary left out."""
    system, model = inferencer.system, inferencer.model
    weights = {
        name: tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if name.rpartition('.')[2] not in _OF_NAMES
    }
    settings = [inferencer.dtype, type(model).__name__, _plain(vars(model))]
    if system.config is not None:
        settings.append(system.config.get('model'))
    if isinstance(system.detector, SavedPredictions):
        settings.append(system.detector.rows)
    settings += [
        [type(each).__name__, _plain(vars(each))]
        for each in vars(model).values()
        if type(each).__module__.startswith('fgclip2_det.models.')
        and hasattr(each, '__dict__')
        and not isinstance(each, nn.Module)
    ]
    return encoder_digest(weights, json_values(settings, default=_type_name))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options among the attributes of a model: plain values that are not private."""
    kinds = bool | int | float | str | None | list | tuple | dict
    changing = ('dataset_meta', 'training', 'vocabulary')
    return {
        key: value
        for key, value in sorted(values.items())
        if isinstance(value, kinds) and key[0] != '_' and key not in changing
    }


def _type_name(value: object) -> str:
    """What stands for an object without a JSON form."""
    return type(value).__name__


def _digest_of(path: str | os.PathLike) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error}); check the path') from error
