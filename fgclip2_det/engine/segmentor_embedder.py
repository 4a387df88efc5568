"""A trained segmentor behind the benchmarks of segmentation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from fgclip2_det.engine.config import load_config
from fgclip2_det.io import InputError
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.models.backbones.fgclip2_vit import STRIDE
from fgclip2_det.models.checkpoints import check_weights, read_checkpoint
from fgclip2_det.models.encoders import build_encoder
from fgclip2_det.models.segmentors import OpenVocabSegmentor
from fgclip2_det.zeroshot import Embedder, ImageItem
from fgclip2_det.zeroshot.embedder import load_item

TEST_SIDE, LONGEST_SIDE = 640, 2560  # pixels of the shorter and of the longer side


class SegmentorEmbedder(Embedder):
    """Names by the text tower, maps of names by the trained decoder.

    Every image is resized to a shorter side of 640 pixels, as Cat-Seg tests, and to
    whole patches; it is segmented as a whole, not in windows.

    Args:
        model: with its weights.
        encoder: of its texts.
        test_side: pixels of the shorter side.
        progress: show bars on a terminal.
    """

    def __init__(
        self,
        model: OpenVocabSegmentor,
        encoder: Any,
        test_side: int = TEST_SIDE,
        progress: bool = True,
    ) -> None:
        super().__init__(encoder, progress=progress)
        self.model, self.test_side = model.eval(), test_side

    @classmethod
    def load(
        cls,
        config: str | os.PathLike,
        checkpoint: str | os.PathLike,
        device: str | None = None,
    ) -> SegmentorEmbedder:
        """From a config of ``configs/segmentation`` and a checkpoint of its training.

        Raises:
            FileNotFoundError: for a file that does not exist.
            ValueError: for a config of another model, or weights that do not fit it.
        """
        cfg = load_config(str(config))
        init_default_scope('mmdet')
        if cfg.model.type != 'OpenVocabSegmentor':
            raise InputError(
                f'{config} is of {cfg.model.type}, expected OpenVocabSegmentor; give '
                'a config of configs/segmentation'
            )
        loaded = read_checkpoint(checkpoint)
        weights = loaded.get('state_dict', loaded)
        model: Any = MODELS.build(cfg.model)
        check_weights(model, weights, checkpoint)
        model.load_state_dict(weights)
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        encoder = build_encoder(cfg.model.backbone.encoder, towers='text')
        return cls(model.to(device), encoder.to(device))

    def encoder_digest(self) -> str:
        """SHA-256 of the segmentor's weights, the encoder's among them."""
        return encoder_digest(self.model, {'test_side': self.test_side})

    @torch.no_grad()
    def name_maps(
        self, items: Sequence[ImageItem], text_embeds: Tensor
    ) -> Iterator[Tensor]:
        """(T, h, w) logits of each item in turn, see :meth:`.Embedder.name_maps`."""
        with self.bar('images', len(items)) as bar:
            for item in items:
                pixels = self._pixels(load_item(item)).to(self.device)
                yield self.model.score_maps(pixels, text_embeds)[0]
                bar.update()

    def _pixels(self, image: Image.Image) -> Tensor:
        """(1, 3, H, W), RGB in -1 to 1, both sides whole patches."""
        scale = self.test_side / min(image.size)
        scale = min(scale, LONGEST_SIDE / max(image.size))
        width, height = (
            max(1, round(side * scale / STRIDE)) * STRIDE for side in image.size
        )
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.array(resized, dtype=np.float32))
        return (values / 127.5 - 1).permute(2, 0, 1)[None]
