"""LoRA adapters of the encoder: added with peft, and merged into the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

TARGETS = ('q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2')


def add_lora(
    backbone: nn.Module,
    blocks: Iterable[int],
    r: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    target: Sequence[str] = ('q_proj', 'v_proj'),
    seed: int = 0,
    idle: Sequence[str] = (),
) -> None:
    """Freeze a backbone and add adapters to linear layers: W x + alpha / r B A x.

    B is initialised with zeros, so the output does not change at first: bit for bit
    without gradients, except for rounding in ``fc1``, whose GELU is then no longer
    fused by oneDNN.

    Adapters are added to the given blocks. ``out_proj``, ``fc1`` and ``fc2`` also
    include the dense head, whose q, k and v are one stacked parameter
    (``in_proj_weight``) that is not a linear layer and stays frozen.

    Args:
        backbone: ``FGCLIP2ViT`` with its weights.
        blocks: indices of the blocks.
        r: rank.
        alpha: the adapters' output is scaled by alpha / r.
        dropout: dropout of the adapters' input, in training.
        target: names of layers, among ``TARGETS``.
        seed: seed of A. The global random generators are not used.
        idle: names of layers that no output uses, which get none.

    Raises:
        ValueError: if an option is out of range or leaves no layer, or peft is not
            installed.

    Reference: LoRA (arXiv:2106.09685), section 4.1; it chooses q and v.
    """
    _check(r, alpha, dropout, target)
    peft = _peft()
    prefixes = [f'vision_model.encoder.layers.{i}.' for i in blocks]
    prefixes.append('dense_feature_head.')
    names = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith(tuple(prefixes))
        and name.rpartition('.')[2] in target
        and name not in idle
    ]
    if not names:
        raise ValueError(
            f'lora: no output uses {", ".join(target)} of the blocks that are not '
            'frozen; add v_proj to target, or freeze fewer blocks'
        )
    config = peft.LoraConfig(
        r=r, lora_alpha=cast(int, alpha), lora_dropout=dropout, target_modules=names
    )
    # peft annotates lora_alpha as int, but accepts any number
    with torch.random.fork_rng(devices=[]):
        peft.inject_adapter_in_model(config, backbone)  # and freezes the rest
    assert sorted(names) == sorted(_adapted(backbone))
    if torch.get_default_device().type != 'meta':
        generator = torch.Generator().manual_seed(seed)
        for module in _adapted(backbone).values():  # as in peft, but with our seed
            weight = module.lora_A['default'].weight
            nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)


def merge_lora(backbone: nn.Module) -> None:
    """Merge adapters into the weights they belong to, in place.

    The backbone then has the released parameter names again and no adapters, and
    needs no peft. Its parameters stay frozen.

    Args:
        backbone: ``FGCLIP2ViT``; one without adapters stays as it is.

    Raises:
        ValueError: if the result is not finite.
    """
    adapted = _adapted(backbone)
    for name, module in adapted.items():
        module.merge(safe_merge=True)
        backbone.set_submodule(name, module.get_base_layer())
    if adapted:
        del backbone.peft_config
    cast(Any, backbone).lora = None


def name_base_layers(
    backbone: nn.Module, state_dict: dict[str, Tensor], prefix: str = ''
) -> None:
    """Rename the weights of layers that now have adapters, in place.

    Weights of a detector trained without adapters can then be loaded into one with
    adapters.

    Args:
        backbone: ``FGCLIP2ViT`` with adapters.
        state_dict: weights; names that already have ``base_layer`` are kept.
        prefix: prefix of the backbone's names.
    """
    for name in _adapted(backbone):
        for part in ('weight', 'bias'):
            plain = f'{prefix}{name}.{part}'
            if plain in state_dict:
                state_dict[f'{prefix}{name}.base_layer.{part}'] = state_dict.pop(plain)


def _adapted(backbone: nn.Module) -> dict[str, Any]:
    """Layers with adapters, by name."""
    return {
        name: module
        for name, module in backbone.named_modules()
        if hasattr(module, 'base_layer') and hasattr(module, 'lora_A')
    }


def check_options(lora: object) -> None:
    """ValueError unless ``lora`` is None or a dict of options of ``add_lora``."""
    known = {'r', 'alpha', 'dropout', 'target', 'seed'}
    if lora is not None and (not isinstance(lora, Mapping) or set(lora) - known):
        raise ValueError(f'lora must be None or a dict of {sorted(known)}, got {lora}')


def _check(r: int, alpha: float, dropout: float, target: Sequence[str]) -> None:
    if type(r) is not int or r < 1 or not alpha > 0 or not 0 <= dropout < 1:
        raise ValueError(
            'lora: r must be a positive integer, alpha above 0, dropout in [0, 1), got '
            f'{r!r}, {alpha!r} and {dropout!r}'
        )
    listed = isinstance(target, list | tuple) and target
    if not listed or set(target) - set(TARGETS):
        raise ValueError(f'lora: target must list some of {TARGETS}, got {target!r}')


def _peft():
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            "lora needs peft, which is not installed: pip install 'peft>=0.21,<1'"
        ) from error
    return peft
