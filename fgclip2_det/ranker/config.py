"""Sizes of a ranker, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fgclip2_det.fgclip2.config import MAX_LAYERS, check_size
from fgclip2_det.fgclip2.dual_encoder import DualEncoder
from fgclip2_det.io import InputError

MODEL_TYPE = 'fgclip2_ranker'
READS = ('image', 'region')
SOURCES = ('states',)
SIDES = ('both', 'text', 'image')
MAX_GRID = 64


@dataclass(frozen=True)
class RankerConfig:
    """Sizes of two joint encoders over the tokens of a dual encoder.

    Attributes:
        text_width: of the text tower's states, and of both joint encoders.
        image_width: of the vision tower's states.
        num_hidden_layers: of each joint encoder; 6 in the paper.
        num_attention_heads: of each layer; 12 in the paper.
        intermediate_size: of each layer's MLP; 3,072 in the paper.
        layer_norm_eps: BERT's.
        dropout: of a layer's outputs and attention weights, in training.
        reads: 'image' for whole images, as in the paper; 'region' for boxes.
        source: of the image tokens: 'states' of the vision tower.
        sides: 'both' joint encoders, or only that of 'text' or 'image' tokens.
        region_grid: S; a region is S x S tokens of its surroundings.
        region_context: sides of the surroundings, as a multiple of the box's.
        encoder: digests of the towers that it was trained on: 'vision' and 'text'.

    Reference: R2D2 (arXiv:2205.03860), section 4.1, and its code (spec G).
    """

    text_width: int = 768
    image_width: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0
    reads: str = 'image'
    source: str = 'states'
    sides: str = 'both'
    region_grid: int = 6
    region_context: float = 1.5
    encoder: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (
            'text_width', 'image_width', 'num_hidden_layers', 'num_attention_heads',
            'intermediate_size', 'region_grid', 'layer_norm_eps',
        ):  # fmt: skip
            check_size(name, getattr(self, name))
        _check_range('num_hidden_layers', self.num_hidden_layers, 1, MAX_LAYERS)
        _check_range('region_grid', self.region_grid, 1, MAX_GRID)
        _check_range('region_context', self.region_context, 1, 100)
        _check_range('dropout', self.dropout, 0, 0.99)
        for name, known in dict(reads=READS, source=SOURCES, sides=SIDES).items():
            if getattr(self, name) not in known:
                raise InputError(
                    f'{name} must be one of {known}, got {getattr(self, name)!r}'
                )
        digests = self.encoder
        if not isinstance(digests, Mapping) or not (
            set(digests) <= {'vision', 'text'}
            and all(isinstance(digest, str) for digest in digests.values())
        ):
            raise InputError(
                "encoder must have the digests of 'vision' and 'text', got "
                f'{str(digests)[:100]}'
            )
        if self.text_width % self.num_attention_heads:
            raise InputError(
                f'text_width {self.text_width} is not divisible by '
                f'num_attention_heads {self.num_attention_heads}'
            )

    @classmethod
    def for_encoder(cls, encoder: DualEncoder, **changes: Any) -> RankerConfig:
        """Widths of an encoder; heads and MLP as wide as those of its text tower.

        Args:
            encoder: with both towers.
            changes: other fields.
        """
        text, vision = encoder.config.text, encoder.config.vision
        sizes: dict[str, Any] = dict(
            text_width=text.hidden_size,
            image_width=vision.hidden_size,
            num_attention_heads=text.num_attention_heads,
            intermediate_size=text.intermediate_size,
        )
        return cls(**(sizes | changes))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> RankerConfig:
        """Read ``config.json``.

        Raises:
            InputError: if it is of another kind of model, or a key is unknown.
        """
        kind = config.get('model_type')
        if kind != MODEL_TYPE:
            raise InputError(
                f'it describes a model of type {str(kind)[:100]!r}, expected '
                f'{MODEL_TYPE!r}, as training of a ranker writes it'
            )
        given = {k: v for k, v in config.items() if k != 'model_type'}
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise InputError(
                f'unknown keys {unknown[:5]}; a ranker has {sorted(known)}'
            )
        if given.get('reads') == 'region' and 'source' not in given:
            raise InputError(
                'it was trained on dense maps, as of earlier versions; rankers of '
                'regions read the states of the vision tower: train it again'
            )
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        return dict(model_type=MODEL_TYPE, **asdict(self))


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise InputError(f'{name} must lie in [{low}, {high}], got {value!r}')
