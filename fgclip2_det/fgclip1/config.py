"""Sizes of an FG-CLIP 1 model: by name, from ``config.json`` or from the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fgclip2_det.fgclip2.config import (
    EncoderConfig,
    check_agreement,
    check_size,
    sizes_of_tensors,
    tower_sizes,
)
from fgclip2_det.fgclip2.layers import QUICK_GELU
from fgclip2_det.io import InputError

PATCHES = 'vision_model.embeddings.patch_embedding.weight'


@dataclass(frozen=True)
class FGCLIP1TextConfig:
    """Sizes of the text tower. Names as in the released ``config.json``, and defaults
    as of its format: a file leaves out what equals them."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    vocab_size: int = 49_408
    max_position_embeddings: int = 77
    keep_len: int = 20
    longtext_len: int = 248
    layer_norm_eps: float = 1e-5


@dataclass(frozen=True)
class FGCLIP1VisionConfig:
    """Sizes of the vision tower; see :class:`FGCLIP1TextConfig`."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 32
    num_channels: int = 3
    layer_norm_eps: float = 1e-5

    @property
    def grid_side(self) -> int:
        """Patches per side of the square grid that the position table is of."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class FGCLIP1Config(EncoderConfig):
    """Both towers and the width of the embeddings."""

    text: FGCLIP1TextConfig = field(default_factory=FGCLIP1TextConfig)
    vision: FGCLIP1VisionConfig = field(default_factory=FGCLIP1VisionConfig)
    projection_dim: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size('projection_dim', self.projection_dim)
        if self.vision.image_size % self.vision.patch_size:
            raise InputError(
                f'image_size {self.vision.image_size} is not divisible by patch_size '
                f'{self.vision.patch_size}'
            )

    @classmethod
    def from_size(cls, size: str) -> FGCLIP1Config:
        """'base' (ViT-B/16, 224 px), 'large' (ViT-L/14, 336 px) or 'tiny' (tests)."""
        if size not in _SIZES:
            raise InputError(f'size must be one of {sorted(_SIZES)}, got {size!r}')
        return _SIZES[size]

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]] = {}
    ) -> FGCLIP1Config:
        """Read ``config.json``; keys it lacks come from the tensors' shapes, then from
        the defaults of its format.

        Args:
            config: parsed ``config.json``.
            shapes: tensor name -> shape, names as in ``model.safetensors``.

        Raises:
            InputError: if a size is not what the tensors have or is no size at all, or
                ``hidden_act`` is not supported.
        """
        text = FGCLIP1TextConfig(
            **tower_sizes(
                'text_config',
                FGCLIP1TextConfig,
                config,
                sizes_of_tensors('text', shapes),
                QUICK_GELU,
            )
        )
        vision = FGCLIP1VisionConfig(
            **tower_sizes(
                'vision_config',
                FGCLIP1VisionConfig,
                config,
                sizes_of_tensors('vision', shapes) | _image_sizes(shapes),
                QUICK_GELU,
            )
        )
        dims = config.get('projection_dim', 512)
        rows = shapes.get('visual_projection.weight', (dims,))[0]
        check_agreement('config', config, dict(projection_dim=rows))
        return cls(text, vision, rows)

    def to_dict(self) -> dict[str, Any]:
        """Content of ``config.json`` in the released layout."""
        common = dict(
            hidden_act=QUICK_GELU,
            attention_dropout=0.0,
            projection_dim=self.projection_dim,
        )
        last = self.text.vocab_size - 1
        ids = dict(bos_token_id=last - 1, eos_token_id=last, pad_token_id=last)
        return dict(
            architectures=['FGCLIPModel'],
            model_type='clip',
            projection_dim=self.projection_dim,
            text_config=dict(
                asdict(self.text), model_type='clip_text_model', **common, **ids
            ),
            vision_config=dict(
                asdict(self.vision), model_type='clip_vision_model', **common
            ),
        )


def _image_sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of the patch convolution, and of the image by the rows of the table."""
    rows = shapes.get('vision_model.embeddings.position_embedding.weight', (0,))[0]
    weight = shapes.get(PATCHES, ())
    if len(weight) != 4 or not rows:
        return {}
    side = round((rows - 1) ** 0.5)
    if side < 1 or side**2 + 1 != rows:
        raise InputError(
            f'the position table of the vision tower must have a row more than a '
            f'square grid has patches, such as 197, got {rows}'
        )
    return dict(patch_size=weight[-1], image_size=side * weight[-1])


_TEXT, _VISION = FGCLIP1TextConfig(), FGCLIP1VisionConfig(patch_size=16)
_SIZES = {
    'tiny': FGCLIP1Config(
        replace(
            _TEXT, hidden_size=64, intermediate_size=256, num_hidden_layers=2,
            num_attention_heads=4, vocab_size=514,
        ),
        replace(
            _VISION, hidden_size=96, intermediate_size=384, num_hidden_layers=4,
            num_attention_heads=4,
        ),
        projection_dim=80,
    ),
    'base': FGCLIP1Config(_TEXT, _VISION, 512),
    'large': FGCLIP1Config(
        replace(_TEXT, hidden_size=768, intermediate_size=3072, num_attention_heads=12),
        FGCLIP1VisionConfig(1024, 4096, 24, 16, image_size=336, patch_size=14),
        projection_dim=768,
    ),
}  # fmt: skip
