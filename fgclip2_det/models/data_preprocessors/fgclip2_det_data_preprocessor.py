"""Normalisation of FG-CLIP 2, with padding that the backbone recognises."""

from __future__ import annotations

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS


@MODELS.register_module()
class FGCLIP2DetDataPreprocessor(DetDataPreprocessor):
    """BGR uint8 to RGB in -1 to 1; batches are padded with NaN.

    NaN marks what is no image: ``FGCLIP2ViT`` cuts it off, so features of an
    image do not depend on its neighbours in the batch. The rest of
    MMDetection reads image sizes from the data samples.

    Batch augmentations that pad (``BatchFixedSizePad``, ``BatchResize``) pad
    images with NaN too, whatever value their config names; masks and
    segmentation maps keep theirs. Those that resize lose the outermost pixels
    of an image that had padding beside it, where bilinear weights reach NaN.

    Args:
        kwargs: of ``DetDataPreprocessor``, but mean, std and padding values,
            which belong to the model (spec C.1).
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(
            mean=[127.5] * 3,
            std=[127.5] * 3,
            bgr_to_rgb=True,
            pad_value=float('nan'),
            **kwargs,
        )
        for augment in self.batch_augments or ():
            for name in ('img_pad_value', 'pad_value'):  # FixedSizePad, Resize
                if hasattr(augment, name):
                    setattr(augment, name, float('nan'))
