"""Copy-paste of labelled objects, for ``benchmarks.name_parts``."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from fgclip2_det.datasets.object_masks import box_mask, enlarge, outer_box

KEPT = 100  # objects of the images before, of this process
TRIES = 10  # places, until one lies over no label
EDGE = 0.7  # pixels, standard deviation of a mask's soft border


@TRANSFORMS.register_module()
class PasteObjects(BaseTransform):
    """Paste labelled objects of this image and of those before it.

    Which pixels of a box are the object's is cut out of it (GrabCut); it keeps its size
    and its label, and lies where no labelled box is. With ``RecolorObjects`` behind it,
    the pasted ones take the colours of others, and their labels, as all do.

    Args:
        num: objects to paste into an image; fewer where there is no place.

    Required keys: ``img`` (H, W, 3) uint8, ``gt_bboxes`` (horizontal),
    ``gt_bboxes_labels``, ``gt_ignore_flags``. Modified: all of them.

    Reference: Ghiasi et al., CVPR 2021 (copy-paste).
    """

    def __init__(self, num: int = 4) -> None:
        self.num = num
        self.objects: deque[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = deque(
            maxlen=KEPT
        )

    def transform(self, results: dict) -> dict:
        """Paste objects, drawn by NumPy's global generator."""
        image, boxes = results['img'], results['gt_bboxes'].tensor.numpy()
        labels = np.asarray(results['gt_bboxes_labels'])
        for box, label, crowd in zip(
            boxes, labels, results['gt_ignore_flags'], strict=True
        ):
            mask = None if crowd else box_mask(image, box)
            if mask is not None:
                left, top, right, bottom = place = outer_box(box, image.shape[:2])
                pixels = image[top:bottom, left:right].copy()
                inner = box - np.array([left, top, left, top], box.dtype)
                self.objects.append((pixels, enlarge(mask, place), inner, int(label)))
        image, boxes, labels = image.astype(np.float32), list(boxes), list(labels)
        for _ in range(self.num if self.objects else 0):
            pixels, mask, inner, label = self.objects[
                np.random.randint(len(self.objects))
            ]
            if np.random.rand() < 0.5:
                pixels, mask = pixels[:, ::-1], mask[:, ::-1]
                x1, y1, x2, y2 = inner
                inner = np.array([len(mask[0]) - x2, y1, len(mask[0]) - x1, y2])
            place = self._place(image.shape, pixels.shape, inner, boxes)
            if place is None:
                continue
            x, y = place
            share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), EDGE)[..., None]
            window = image[y : y + len(pixels), x : x + len(pixels[0])]
            window += (pixels - window) * share
            boxes.append(inner + np.array([x, y, x, y]))
            labels.append(label)
        results['img'] = np.rint(image).astype(np.uint8)
        results['gt_bboxes'] = HorizontalBoxes(np.array(boxes, np.float32))
        results['gt_bboxes_labels'] = np.array(labels, np.int64)
        flags = np.zeros(len(labels), bool)
        flags[: len(results['gt_ignore_flags'])] = results['gt_ignore_flags']
        results['gt_ignore_flags'] = flags
        return results

    @staticmethod
    def _place(
        shape: tuple[int, ...],
        size: tuple[int, ...],
        inner: np.ndarray,
        boxes: list[np.ndarray],
    ) -> tuple[int, int] | None:
        """A corner at which the object covers no box; None if none was found."""
        height, width = shape[0] - size[0], shape[1] - size[1]
        if height < 1 or width < 1:
            return None
        others = np.array(boxes).reshape(-1, 4)
        for _ in range(TRIES):
            x, y = np.random.randint(width), np.random.randint(height)
            box = inner + np.array([x, y, x, y])
            low = np.maximum(others[:, :2], box[:2])
            high = np.minimum(others[:, 2:], box[2:])
            if not (high > low).all(1).any():
                return x, y
        return None
