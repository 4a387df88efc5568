"""What a config of own data is to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TRAINED = ('frozen', 'lora')
# size -> channels of the encoder
SIZES = {'tiny': 128, 'b16': 768, 'l16': 1024, 'so16': 1152}
# names of configs/swap; Grounding DINO reads names itself
DETECTORS = (
    'atss', 'cascade-mask-rcnn', 'deformable-detr', 'dino', 'faster-rcnn', 'fcos',
    'mask-rcnn', 'mask2former', 'retinanet', 'rtmdet-l',
)  # fmt: skip
WITH_MASKS = ('cascade-mask-rcnn', 'mask-rcnn', 'mask2former')
STEPS = 1200  # of a training, about as many as configs/chess has
MOST_EPOCHS = 100


@dataclass(frozen=True)
class OwnOptions:
    """Choices of a config.

    Attributes:
        configs: folder of this project's configs.
        size: of the encoder, a key of :data:`SIZES`.
        encoder: folder or hub id of its weights; None: the released ones, or the
            embedded ones for 'tiny'.
        train: how the encoder is trained: 'frozen' or 'lora'.
        replay: images of OVShapes in the training, with their own names.
        detector: one of :data:`DETECTORS` with our backbone; None: our detector.
        epochs: of the training; None: as many as make :data:`STEPS` steps.
        seed: of OVShapes.
        parts: name -> its look and its thing, where names are composed of them.
    """

    configs: Path
    size: str = 'b16'
    encoder: str | None = None
    train: str = 'frozen'
    replay: int = 0
    detector: str | None = None
    epochs: int | None = None
    seed: int = 0
    parts: Mapping[str, Sequence[str]] | None = None

    def num_epochs(self, num_images: int, batch_size: int) -> int:
        """Epochs of a training of ``num_images`` images."""
        if self.epochs is not None:
            return self.epochs
        steps = max(1, num_images // batch_size)
        return max(1, min(MOST_EPOCHS, round(STEPS / steps)))
