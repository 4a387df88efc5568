"""What mmcv's compiled ops require of their tensors, mostly without checking it.

They read memory through raw pointers: a map with permuted strides gives wrong numbers,
not an error. ``checked`` enforces the same requirements on the PyTorch ops, so that a
call that would go wrong with compiled ops fails in the tests; ``compiled_ops``
converts tensors that do not meet them.

Reference: mmcv 2.1.0 and onedl-mmcv 2.3.6, ``mmcv/ops/csrc/pytorch``.
"""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SWITCH = 'FGCLIP2_CHECK_OPS'  # environment variable; tests/conftest.py sets it
INTEGERS = {'target', 'value_spatial_shapes', 'value_level_start_index'}
HALF = (torch.float16, torch.bfloat16)
OUTPUTS = {  # filled by the op
    *('output', 'argmax_y', 'argmax_x', 'dets', 'ious', 'buff', 'grad_input'),
    *('grad_value', 'grad_sampling_loc', 'grad_attn_weight'),
}


@dataclass(frozen=True)
class Contract:
    """Requirements of one op on its tensors.

    Attributes:
        shapes: tensors in the order of the call -> sizes, 'N 4' or, if there is a
            choice, 'C|0'. A letter is the same number everywhere in a call.
        dtype: of every floating-point tensor; None: any, but the same for all.
        strided: tensors that the op makes contiguous itself.
        sorted: tensors that the op only sorts; any floating-point dtype.
    """

    shapes: dict[str, str]
    dtype: torch.dtype | None = None
    strided: tuple[str, ...] = ()
    sorted: tuple[str, ...] = ()


BOXES = {'boxes': 'N 4', 'scores': 'N'}
ROIS = {'rois': 'K 5', 'argmax_y': 'K C P Q|0', 'argmax_x': 'K C P Q|0'}
LOGITS = {'input': 'N C', 'target': 'N', 'weight': 'C|0'}
ATTENTION = {
    'value': 'B S M D',
    'value_spatial_shapes': 'L 2',
    'value_level_start_index': 'L',
    'sampling_locations': 'B N M L P 2',
    'attention_weights': 'B N M L P',
}
CONTRACTS = {
    'nms': Contract(BOXES, torch.float32, ('boxes', 'scores'), ('scores',)),
    'softnms': Contract(
        {**BOXES, 'dets': 'N 5'}, torch.float32, strided=('boxes', 'scores')
    ),
    'nms_match': Contract({'dets': 'N 5'}, torch.float32, strided=('dets',)),
    'bbox_overlaps': Contract({'bboxes1': 'M 4', 'bboxes2': 'N 4', 'ious': 'M N|M'}),
    'roi_align_forward': Contract(
        {'input': 'B C H W', 'rois': 'K 5', 'output': 'K C P Q', **ROIS}
    ),
    'roi_align_backward': Contract(
        {'grad_output': 'K C P Q', **ROIS, 'grad_input': 'B C H W'}
    ),
    'sigmoid_focal_loss_forward': Contract({**LOGITS, 'output': 'N C'}),
    'sigmoid_focal_loss_backward': Contract({**LOGITS, 'grad_input': 'N C'}),
    'softmax_focal_loss_forward': Contract({**LOGITS, 'output': 'N'}),
    'softmax_focal_loss_backward': Contract(
        {**LOGITS, 'buff': 'N', 'grad_input': 'N C'}
    ),
    'ms_deform_attn_forward': Contract(ATTENTION),
    'ms_deform_attn_backward': Contract(
        {
            **ATTENTION,
            'grad_output': 'B N E',
            'grad_value': 'B S M D',
            'grad_sampling_loc': 'B N M L P 2',
            'grad_attn_weight': 'B N M L P',
        }
    ),
}


def checked(op: Callable) -> Callable:
    """``op``, which rejects tensors that the compiled op would misread or reject.

    Only if the environment variable ``FGCLIP2_CHECK_OPS`` is set: the PyTorch ops
    themselves read strides and return the right result.

    Raises:
        ValueError: when called, naming the op and the argument, with what was
            expected and what it got.
    """
    name = op.__name__

    @functools.wraps(op)
    def call(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get(SWITCH):
            check(name, args, kwargs)
        return op(*args, **kwargs)

    return call


def tensors_of(op: str, args: Sequence, kwargs: dict) -> dict[str, Tensor]:
    """The tensors of a call by name; they are the first arguments of every op."""
    names = CONTRACTS[op].shapes
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    return {name: named[name] for name in names if name in named}


def check(op: str, args: Sequence, kwargs: dict) -> None:
    """Raise ValueError for tensors that the compiled op does not support."""
    contract, tensors = CONTRACTS[op], tensors_of(op, args, kwargs)
    first, sizes = next(iter(tensors)), {}
    for name, tensor in tensors.items():
        place = f'{op}: {name} must be'
        if tensor.device != tensors[first].device:
            raise ValueError(
                f'{place} on {tensors[first].device} like {first}, got {tensor.device}'
            )
        _check_dtype(place, name, tensor, contract, tensors[first])
        if name not in contract.strided and not tensor.is_contiguous():
            raise ValueError(
                f'{place} contiguous, since compiled ops ignore strides; got shape '
                f'{tuple(tensor.shape)} with strides {tensor.stride()}'
            )
        _check_shape(place, contract.shapes[name], tensor, sizes)


def _check_dtype(
    place: str, name: str, tensor: Tensor, contract: Contract, first: Tensor
) -> None:
    wanted = contract.dtype or first.dtype
    if name in INTEGERS:
        wanted = torch.int64
    sorts = name in contract.sorted and tensor.is_floating_point()
    if sorts or (
        contract.dtype and tensor.dtype in HALF
    ):  # float32 in all kinds of ops
        return
    if tensor.dtype != wanted:
        raise ValueError(f'{place} {wanted}, got {tensor.dtype}')


def _check_shape(place: str, shapes: str, tensor: Tensor, sizes: dict) -> None:
    """``sizes`` maps the letters bound so far to sizes, and is updated."""
    actual = tuple(tensor.shape)
    for shape in shapes.split('|'):
        known = {**sizes}
        letters = shape.split()
        if len(letters) == len(actual) and all(
            size == (int(x) if x.isdigit() else known.setdefault(x, size))
            for x, size in zip(letters, actual, strict=True)
        ):
            sizes.update(known)
            return
    known = ', '.join(f'{letter} = {size}' for letter, size in sizes.items())
    wanted = ' or '.join(f'({", ".join(x.split())})' for x in shapes.split('|'))
    if known:
        wanted = f'{wanted} with {known}'
    raise ValueError(f'{place} of shape {wanted}, got {actual}')
