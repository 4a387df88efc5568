"""The image of a data sample in the orientation in which the detector saw it."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fgclip2_det.fgclip2.image import (
    TURNED_BY_OPENCV,
    ImageHeader,
    as_stored,
    describe_sizes,
    load_image,
    read_header,
)

_SIDE = 32  # of the thumbnails that are compared, in pixels
_ALIKE = 0.5  # correlation of thumbnails; unrelated ones have about 0
_FLIPS = {
    'horizontal': ([-1], Image.Transpose.FLIP_LEFT_RIGHT),
    'vertical': ([-2], Image.Transpose.FLIP_TOP_BOTTOM),
    'diagonal': ([-2, -1], Image.Transpose.ROTATE_180),
}


def detector_image(meta: Mapping, inputs: Tensor | None = None) -> Image.Image:
    """The 8-bit RGB image whose pixels are the coordinates of the sample's boxes.

    Loaders differ in the orientations that they apply: OpenCV returns a WebP with an
    EXIF orientation as it is stored in the file, Pillow upright. ``ori_shape`` shows
    which one the detector was given. If both have the same size (a square image, or
    one rotated by 180 degrees), the one that correlates with the network's input is
    used.

    Args:
        meta: ``metainfo`` of the sample: ``img_path``, and as far as known
            ``ori_shape``, ``img_shape`` (h, w), ``scale_factor`` (w, h), ``flip`` and
            ``flip_direction``, as MMDetection's pipelines leave them. ``memory``, if
            it has an ``image``, takes the place of the file: an upright RGB image.
        inputs: (3, H, W) of this sample, normalised or not, padded or not.

    Raises:
        ValueError: if the image has no path, cannot be read, or has another size than
            the detector's; and if the orientation of a WebP or AVIF is ambiguous.
    """
    image = (meta.get('memory') or {}).get('image')
    if image is not None:
        return _flipped(image, meta)
    path = meta.get('img_path')
    if not path:
        raise ValueError(
            'a data sample has no img_path, which the image is read from; add it '
            "to PackDetInputs' meta_keys"
        )
    image, shape = load_image(path), meta.get('ori_shape')
    if shape is not None:
        header, seen = read_header(path), (shape[1], shape[0])
        if seen not in (header.upright, header.stored):
            raise ValueError(
                f'{path}: {describe_sizes(header, detector=seen)}; boxes would be '
                'misplaced: is this the file that the detector was given?'
            )
        if not _is_upright(image, header, seen, meta, inputs):
            image = as_stored(image, header.orientation)
    return _flipped(image, meta)


def _flipped(image: Image.Image, meta: Mapping) -> Image.Image:
    if meta.get('flip'):
        return image.transpose(_FLIPS[meta['flip_direction']][1])
    return image


def _is_upright(
    image: Image.Image,
    header: ImageHeader,
    seen: tuple[int, int],
    meta: Mapping,
    inputs: Tensor | None,
) -> bool:
    """Whether the detector saw the upright image, not the stored one."""
    if header.orientation == 1:
        return True
    if header.upright != header.stored:
        return seen == header.upright
    upright = stored = 0.0
    if inputs is not None:
        thumbnail = _thumbnail(inputs, meta)
        upright = _likeness(image, thumbnail)
        stored = _likeness(as_stored(image, header.orientation), thumbnail)
    if max(upright, stored) >= _ALIKE:
        return upright >= stored
    if header.format in TURNED_BY_OPENCV:  # every loader applies its orientation
        return True
    raise ValueError(
        f'{meta["img_path"]}: {describe_sizes(header, detector=seen)}: whether the '
        'orientation was applied is ambiguous, and the network was given another '
        'image; save it upright, without an orientation'
    )


def _thumbnail(inputs: Tensor, meta: Mapping) -> Tensor:
    """(32, 32) greyscale thumbnail of the input without its padding."""
    height, width = meta.get('img_shape', inputs.shape[-2:])[:2]
    factor = meta.get('scale_factor')  # (w, h)
    if factor is not None:
        height = round(meta['ori_shape'][0] * factor[1])
        width = round(meta['ori_shape'][1] * factor[0])
    grey = inputs[:, :height, :width].float().mean(0)
    if meta.get('flip'):
        grey = grey.flip(_FLIPS[meta['flip_direction']][0])
    return F.adaptive_avg_pool2d(grey.nan_to_num()[None], _SIDE)[0].cpu()


def _likeness(image: Image.Image, thumbnail: Tensor) -> float:
    """Correlation in [-1, 1]; 0 if one of the two is uniform."""
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    other = torch.from_numpy(np.asarray(small, dtype=np.float32)).mean(-1)
    correlation = torch.corrcoef(torch.stack([thumbnail.flatten(), other.flatten()]))[
        0, 1
    ]
    return float(correlation.nan_to_num())
