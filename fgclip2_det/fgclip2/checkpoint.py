"""Reading and writing of checkpoint folders, and conversion of SigLIP 2 weights."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fgclip2_det.io import InputError
from fgclip2_det.io.text import parse_json, read_text

# the small model that comes with the package, and its tokenizer
ASSETS = Path(__file__).resolve().parents[1] / 'assets' / 'fgclip2_tiny'
WEIGHTS, INDEX = 'model.safetensors', 'model.safetensors.index.json'
CONFIG, PROCESSOR = 'config.json', 'preprocessor_config.json'
PATCH_SIZE = 16  # pixels per patch side of every FG-CLIP 2, whose budgets count these
# preprocess.py in the format of the released processor's config. The budget is its
# default; preprocess.py chooses one by image size.
PREPROCESSOR = dict(
    image_processor_type='Siglip2ImageProcessor',
    do_resize=True,
    resample=2,  # bilinear
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=[0.5] * 3,
    image_std=[0.5] * 3,
    patch_size=PATCH_SIZE,
    max_num_patches=256,
)
# temperatures of training runs of the reference (spec B.3) and old buffers
TOLERATED = ('logit_scale_finegraind', 'logit_scale_hardneg')
TOLERATED_SUFFIX = '.embeddings.position_ids'
# a tensor that each kind of model has and those after it lack -> the kind, its loader
KINDS = {
    'text_filip_projection.weight': ('FG-CLIP 1', 'FGCLIP1.from_pretrained'),
    'dense_feature_head.probe': ('FG-CLIP 2', 'FGCLIP2.from_pretrained'),
    'visual_projection.weight': ('CLIP', 'FGCLIP1.from_clip'),
    'text_model.head.weight': ('SigLIP 2', 'FGCLIP2.from_siglip2'),
}


def resolve_folder(name: str | os.PathLike) -> Path:
    """Folder of a model: a local folder, the embedded model for 'fgclip2_tiny', or the
    snapshot of a hub id such as 'qihoo360/fg-clip2-base'.

    Raises:
        ValueError: if it is none of these, or the hub cannot be reached.
    """
    folder = Path(name)
    try:
        status = os.stat(folder) if str(name) else None
    except (OSError, ValueError):  # too long, or with a null character: no path
        status = None
    if status is not None and stat.S_ISDIR(status.st_mode):
        return folder
    if str(name) == ASSETS.name:
        return ASSETS
    if status is not None or str(name).count('/') != 1 or folder.is_absolute():
        raise InputError(
            f'expected a folder with {CONFIG} and {WEIGHTS}, {ASSETS.name!r}, or a hub '
            f"id 'owner/name'; found neither at {str(name)[:200]}"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(
            f'{name} is not a local folder; to download it: pip install huggingface_hub'
        ) from error
    patterns = ['*.json', '*.safetensors', 'tokenizer.model', 'merges.txt']
    try:
        return Path(snapshot_download(str(name), allow_patterns=patterns))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f'{name} is not a local folder and could not be downloaded ({error}); '
            f'download it elsewhere and pass the folder'
        ) from error


def is_own_weights(name: str) -> bool:
    """Whether a name is the embedded model's or a hub id of FG-CLIP's authors."""
    return name == ASSETS.name or re.fullmatch(r'qihoo360/[\w.-]+', name) is not None


def read_config(folder: Path) -> dict[str, Any]:
    """Parsed ``config.json``; ValueError if it is missing or not a JSON object."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f'{folder} holds no {CONFIG}; expected the released layout')
    try:
        config = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f'{path} is not valid JSON: {error}') from error
    if not isinstance(config, dict):
        raise InputError(f'{path} must hold one JSON object, got a {type(config)}')
    return config


def _weight_files(folder: Path) -> list[Path]:
    """``model.safetensors``, or the shards that its index names."""
    index = folder / INDEX
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not index.is_file():
        raise InputError(
            f'{folder} holds no {WEIGHTS} (only safetensors are read: pickled '
            f'weights can run code); download or convert it'
        )
    try:
        content = parse_json(read_text(index))
        names = set(content['weight_map'].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f'{index} is not an index of weights: {error!r}') from error
    outside = [n for n in names if not isinstance(n, str) or Path(n).name != n]
    if outside or not names:
        raise InputError(f'{index} must name files beside it, got {outside or "none"}')
    files = [folder / name for name in sorted(names)]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(f'{index} names {", ".join(missing)}, absent from {folder}')
    return files


class Weights:
    """Tensors of a folder, read one by one.

    Args:
        folder: local folder in the released layout.

    Raises:
        ValueError: if the file is absent or truncated.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handles, self._where = [], {}
        for path in _weight_files(folder):
            try:
                handle = safe_open(path, framework='pt')
            except (SafetensorError, OSError) as error:
                raise InputError(
                    f'{path} is truncated or no safetensors file ({error}); '
                    f'download it again'
                ) from error
            self._handles.append(handle)
            self._where |= dict.fromkeys(handle.keys(), handle)

    @property
    def kind(self) -> str | None:
        """'FG-CLIP 1', 'FG-CLIP 2', 'CLIP', 'SigLIP 2' (or 1), or None."""
        return next((kind for name, (kind, _) in KINDS.items() if name in self), None)

    def expect(self, kind: str) -> None:
        """Raise InputError unless the weights are of a kind, saying what loads them."""
        if self.kind == kind:
            return
        sign = next(name for name, (other, _) in KINDS.items() if other == kind)
        if self.kind is None:
            raise InputError(
                f'{self.folder} holds no {kind} weights ({sign} is absent) and none of '
                f'a known kind; expected the folder of a released model'
            )
        found, (_, loader) = next(
            (name, value) for name, value in KINDS.items() if value[0] == self.kind
        )
        raise InputError(
            f'{self.folder} holds {self.kind} weights ({found}), expected {kind} '
            f'({sign} is absent); use {loader}'
        )

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __getitem__(self, name: str) -> Tensor:
        return self._where[name].get_tensor(name)

    def names(self) -> set[str]:
        """Names of all tensors except those that every loader ignores."""
        return {
            name
            for name in self._where
            if name not in TOLERATED and not name.endswith(TOLERATED_SUFFIX)
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape, without reading the tensors."""
        return {
            name: tuple(handle.get_slice(name).get_shape())
            for name, handle in self._where.items()
        }


def load_strictly(model: nn.Module, weights: Weights, ignore: Iterable[str] = ()):
    """Copy weights into a model built on the meta device; every name must match.

    Args:
        model: parameters on any device are replaced by the file's tensors.
        weights: the folder's tensors.
        ignore: prefixes of names in the file that the model leaves out on purpose.

    Raises:
        ValueError: naming the first missing, unexpected or misshapen tensor.
    """
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    names = weights.names()
    actual = {
        name: shape
        for name, shape in weights.shapes().items()
        if (name in expected or name in names)
        and not name.startswith(tuple(ignore) or ('\0',))
    }
    check_fit(expected, actual, weights.folder)
    state = {name: weights[name] for name in expected}
    check_encoder_weights(state, weights.folder)
    model.load_state_dict(state, assign=True)


def check_fit(
    expected: Mapping[str, tuple], actual: Mapping[str, tuple], source: Path
) -> None:
    """Raise InputError naming the first tensor (name -> shape) that does not fit."""
    problems = [f'{n} is missing' for n in sorted(set(expected) - set(actual))]
    problems += [f'{n} is unexpected' for n in sorted(set(actual) - set(expected))]
    problems += [
        f'{n} is {actual[n]} instead of {expected[n]}'
        for n in sorted(set(actual) & set(expected))
        if actual[n] != expected[n]
    ]
    if problems:
        raise InputError(
            f'weights of {source} do not fit the model of its {CONFIG}: '
            f'{problems[0]} ({len(problems)} such tensors); expected the files of '
            f'one model'
        )


def check_finite_weights(
    state: Mapping[str, Tensor], source: str | os.PathLike
) -> None:
    """Raise InputError naming the first floating-point tensor with NaN or infinity."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f'{source}: {name} holds NaN or infinity; the training that wrote '
                f'it diverged, use other weights'
            )


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_plain_floats(state: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """Raise InputError naming the first tensor that is not of :data:`FLOATS`.

    Loading would cast integers, as of a quantised file, to floats without their scale,
    truth values to 0 and 1, and drop the imaginary part of complex numbers.
    """
    for name, tensor in state.items():
        dense = tensor.layout == torch.strided and not tensor.is_meta
        if tensor.dtype not in FLOATS or not dense:
            kind = str(tensor.dtype).removeprefix('torch.')
            kind = kind if dense else f'{kind} on {tensor.device} ({tensor.layout})'
            raise InputError(
                f'{source}: {name} holds {kind} values; expected float32, float64, '
                'float16 or bfloat16: convert it with the tool that wrote it'
            )


def check_encoder_weights(
    state: Mapping[str, Tensor], source: str | os.PathLike
) -> None:
    """Raise InputError naming the first tensor that no encoder has: not of
    :data:`FLOATS`, with NaN or infinity, or a weight that is zero throughout."""
    check_plain_floats(state, source)
    check_finite_weights(state, source)
    for name, tensor in state.items():
        if name.endswith('.weight') and not tensor.any():
            raise InputError(
                f'{source}: {name} is zero throughout, which no trained encoder has; '
                'get the file again'
            )


def save_folder(
    folder: Path,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    preprocessor: Mapping[str, Any] | None = PREPROCESSOR,
) -> None:
    """Write ``model.safetensors``, ``config.json`` and, unless it is None,
    ``preprocessor_config.json`` into a folder that nobody reads yet."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    save_file(tensors, folder / WEIGHTS, metadata={'format': 'pt'})
    files = {CONFIG: config, PROCESSOR: preprocessor}
    for name, content in files.items():
        if content is None:
            continue
        text = json.dumps(content, indent=2)
        (folder / name).write_text(f'{text}\n', encoding='utf-8')


def stretch_positions(table: Tensor, keep: int = 20, factor: int = 4) -> Tensor:
    """Long position table from a short one: 64 -> 4 * 64 - 3 * 20 = 196 rows, or
    77 -> 248.

    The first ``keep`` rows are copied; between neighbours of the others come
    ``factor`` evenly spaced steps, and the last step is extrapolated.

    Args:
        table: (P, D), P > keep + 1.

    Returns:
        (factor * P - (factor - 1) * keep, D), float32.

    Reference: Long-CLIP (arXiv:2403.15378), section 3.1.
    """
    table = table.float()
    tail = table[keep:]
    step = torch.cat([tail[1:] - tail[:-1], (tail[-1] - tail[-2])[None]])
    fractions = torch.arange(factor, device=table.device) / factor
    stretched = tail[:, None] + fractions[:, None] * step[:, None]
    return torch.cat([table[:keep], stretched.flatten(0, 1)])


def fgclip2_state_from_siglip2(weights: Weights) -> dict[str, Tensor]:
    """Initial weights of FG-CLIP 2 from SigLIP 2, NaFlex or fixed resolution.

    Shared tensors are copied (a fixed-resolution Conv2d patch
    embedding is reshaped to the row, column, channel order); both long tables
    are the stretched short one; the box and long heads copy the text head, the
    dense head copies the MAP head (spec A.3, B.2).
    """
    weights.expect('SigLIP 2')
    state = {name: weights[name] for name in weights.names()}
    patch = 'vision_model.embeddings.patch_embedding.weight'
    table = 'text_model.embeddings.position_embedding'
    for name in (patch, 'text_model.head.weight', f'{table}.weight'):
        if name not in state:
            raise InputError(f'{weights.folder} holds no SigLIP 2 weights: no {name}')
    if len(state[f'{table}.weight']) < 22:
        raise InputError(
            f'{weights.folder}: {table} must have 64 rows, got '
            f'{len(state[f"{table}.weight"])}'
        )
    if state[patch].ndim == 4:  # Conv2d (D, 3, 16, 16) -> Linear (D, 16 * 16 * 3)
        state[patch] = state[patch].permute(0, 2, 3, 1).flatten(1)
    stretched = stretch_positions(state[f'{table}.weight'])
    for name in ('res', 'ori'):
        state[f'{table}_{name}.weight'] = stretched.clone()
    copies = dict(
        longtext_head='text_model.head',
        boxtext_head='text_model.head',
        dense_feature_head='vision_model.head',
    )
    for target, source in copies.items():
        for name in [n for n in state if n.startswith(f'{source}.')]:
            state[target + name.removeprefix(source)] = state[name].clone()
    return state
