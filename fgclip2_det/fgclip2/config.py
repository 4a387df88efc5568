"""Sizes of an FG-CLIP 2 model: by name, from ``config.json`` or from the tensors."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fgclip2_det.fgclip2.checkpoint import CONFIG, PATCH_SIZE, read_config
from fgclip2_det.io import InputError

ACTIVATION = 'gelu_pytorch_tanh'
MAX_SIZE = 1 << 24  # of any size in a config; the largest known is a vocabulary's
MAX_LAYERS = 1000  # of a tower; released ones have 27
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


Config = TypeVar('Config', bound='EncoderConfig')


class EncoderConfig:
    """What the configs of FG-CLIP 1 and FG-CLIP 2 have in common: two towers, checked,
    and how they are read."""

    text: Any
    vision: Any

    def __post_init__(self) -> None:
        for tower in (self.text, self.vision):
            for name, value in asdict(tower).items():
                check_size(name, value)
            if tower.hidden_size % tower.num_attention_heads:
                raise InputError(
                    f'hidden_size {tower.hidden_size} is not divisible by '
                    f'num_attention_heads {tower.num_attention_heads}'
                )
        if self.text.keep_len > self.text.max_position_embeddings:
            raise InputError(
                f'keep_len {self.text.keep_len} must be at most '
                f'max_position_embeddings, {self.text.max_position_embeddings}'
            )

    @classmethod
    @abstractmethod
    def from_size(cls: type[Config], size: str) -> Config:
        """Sizes of a name."""

    @classmethod
    @abstractmethod
    def from_dict(
        cls: type[Config],
        config: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]] = {},
    ) -> Config:
        """Read ``config.json``; keys it lacks come from the tensors' shapes."""

    @classmethod
    def of_folder(
        cls: type[Config], folder: Path, shapes: Mapping[str, tuple[int, ...]] = {}
    ) -> Config:
        """:meth:`from_dict` of a folder's ``config.json``, which errors name."""
        config = read_config(folder)
        try:
            return cls.from_dict(config, shapes)
        except InputError as error:
            raise InputError(f'{folder / CONFIG}: {error}') from error

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Content of ``config.json`` in the released layout."""


@dataclass(frozen=True)
class FGCLIP2Config(EncoderConfig):
    """Both towers. ``to_dict`` writes what the reference's loader reads."""

    text: TextConfig = field(default_factory=TextConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text.hidden_size != self.vision.hidden_size:
            raise InputError(
                f'text and vision towers share one width, got '
                f'{self.text.hidden_size} and {self.vision.hidden_size}'
            )
        if self.text.projection_size != self.text.hidden_size:
            raise InputError(
                f'projection_size must equal hidden_size '
                f'({self.text.hidden_size}), got {self.text.projection_size}'
            )
        if round(self.vision.num_patches**0.5) ** 2 != self.vision.num_patches:
            raise InputError(
                f'num_patches must be a square (the position table is viewed as '
                f'one), got {self.vision.num_patches}'
            )

    @classmethod
    def from_size(cls, size: str) -> FGCLIP2Config:
        """Sizes of table A.1 ('base', 'large', 'so400m') or the embedded 'tiny'."""
        if size not in _SIZES:
            raise InputError(f'size must be one of {sorted(_SIZES)}, got {size!r}')
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
            InputError: if a size is in neither, is not what the tensors have, or is no
                size at all, or ``hidden_act`` or the patch size is not supported.
        """
        towers = []
        for key, kind in (('text_config', TextConfig), ('vision_config', VisionConfig)):
            actual = sizes_of_tensors(key.removesuffix('_config'), shapes)
            known = tower_sizes(key, kind, config, actual, ACTIVATION)
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
                raise InputError(
                    f'{key} lacks {", ".join(missing)}, which the tensors do not fix; '
                    f'add them to config.json'
                )
            towers.append(kind(**known))
        if (size := towers[1].patch_size) != PATCH_SIZE:
            raise InputError(
                f'vision_config.patch_size must be {PATCH_SIZE} pixels, as FG-CLIP 2 '
                f'has them, got {size}; take the checkpoint of that patch size, such '
                f'as google/siglip2-base-patch{PATCH_SIZE}-naflex'
            )
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


def tower_sizes(
    key: str,
    kind: type,
    config: Mapping[str, Any],
    actual: Mapping[str, int],
    activation: str,
) -> dict[str, Any]:
    """Sizes of one tower by name, as far as its config and its tensors have them.

    Args:
        key: of the tower in ``config``, 'text_config' or 'vision_config'.
        kind: dataclass of the tower, whose fields are the names.
        config: parsed ``config.json``.
        actual: sizes that the tensors have.
        activation: the one ``hidden_act`` that is supported.

    Raises:
        InputError: if a size is no size, or not what the tensors have, or the
            activation is another one.
    """
    given = config.get(key) or {}
    if not isinstance(given, Mapping):
        raise InputError(f'{key} must be a JSON object, got {given!r:.80}')
    found = given.get('hidden_act', activation)
    if found != activation:
        raise InputError(f'{key}.hidden_act must be {activation!r}, got {found!r:.80}')
    names = kind.__annotations__
    given = {name: value for name, value in given.items() if name in names}
    for name, value in given.items():
        check_size(f'{key}.{name}', value)
    actual = {name: value for name, value in actual.items() if name in names}
    check_agreement(key, given, actual)
    return {**actual, **given}


def check_size(name: str, value: Any) -> None:
    """Raise unless a value of a config may be a size, or the eps of a layer norm."""
    if name.endswith('layer_norm_eps'):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value < 1):
            raise InputError(
                f'{name} must be a number between 0 and 1, such as 1e-6, got {value!r}'
            )
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    limit = MAX_LAYERS if name.endswith('num_hidden_layers') else MAX_SIZE
    if not (whole and 0 < value <= limit):
        raise InputError(
            f'{name} must be a positive integer, got {value!r:.80} (at most {limit:,})'
        )


def check_agreement(
    key: str, given: Mapping[str, Any], actual: Mapping[str, int]
) -> None:
    """Raise where a config's sizes are not its tensors', before anything is built."""
    for name, value in actual.items():
        if name in given and given[name] != value:
            raise InputError(
                f'the weights do not fit the model: {key}.{name} is {given[name]}, '
                f'they have {value}; expected the files of one model'
            )


TINY_VOCAB_SIZE = 2048  # pieces of assets/fgclip2_tiny/tokenizer.model
_SIZES = {  # width, MLP width, layers, heads (spec A.1)
    'tiny': (128, 512, 4, 4),
    'base': (768, 3072, 12, 12),
    'large': (1024, 4096, 24, 16),
    'so400m': (1152, 4304, 27, 16),
}


def sizes_of_tensors(
    tower: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Sizes determined by the tensors' shapes: all but the number of heads."""
    prefix = f'{tower}_model.'
    pattern = re.compile(rf'{prefix}encoder\.layers\.(\d{{1,6}})\.')
    found = [match for name in shapes if (match := pattern.match(name))]
    layers = {int(match[1]) for match in found}
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
        shape = shapes.get(f'{prefix}embeddings.patch_embedding.weight', ())
        if len(shape) == 2:  # (D, 3 * patch * patch); FG-CLIP 1 has a convolution
            side = math.isqrt(shape[1] // 3)
            if 3 * side**2 == shape[1]:
                sizes['patch_size'] = side
    return sizes
