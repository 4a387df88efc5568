"""Resizing as in FG-CLIP 2's training: to whole patches under a budget."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS

from fgclip2_det.fgclip2.preprocess import patch_budget, target_grid


@TRANSFORMS.register_module()
class FGCLIP2Resize(Resize):
    """Resize to multiples of the patch size under a patch budget.

    Same pixels as FG-CLIP 2's image processor: PIL, bilinear with antialiasing; small
    images are enlarged to fill the budget. Boxes, masks and segmentation maps follow
    as in MMDetection's ``Resize``; ``scale_factor`` is (w, h) and its two values
    differ slightly, because both sides are rounded to patches.

    Args:
        max_num_patches: the budget; ``'auto'`` for FG-CLIP 2's choice by image size
            (128 to 1024); or a list of budgets, one of which is drawn for each image
            (NumPy's global generator, as in MMDetection's random transforms).
        patch_size: pixels per patch side.

    Raises:
        ValueError: if a budget is neither a positive integer nor ``'auto'``.

    Example:
        >>> results = dict(img=np.zeros((480, 640, 3), np.uint8))
        >>> FGCLIP2Resize(max_num_patches=1024)(results)['img_shape']
        (432, 576)
    """

    def __init__(
        self,
        max_num_patches: int | str | Sequence[int | str] = 1024,
        patch_size: int = 16,
    ) -> None:
        super().__init__(scale=(patch_size, patch_size), backend='pillow')
        several = isinstance(max_num_patches, list | tuple)
        self.budgets: list[int | str] = (
            list(max_num_patches) if several else [cast(int | str, max_num_patches)]
        )
        self.patch_size = patch_size
        for budget in self.budgets or [None]:
            if budget != 'auto' and (not isinstance(budget, int) or budget < 1):
                raise ValueError(
                    "max_num_patches must be a positive integer, 'auto' or a list of "
                    f'these, got {max_num_patches!r}'
                )

    def transform(self, results: dict) -> dict:
        """Resize the image and its annotations.

        Without an image, if its map comes from a cache, only the annotations are
        resized, from ``img_shape``.
        """
        image = results.get('img')
        height, width = (results['img_shape'] if image is None else image.shape)[:2]
        choice = self.budgets[0]
        if len(self.budgets) > 1:
            choice = self.budgets[np.random.randint(len(self.budgets))]
        auto = choice == 'auto'
        budget = patch_budget(width, height) if auto else cast(int, choice)
        rows, columns = target_grid(height, width, budget, self.patch_size)
        self.scale = (columns * self.patch_size, rows * self.patch_size)  # (w, h)
        if image is None:
            scale_w, scale_h = self.scale
            results['img_shape'] = (scale_h, scale_w)
            results['scale_factor'] = (scale_w / width, scale_h / height)
            results['keep_ratio'] = self.keep_ratio
        return super().transform(results)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(max_num_patches={self.budgets}, '
            f'patch_size={self.patch_size})'
        )
