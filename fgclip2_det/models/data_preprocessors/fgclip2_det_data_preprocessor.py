"""Image normalisation of FG-CLIP 2, with padding marked for the backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.registry import MODELS

PATCH = 16  # pixels a cell of a map


@MODELS.register_module()
class FGCLIP2DetDataPreprocessor(DetDataPreprocessor):
    """Convert BGR uint8 to RGB in -1 to 1, and pad batches with NaN.

    NaN marks padding, which ``FGCLIP2ViT`` removes, so the features of an image do not
    depend on the other images of the batch. The rest of MMDetection reads image sizes
    from the data samples.

    Batch augmentations that pad (``BatchFixedSizePad``, ``BatchResize``) pad
    images with NaN too, whatever value their config names; masks and
    segmentation maps keep theirs. Those that resize lose the outermost pixels
    of an image next to padding, where bilinear weights reach NaN.

    A batch of maps (D, h, w), D not 3, which ``FGCLIP2PackView`` packs from a
    feature cache, is padded with zeros, as the encoder's own maps are; the data
    samples get the sizes that the images would have.

    Args:
        kwargs: of ``DetDataPreprocessor``, except mean, std and padding values, which
            the model determines (spec C.1).
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

    def forward(self, data: dict, training: bool = False) -> dict:
        """As in ``DetDataPreprocessor``, for images or feature maps.

        Raises:
            ValueError: for feature maps, if there are ``batch_augments``.
        """
        if data['inputs'][0].shape[0] == 3:
            return super().forward(data, training)
        if training and self.batch_augments:
            raise ValueError(
                'batch_augments need images, but this is a batch of feature maps; '
                'remove them from the data_preprocessor, or train without feature cache'
            )
        data = self.cast_data(data)
        maps, samples = data['inputs'], data['data_samples']
        pad_shapes = [tuple(self._padded(n * PATCH) for n in x.shape[1:]) for x in maps]
        shape = tuple(max(sides) for sides in zip(*pad_shapes, strict=True))
        height, width = (-(-side // PATCH) for side in shape)
        batch = [
            F.pad(x.float(), (0, width - x.shape[2], 0, height - x.shape[1]))
            for x in maps
        ]
        for sample, pad_shape in zip(samples, pad_shapes, strict=True):
            sample.set_metainfo(dict(batch_input_shape=shape, pad_shape=pad_shape))
        if self.boxtype2tensor:
            samplelist_boxtype2tensor(samples)
        if self.pad_mask and training:
            self.pad_gt_masks(samples)
        if self.pad_seg and training:
            self.pad_gt_sem_seg(samples)
        return dict(inputs=torch.stack(batch), data_samples=samples)

    def _padded(self, pixels: int) -> int:
        """The next multiple of ``pad_size_divisor``."""
        return -(-pixels // self.pad_size_divisor) * self.pad_size_divisor
