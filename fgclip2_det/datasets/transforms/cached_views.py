"""Fixed views of every image, loaded from the image file or from a feature cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type

from fgclip2_det.datasets.feature_cache import FeatureCache, view_key

from .fgclip2_resize import FGCLIP2Resize
from .open_vocab_load_image import OpenVocabLoadImage


@TRANSFORMS.register_module()
class FGCLIP2LoadView(BaseTransform):
    """Choose a random view (a patch budget, flipped or not) and load it.

    With a cache (set by ``FGCLIP2FeatureCacheHook`` together with ``digests``, path ->
    digest of the file), the view's feature map is read instead of the image file. This
    is the first transform of a pipeline; ``FGCLIP2ApplyView`` comes after loading the
    annotations, and ``FGCLIP2PackView`` is the last.

    Added keys: ``view``, ``ori_shape``, ``img_shape`` and ``img`` or ``feature_map``.

    Args:
        max_num_patches: one budget, or several that are drawn with equal probability.
        flip: also draw horizontally flipped views, with probability 0.5.
        backend_args: arguments of the file backend.

    Raises:
        ValueError: if the cache does not have an image's view, or another image size.
    """

    def __init__(
        self,
        max_num_patches: int | Sequence[int] = 1024,
        flip: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        several = isinstance(max_num_patches, list | tuple)
        self.budgets: list[int] = (
            list(max_num_patches) if several else [cast(int, max_num_patches)]
        )
        self.flip = flip
        self.load = OpenVocabLoadImage(backend_args)
        self.cache: FeatureCache | None = None
        self.digests: dict[str, str] = {}

    @property
    def views(self) -> list[tuple[int, bool]]:
        """All pairs (budget, flipped)."""
        flips = (False, True) if self.flip else (False,)
        return [(budget, flip) for budget in self.budgets for flip in flips]

    def transform(self, results: dict) -> dict:
        """Choose a view with numpy's generator, as MMDetection's transforms do."""
        view = self.views[np.random.randint(len(self.views))]
        results['view'] = results.get('wanted_view', view)
        if self.cache is None or 'wanted_view' in results:
            return self.load(results)
        path = results['img_path']
        key = view_key(self.digests.get(path, 'new'), *view)
        if key not in self.cache:
            self.load(results)  # a damaged image is reported by the data set
            raise ValueError(
                f'{self.cache.folder} has no map of {path} ({key}); images were added '
                'since it was filled, restart the training'
            )
        results['feature_map'], (height, width) = self.cache.read(key)
        expected = results.get('height', height), results.get('width', width)
        if (height, width) != expected:
            raise ValueError(
                f'{path}: the annotation file says {expected[1]} x {expected[0]} '
                f'pixels, the map in {self.cache.folder} was computed from {width} x '
                f'{height}; correct the annotation file'
            )
        results['img_shape'] = results['ori_shape'] = (height, width)
        return results


@TRANSFORMS.register_module()
class FGCLIP2ApplyView(BaseTransform):
    """Resize and flip the image, if there is one, and its boxes and masks."""

    def transform(self, results: dict) -> dict:
        """Apply ``FGCLIP2Resize`` and ``RandomFlip`` for that view."""
        budget, flip = results['view']
        results = FGCLIP2Resize(budget)(results)
        results['flip'] = flip
        results['flip_direction'] = 'horizontal' if flip else None
        if flip:
            self._flip(results)
        return results

    @autocast_box_type()
    def _flip(self, results: dict) -> None:
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].flip_(results['img_shape'], 'horizontal')
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].flip('horizontal')
        for name in ('img', 'gt_seg_map'):
            if results.get(name) is not None:
                results[name] = mmcv.imflip(results[name], 'horizontal')


@TRANSFORMS.register_module()
class FGCLIP2PackView(PackDetInputs):
    """``PackDetInputs`` whose ``inputs`` may be a map (D, h, w) from a cache."""

    def transform(self, results: dict) -> dict:
        """As in ``PackDetInputs``."""
        packed = super().transform(results)
        if 'feature_map' in results:
            packed['inputs'] = results['feature_map']
        return packed
