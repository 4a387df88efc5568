"""Loading of images in any format that Pillow reads; damaged files are errors."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.fileio import get_local_path

from fgclip2_det.fgclip2.image import describe_sizes, load_image, read_header


class UnreadableImageError(ValueError):
    """Raised for an image file that is missing, empty, truncated or not an image."""


@TRANSFORMS.register_module()
class OpenVocabLoadImage(BaseTransform):
    """Load ``results['img_path']`` upright, as (h, w, 3) uint8 BGR.

    MMDetection's transforms and visualizers expect BGR; the data preprocessor converts
    it to RGB (``bgr_to_rgb=True``). A truncated file is an error, whereas OpenCV fills
    the missing part with grey.

    Required keys: ``img_path``; ``img_id``, ``width`` and ``height`` when known.
    Added keys: ``img``, ``img_shape``, ``ori_shape``, the shapes as (h, w).

    Args:
        backend_args: arguments of the file backend, as in MMEngine.

    Raises:
        UnreadableImageError: naming file and image id.
        ValueError: if the upright size differs from the annotation file's, since boxes
            would be misplaced.

    Example:
        >>> OpenVocabLoadImage()(dict(img_path='cat.jpg'))['img'].shape
        (480, 640, 3)
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add the image and its shapes."""
        path = results['img_path']
        source = f'image id {results.get("img_id", "unknown")}, {path}'
        try:
            with get_local_path(path, backend_args=self.backend_args) as local_path:
                image = load_image(local_path)
                width, height = image.size
                expected = results.get('width', width), results.get('height', height)
                header = read_header(local_path) if image.size != expected else None
        except (ValueError, OSError) as error:
            raise UnreadableImageError(
                f'{source}: {error}; replace the file, or train with '
                "on_bad_image='skip'"
            ) from error
        if header is not None:
            raise ValueError(
                f'{source}: {describe_sizes(header, expected)}; correct width, height '
                'and boxes in the annotation file'
            )
        results['img'] = np.ascontiguousarray(np.asarray(image)[..., ::-1])
        results['img_shape'] = results['ori_shape'] = (height, width)
        return results
