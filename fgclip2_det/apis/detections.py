"""Detections of one image, in the forms that other tools read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image
from torch import Tensor

from fgclip2_det.coco.checks import is_number
from fgclip2_det.coco.result_writer import result_rows
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.fgclip2.image import ImageLike
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import open_atomic
from fgclip2_det.io.text import parse_json
from fgclip2_det.visualization import draw_detections

if TYPE_CHECKING:
    import pandas
    import supervision  # pyright: ignore[reportMissingImports]

LABELME_VERSION = '6.3.1'  # whose file format to_labelme has
COLUMNS = ('name', 'label', 'score', 'x1', 'y1', 'x2', 'y2')


@dataclass
class Detections:
    """Detections of one image.

    Attributes:
        bboxes: (n, 4) xyxy in the original image's pixels.
        scores: (n,), descending.
        labels: (n,) indices into ``classes``.
        classes: the vocabulary's names.
        image: name of the image: its path, or '' where it has none.
        candidates: n lists of the best names and their scores, the box's own name
            first, of detection without a prompt; None: names were asked for.

    Example:
        >>> boxes = torch.tensor([[8.0, 4.0, 40.0, 30.0]])
        >>> found = Detections(boxes, torch.ones(1), torch.tensor([1]), ('cup', '黑猫'))
        >>> found.names
        ['黑猫']
    """

    bboxes: Tensor
    scores: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    image: str = ''
    candidates: tuple[tuple[tuple[str, float], ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.bboxes)

    @property
    def names(self) -> list[str]:
        """(n,) class names."""
        return [self.classes[label] for label in self.labels.tolist()]

    def above(self, score_thr: float) -> Detections:
        """Those that score at least ``score_thr``."""
        return self.take((self.scores >= score_thr).nonzero()[:, 0])

    def take(self, rows: Tensor) -> Detections:
        """Those of some rows, (k,) int64, in that order."""
        own = self.candidates
        return Detections(
            self.bboxes[rows],
            self.scores[rows],
            self.labels[rows],
            self.classes,
            self.image,
            None if own is None else tuple(own[row] for row in rows.tolist()),
        )

    # ------------------------------------------------------------- other tools
    def to_supervision(self) -> supervision.Detections:
        """``supervision.Detections``; names are its ``data['class_name']``.

        Raises:
            ImportError: without supervision.
        """
        sv = _import('supervision')
        return sv.Detections(
            xyxy=self.bboxes.numpy().astype(np.float32).reshape(-1, 4),
            confidence=self.scores.numpy().astype(np.float32),
            class_id=self.labels.numpy().astype(int),
            data={'class_name': np.array(self.names, dtype=str)},
        )

    def to_coco(
        self,
        image_id: int | str,
        category_ids: Sequence[int | str | None] | None = None,
    ) -> list[dict]:
        """Rows of a COCO result list, boxes as xywh.

        Args:
            image_id: of the annotation file.
            category_ids: of each of the C classes, rows of None are left out; None
                counts the classes from 1.

        Raises:
            ValueError: for another number of category ids than classes.
        """
        if category_ids is None:
            category_ids = range(1, len(self.classes) + 1)
        if len(category_ids) != len(self.classes):
            raise InputError(
                f'expected a category id for each of {len(self.classes)} classes, got '
                f'{len(category_ids)}; give None for a class without one'
            )
        xywh = self.bboxes.double().numpy().reshape(-1, 4).copy()
        xywh[:, 2:] -= xywh[:, :2]
        labels, scores = self.labels.numpy(), self.scores.double().numpy()
        return list(result_rows(image_id, xywh, labels, scores, category_ids))

    def to_pipeline_dicts(self) -> list[dict[str, Any]]:
        """What a ``zero-shot-object-detection`` pipeline of transformers returns for
        an image: dicts of ``score``, ``label`` (the name) and ``box``, whose corners
        are cut to whole pixels; the highest score first.
        """
        keys = 'xmin', 'ymin', 'xmax', 'ymax'
        order = self.scores.argsort(descending=True, stable=True).tolist()
        names, scores = self.names, self.scores.tolist()
        boxes = self.bboxes.int().tolist()
        return [
            {
                'score': scores[i],
                'label': names[i],
                'box': dict(zip(keys, boxes[i], strict=True)),
            }
            for i in order
        ]

    def to_labelme(
        self, image_path: str | os.PathLike, size: tuple[int, int]
    ) -> dict[str, Any]:
        """Content of a labelme file, every box a rectangle with its ``score``.

        Args:
            image_path: of the image, relative to the folder of the labelme file.
            size: (w, h) of the image in pixels, upright.
        """
        width, height = size
        shapes = [
            {
                'label': name,
                'points': [bbox[:2], bbox[2:]],
                'group_id': None,
                'description': '',
                'shape_type': 'rectangle',
                'flags': {},
                'mask': None,
                'score': score,
            }
            for name, bbox, score in zip(
                self.names, self.bboxes.tolist(), self.scores.tolist(), strict=True
            )
        ]
        return {
            'version': LABELME_VERSION,
            'flags': {},
            'shapes': shapes,
            'imagePath': Path(image_path).as_posix(),
            'imageData': None,
            'imageHeight': height,
            'imageWidth': width,
        }

    def to_dataframe(self) -> pandas.DataFrame:
        """(n, 7) table of name, label, score, x1, y1, x2, y2.

        Raises:
            ImportError: without pandas.
        """
        frame = _import('pandas').DataFrame
        corners = self.bboxes.reshape(-1, 4).numpy().T
        values = [
            np.array(self.names, dtype=object),
            self.labels.numpy(),
            self.scores.numpy(),
            *corners,
        ]
        return frame(dict(zip(COLUMNS, values, strict=True)))

    def to_data_sample(self) -> DetDataSample:
        """MMDetection's structure, with ``pred_instances`` and, where the image has a
        path, ``img_path``."""
        sample = DetDataSample(metainfo=dict(img_path=self.image or None))
        sample.pred_instances = InstanceData(
            bboxes=self.bboxes, scores=self.scores, labels=self.labels
        )
        return sample

    # -------------------------------------------------------------------- JSON
    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``image``, ``classes``, ``names`` and, as ``DetInferencer``
        has them, ``labels``, ``scores`` and ``bboxes`` (xyxy); ``candidates`` if there
        are any."""
        content: dict[str, Any] = {
            'image': self.image,
            'classes': list(self.classes),
            'names': self.names,
            'labels': self.labels.tolist(),
            'scores': self.scores.tolist(),
            'bboxes': self.bboxes.tolist(),
        }
        if self.candidates is not None:
            content['candidates'] = [[list(c) for c in own] for own in self.candidates]
        return content

    def to_json(self) -> str:
        """JSON text of :meth:`to_dict`; :meth:`from_json` restores every bit."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Detections:
        """The detections that :meth:`to_json` wrote.

        Raises:
            ValueError: for a text of another form.
        """
        try:
            content = parse_json(text)
        except ValueError as error:
            raise InputError(
                f'expected the JSON of Detections.to_json, got text that is no JSON '
                f'({error}); write it again'
            ) from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Any) -> Detections:
        """The detections of :meth:`to_dict`.

        Raises:
            ValueError: for values of another form.
        """
        columns = 'bboxes', 'scores', 'labels'
        wanted = {'classes', *columns}
        if not isinstance(content, dict) or not wanted <= content.keys():
            raise InputError(
                f'expected a dict with {sorted(wanted)} as Detections.to_dict gives it'
            )
        bboxes, scores, labels = (content[name] for name in columns)
        for name in ('classes', *columns):
            if not isinstance(content[name], list | tuple):
                raise InputError(f'{name} must be a list, got {content[name]!r:.80}')
        classes = tuple(content['classes'])
        _check_values(classes, bboxes, scores, labels)
        if not isinstance(content.get('image', ''), str):
            raise InputError(f'image must be a path, got {content["image"]!r:.80}')
        count = len(bboxes)
        fits = len(scores) == len(labels) == count
        if not fits or not all(label < len(classes) for label in labels):
            raise InputError(
                f'expected n boxes of 4 numbers, n scores and n labels of '
                f'{len(classes)} classes, got {count} boxes, {len(scores)} scores and '
                f'{len(labels)} labels; write the detections again'
            )
        candidates = content.get('candidates')
        if candidates is not None:
            candidates = _read_candidates(candidates, count)
        return cls(
            torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4),
            torch.tensor(scores, dtype=torch.float32),
            torch.tensor(labels, dtype=torch.long),
            classes,
            content.get('image', ''),
            candidates,
        )

    # ---------------------------------------------------------------- images
    def plot(
        self, image: ImageLike | None = None, score_thr: float = 0.0, **options: Any
    ) -> Image.Image:
        """The image with boxes, names and scores, in English and Chinese.

        Args:
            image: as for ``fgclip2_det.fgclip2.load_image``, so arrays are RGB; None
                reads the file that ``image`` names.
            score_thr: boxes that score lower are left out.
            options: of :func:`fgclip2_det.visualization.draw_detections`.

        Raises:
            ValueError: for an image that cannot be read, or none at all.
        """
        if image is None and not self.image:
            raise InputError(
                'these detections are of an image without a path; pass the image'
            )
        return draw_detections(
            load_image(self.image if image is None else image),
            self.bboxes,
            self.names,
            self.scores,
            score_thr=score_thr,
            **options,
        )

    def save(
        self,
        path: str | os.PathLike,
        image: ImageLike | None = None,
        score_thr: float = 0.0,
        **options: Any,
    ) -> Path:
        """Write :meth:`plot` to an image file, whole or not at all.

        Raises:
            ValueError: if the name's ending is no image format that Pillow writes.
        """
        path = Path(path)
        form = Image.registered_extensions().get(path.suffix.lower())
        if form not in Image.SAVE:
            raise InputError(
                f'{path} must end like an image file, e.g. .png or .jpg, got '
                f'{path.suffix!r}'
            )
        drawn = self.plot(image, score_thr, **options)
        with open_atomic(path) as file:
            drawn.save(file, format=form)
        return path

    def show(
        self, image: ImageLike | None = None, score_thr: float = 0.0, **options: Any
    ) -> None:
        """Open :meth:`plot` in the system's image viewer."""
        self.plot(image, score_thr, **options).show()


def _import(name: str) -> Any:
    """A package that only this conversion needs."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f'this conversion needs {name}, which is not installed: pip install {name}'
        ) from error


def _check_values(
    classes: Sequence[Any], bboxes: Sequence, scores: Sequence, labels: Sequence
) -> None:
    """Raise InputError for values of :meth:`Detections.from_dict` of another form."""
    if not all(isinstance(name, str) for name in classes):
        raise InputError(f'classes must be texts, got {classes!r:.80}')
    for box in bboxes:
        plain = isinstance(box, list | tuple) and len(box) == 4
        if not plain or not all(map(is_number, box)):
            raise InputError(f'expected boxes of 4 numbers, got {box!r:.80}')
    for score in scores:
        if not is_number(score):
            raise InputError(f'scores must be finite numbers, got {score!r:.80}')
    for label in labels:
        if type(label) is not int or label < 0:
            raise InputError(f'labels must be whole numbers from 0, got {label!r:.80}')


def _read_candidates(
    rows: Any, count: int
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Candidates of :meth:`Detections.to_dict`, of ``count`` boxes."""
    if not isinstance(rows, list | tuple) or len(rows) != count:
        got = len(rows) if isinstance(rows, list | tuple) else f'{rows!r:.80}'
        raise InputError(
            f'expected candidates of {count} boxes, got {got}; write the detections '
            'again'
        )
    for row in rows:
        if not isinstance(row, list | tuple) or not all(map(_is_candidate, row)):
            raise InputError(
                f'candidates of a box must be pairs of name and score, got {row!r:.80}'
            )
    return tuple(tuple((name, float(score)) for name, score in row) for row in rows)


def _is_candidate(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and is_number(pair[1])
    )
