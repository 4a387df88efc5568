"""Objects in the colours of others, for names made of parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.datasets.object_masks import box_mask, enlarge, outer_box

KEPT_MASKS = 20_000  # of a process, a kilobyte each, least recently used first out
LEAST_PIXELS = 20  # of an object whose colours are measured
EDGE = 0.7  # pixels, standard deviation of a mask's soft border
LABEL_BITS = 20  # of a label; what is above says whose colours the object has


@TRANSFORMS.register_module()
class RecolorObjects(BaseTransform):
    """Give objects the colours of others in the same image.

    Where names are made of parts, such as 'white' and 'rook', and a training set lacks
    some of the pairs, a detector learns each look anew for every colour: it has no
    reason to take a white rook for a rook. A black rook in the colours of a white pawn
    beside it is one. Mean and standard deviation of the object's pixels in CIELAB
    become those of the other object (Reinhard et al., 2001); which pixels are the
    object's is known from its mask, or cut out of its box.

    The other object may have the same look: traces of painting then tell nothing about
    which pairs occur.

    A label stays in its lower ``LABEL_BITS`` bits. Above them stands the label of the
    object whose colours were taken, plus one, so that crops and mosaics that drop or
    gather boxes keep both together. ``PackOpenVocabInputs`` takes them apart, and
    ``bbox_head.name_parts`` makes targets of them. Put it behind ``LoadAnnotations``.

    Args:
        parts: name -> its parts, the detector's own table. Objects of other names are
            left as they are.
        prob: share of the objects that are recoloured, of those with another one in
            their image.

    Raises:
        ValueError: for a table of another form, or a share that is none; for an image
            of another form, and without names of the classes.

    Required keys: ``img`` (H, W, 3) uint8 BGR, ``gt_bboxes``, ``gt_bboxes_labels``,
    ``class_names``; ``gt_masks`` and ``gt_ignore_flags`` where they are loaded.
    Modified: ``img``, ``gt_bboxes_labels``.
    """

    def __init__(self, parts: Mapping[str, Sequence[str]], prob: float = 0.5) -> None:
        if not isinstance(parts, Mapping) or not parts:
            raise ValueError(
                "parts must be a table such as {'white rook': ['white', 'rook']}, got "
                f'{parts!r:.80}'
            )
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be between 0 and 1, got {prob!r}')
        self.names = frozenset(map(normalize_name, parts))
        self.prob = prob
        self._masks: OrderedDict[tuple, np.ndarray | None] = OrderedDict()

    def transform(self, results: dict) -> dict:
        """Recolour objects, drawn by NumPy's global generator."""
        _check_input(results)
        labels = np.asarray(results['gt_bboxes_labels'])
        names = results['class_names']
        crowds = results.get('gt_ignore_flags', np.zeros(len(labels), bool))
        known = [
            i
            for i, label in enumerate(labels)
            if not crowds[i] and normalize_name(names[label]) in self.names
        ]
        chosen = np.random.rand(len(labels)) < self.prob
        draws = np.random.rand(len(labels))
        if not chosen.any():
            return results
        image = results['img']
        lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
        objects: dict[int, _Object] = {}
        for i in known:
            if found := self._object(results, lab, i):
                objects[i] = found
        recolored, looks = image.astype(np.float32), np.full(len(labels), -1, np.int64)
        for i, own in objects.items():
            others = [j for j in objects if j != i]
            if others and chosen[i]:
                donor = others[int(draws[i] * len(others))]
                own.paint(recolored, lab, objects[donor])
                looks[i] = labels[donor]
        results['img'] = np.rint(recolored).astype(np.uint8)
        results['gt_bboxes_labels'] = labels + ((looks + 1) << LABEL_BITS)
        return results

    def _object(self, results: dict, lab: np.ndarray, i: int) -> _Object | None:
        """Object ``i`` of an image; None if its pixels are not known."""
        boxes = results['gt_bboxes']
        box = np.asarray(getattr(boxes, 'tensor', boxes)[i], np.float32)
        place = outer_box(box, lab.shape[:2])
        left, top, right, bottom = place
        if results.get('gt_masks') is not None:
            mask = results['gt_masks'][i].to_ndarray()[0].astype(bool)
            mask = mask[top:bottom, left:right]
        else:
            small = self._cut(results, box)
            mask = small if small is None else enlarge(small, place)
        if mask is None or mask.sum() < LEAST_PIXELS:
            return None
        return _Object(place, mask, lab)

    def _cut(self, results: dict, box: np.ndarray) -> np.ndarray | None:
        """The reduced mask of a box, cut once in this process."""
        image, flip = results['img'], results.get('flip_direction')
        key = results.get('img_path'), image.shape, flip, *box.tolist()
        if key not in self._masks:
            self._masks[key] = box_mask(image, box)
            if len(self._masks) > KEPT_MASKS:
                self._masks.popitem(last=False)
        self._masks.move_to_end(key)
        return self._masks[key]

    def __repr__(self) -> str:
        return f'{type(self).__name__}({len(self.names)} names, prob={self.prob})'


def _check_input(results: dict) -> None:
    """Raise ``ValueError`` for an image that cannot be painted, or without names."""
    image = results.get('img')
    if image is None or image.dtype != np.uint8 or image.shape[2:] != (3,):
        found = 'none' if image is None else f'{image.dtype} {image.shape}'
        raise ValueError(
            f'RecolorObjects needs an image (H, W, 3) of uint8, found {found}; put it '
            'behind LoadAnnotations. Maps from a feature cache cannot be painted'
        )
    if results.get('class_names') is None:
        raise ValueError(
            'RecolorObjects needs the names of the classes, which OpenVocabCocoDataset '
            'gives with an image; use it for training'
        )


class _Object:
    """Pixels of an object, and the statistics of their colours."""

    def __init__(
        self, place: tuple[int, int, int, int], mask: np.ndarray, lab: np.ndarray
    ) -> None:
        left, top, right, bottom = place
        self.place = slice(top, bottom), slice(left, right)
        self.mask = mask
        pixels = lab[self.place][mask]
        self.mean, self.std = pixels.mean(0), pixels.std(0) + 1

    def paint(self, image: np.ndarray, lab: np.ndarray, donor: _Object) -> None:
        """Paint it into ``image`` (H, W, 3) float32 BGR in the colours of another."""
        colors = (lab[self.place] - self.mean) / self.std * donor.std + donor.mean
        colors = np.clip(colors, 0, 255).astype(np.uint8)
        colors = cv2.cvtColor(colors, cv2.COLOR_LAB2BGR).astype(np.float32)
        share = cv2.GaussianBlur(self.mask.astype(np.float32), (0, 0), EDGE)[..., None]
        image[self.place] = image[self.place] * (1 - share) + colors * share


@TRANSFORMS.register_module()
class PackOpenVocabInputs(PackDetInputs):
    """``PackDetInputs``, and ``gt_instances.looks``: for each box the label of the
    object whose colours it has, -1 for its own (:class:`RecolorObjects`)."""

    mapping_table: ClassVar[dict] = {
        **PackDetInputs.mapping_table,
        'gt_looks': 'looks',
    }

    def transform(self, results: dict) -> dict:
        """As in ``PackDetInputs``."""
        if 'gt_bboxes_labels' in results:
            labels = np.asarray(results['gt_bboxes_labels'], np.int64)
            results['gt_looks'] = (labels >> LABEL_BITS) - 1
            results['gt_bboxes_labels'] = labels & ((1 << LABEL_BITS) - 1)
        return super().transform(results)
