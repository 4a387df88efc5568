"""Sizes of an FG-CLIP 2 model: by name, from ``config.json`` or from the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

ACTIVATION = 'gelu_pytorch_tanh'
HEADS_BY_WIDTH = {128: 4, 768: 12, 1024: 16, 1152: 16}  # 1152 / 16 = 72 per head


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text tower; names as in the released ``config.json``."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    vocab_size: int = 256_000
    max_position_embeddings: int = 64
    keep_len: int = 20
    longtext_len: int = 196
    projection_size: int = 768
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the vision tower; ``num_patches`` rows in the position table."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_patches: int = 256
    patch_size: int = 16
    num_channels: int = 3
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True)
class FGCLIP2Config:
    """Both towers. ``to_dict`` writes what the reference's loader reads."""

    text: TextConfig = field(default_factory=TextConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        if self.text.hidden_size != self.vision.hidden_size:
            raise ValueError(
                f'text and vision towers share one width, got '
                f'{self.text.hidden_size} and {self.vision.hidden_size}'
            )
        if self.text.projection_size != self.text.hidden_size:
            raise ValueError(
                f'projection_size must equal hidden_size '
                f'({self.text.hidden_size}), got {self.text.projection_size}'
            )
        for tower in (self.text, self.vision):
            for name, value in asdict(tower).items():
                whole = isinstance(value, int) and not isinstance(value, bool)
                if name != 'layer_norm_eps' and not (whole and value > 0):
                    raise ValueError(
                        f'{name} must be a positive integer, got {value!r}'
                    )
            if tower.hidden_size % tower.num_attention_heads:
                raise ValueError(
                    f'hidden_size {tower.hidden_size} is not divisible by '
                    f'num_attention_heads {tower.num_attention_heads}'
                )
        if round(self.vision.num_patches**0.5) ** 2 != self.vision.num_patches:
            raise ValueError(
                f'num_patches must be a square (the position table is viewed as '
                f'one), got {self.vision.num_patches}'
            )

    @classmethod
    def from_size(cls, size: str) -> FGCLIP2Config:
        """Sizes of table A.1 ('base', 'large', 'so400m') or the embedded 'tiny'."""
        if size not in _SIZES:
            raise ValueError(f'size must be one of {sorted(_SIZES)}, got {size!r}')
        width, hidden, layers, heads = _SIZES[size]
        shared = dict(
            hidden_size=width,
            intermediate_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
        )
        text = TextConfig(projection_size=width, **shared)
        if size == 'tiny':  # two text layers serve the embedded dataset's phrases
            text = replace(text, num_hidden_layers=2, vocab_size=TINY_VOCAB_SIZE)
        return cls(text, VisionConfig(**shared))

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]] = {}
    ) -> FGCLIP2Config:
        """Read ``config.json``; keys it lacks come from the tensors' shapes.

        Args:
            config: parsed ``config.json``.
            shapes: tensor name -> shape, names as in ``model.safetensors``.

        Raises:
            ValueError: if a size is in neither, or ``hidden_act`` is not supported.
        """
        towers = []
        for key, kind in (('text_config', TextConfig), ('vision_config', VisionConfig)):
            given = config.get(key) or {}
            if not isinstance(given, Mapping):
                raise ValueError(f'{key} must be a JSON object, got {given!r}')
            if given.get('hidden_act', ACTIVATION) != ACTIVATION:
                raise ValueError(
                    f'{key}.hidden_act must be {ACTIVATION!r}, '
                    f'got {given["hidden_act"]!r}'
                )
            known = _sizes_of_tensors(key.removesuffix('_config'), shapes)
            known |= {k: v for k, v in given.items() if k in kind.__annotations__}
            if 'hidden_size' in known:
                known.setdefault('projection_size', known['hidden_size'])
                heads = HEADS_BY_WIDTH.get(known['hidden_size'])
                if heads:
                    known.setdefault('num_attention_heads', heads)
            known = {k: v for k, v in known.items() if k in kind.__annotations__}
            required = ('hidden_size', 'intermediate_size', 'num_hidden_layers',
                        'num_attention_heads')  # fmt: skip
            missing = [name for name in required if name not in known]
            if missing:
                raise ValueError(
                    f'{key} lacks {", ".join(missing)}, which the tensors do not fix; '
                    f'add them to config.json'
                )
            towers.append(kind(**known))
        return cls(*towers)

    def to_dict(self) -> dict[str, Any]:
        """Content of ``config.json`` in the released layout."""
        common = dict(hidden_act=ACTIVATION, attention_dropout=0.0)
        ids = dict(pad_token_id=0, bos_token_id=2, eos_token_id=1)
        return dict(
            architectures=['Fgclip2Model'],
            model_type='fgclip2',
            text_config=dict(
                asdict(self.text), model_type='fgclip2_text_model', **common, **ids
            ),
            vision_config=dict(
                asdict(self.vision), model_type='fgclip2_vision_model', **common
            ),
        )


TINY_VOCAB_SIZE = 2048  # pieces of assets/fgclip2_tiny/tokenizer.model
_SIZES = {  # width, MLP width, layers, heads (spec A.1)
    'tiny': (128, 512, 4, 4),
    'base': (768, 3072, 12, 12),
    'large': (1024, 4096, 24, 16),
    'so400m': (1152, 4304, 27, 16),
}


def _sizes_of_tensors(
    tower: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Sizes determined by the tensors' shapes: all but the number of heads."""
    prefix = f'{tower}_model.'
    layers = {
        int(name.split('.')[3])
        for name in shapes
        if name.startswith(f'{prefix}encoder.layers.')
    }
    sizes = {'num_hidden_layers': max(layers) + 1} if layers else {}

    def read(key: str, name: str, axis: int) -> None:
        if prefix + name in shapes:
            sizes[key] = shapes[prefix + name][axis]

    table = 'embeddings.position_embedding.weight'
    read('hidden_size', table, 1)
    read('intermediate_size', 'encoder.layers.0.mlp.fc1.weight', 0)
    if tower == 'text':
        read('vocab_size', 'embeddings.token_embedding.weight', 0)
        read('max_position_embeddings', table, 0)
        read('longtext_len', 'embeddings.position_embedding_res.weight', 0)
        read('projection_size', 'head.weight', 0)
    else:
        read('num_patches', table, 0)
    return sizes
