"""The encoder with onnxruntime, without PyTorch: images, regions and texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgclip2_det.fgclip2.grids import box_fault
from fgclip2_det.fgclip2.image import ImageLike, load_image
from fgclip2_det.io import InputError
from fgclip2_det.onnx.folder import REGIONS, VISION, ModelFolder
from fgclip2_det.onnx.pictures import encoder_input
from fgclip2_det.onnx.sessions import CPU, Session
from fgclip2_det.onnx.text_encoder import TextEncoder, normalized


class Encoder:
    """An exported FG-CLIP 2, FG-CLIP 1 or CLIP, with the encoders' methods on images.

    Args:
        folder: that ``fgclip2-det export`` wrote.
        threads: of one operator; None for one a core.
        providers: of onnxruntime, the preferred one first.
        verify: compare the files with their digests first.

    Raises:
        InputError: for a folder that is damaged or has no encoder, and without
            onnxruntime.

    Example:
        >>> encoder = Encoder('exported')
        >>> encoder.region_features('street.jpg', [[0, 0, 320, 240]], True).shape
        (1, 768)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        threads: int | None = None,
        providers: Sequence[str] = CPU,
        verify: bool = True,
    ) -> None:
        self.folder = ModelFolder(folder, verify)
        options = threads, providers
        self._vision = Session(self.folder.need(VISION, 'the encoder'), *options)
        self._regions = Session(self.folder.need(REGIONS, 'the encoder'), *options)
        self.encode_text = TextEncoder(self.folder, *options)

    def preprocess(
        self, image: ImageLike, max_num_patches: int | str = 'auto'
    ) -> np.ndarray:
        """(3, H, W) float32 of an image, as the encoder's ``preprocess`` has it."""
        return self._loaded(image, max_num_patches)[0]

    def encode_image(
        self,
        image: ImageLike,
        normalize: bool = False,
        max_num_patches: int | str = 'auto',
    ) -> np.ndarray:
        """Global embedding (D,) of an image."""
        pooled = self._encoded(image, max_num_patches)[0][0]
        return normalized(pooled) if normalize else pooled

    def dense_features(
        self, image: ImageLike, max_num_patches: int | str = 'auto'
    ) -> np.ndarray:
        """Dense map (h, w, D) of an image, not normalised."""
        return self._encoded(image, max_num_patches)[1][0].transpose(1, 2, 0)

    def region_features(
        self,
        image: ImageLike,
        bboxes: Any,
        normalize: bool = False,
        max_num_patches: int | str = 'auto',
    ) -> np.ndarray:
        """Embeddings (n, D) of boxes.

        Args:
            image: path, PIL image or (h, w, 3) uint8 RGB array.
            bboxes: (n, 4) xyxy in the upright image's pixels.
            normalize: L2-normalise.
            max_num_patches: patch budget.

        Raises:
            ValueError: for boxes that cannot be pooled, see ``pool_regions``.
        """
        _, dense, (height, width) = self._encoded(image, max_num_patches)
        boxes = np.asarray(bboxes, np.float32)
        if not boxes.size:
            boxes = boxes.reshape(0, 4)
        if fault := box_fault(boxes, (height, width), 0):
            raise InputError(fault)
        h, w = dense.shape[2:]
        cells = boxes * np.array([w / width, h / height] * 2, np.float32)
        indices = np.zeros(len(cells), np.int64)
        feeds = dict(dense=dense, boxes=cells, image_indices=indices)
        (embeds,) = self._regions(feeds)
        return normalized(embeds) if normalize else embeds

    def _loaded(
        self, image: ImageLike, max_num_patches: int | str
    ) -> tuple[np.ndarray, tuple[int, int]]:
        loaded = load_image(image)
        pixels = encoder_input(loaded, max_num_patches, self.folder)
        return pixels, (loaded.height, loaded.width)

    def _encoded(
        self, image: ImageLike, max_num_patches: int | str
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        pixels, size = self._loaded(image, max_num_patches)
        pooled, dense = self._vision(dict(images=pixels[None]))
        return pooled, dense, size
