"""From modules to ONNX and ``torch.export`` files."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from fgclip2_det.io import InputError
from fgclip2_det.onnx.ops import translations

MIN_OPSET, MAX_OPSET = 18, 23
DETECTOR_OPSET = 21  # the last one of which onnxruntime 1.32 has RoiAlign
DEFAULT_OPSET = 20  # the first with Gelu, which int8 is faster with than its parts
INLINE = 3 << 29  # bytes of weights within the .onnx file, whose limit is 2 GiB


@dataclass(frozen=True)
class Graph:
    """What is exported as one file.

    Attributes:
        module: in evaluation mode.
        inputs: name -> example.
        dynamic: name -> axis -> its dimension: a name shared by equal ones.
        outputs: names.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, Any]]
    outputs: Sequence[str]


def check_opset(opset: int, highest: int = MAX_OPSET) -> None:
    """Raise InputError unless it can be exported; without the packages, too."""
    if not MIN_OPSET <= opset <= highest:
        raise InputError(
            f'opset must be {MIN_OPSET} to {highest}, got {opset}; runtimes of 2023 '
            f'and later read {MIN_OPSET}, and onnxruntime 1.32 runs no detector beyond '
            f'{DETECTOR_OPSET}'
        )
    try:
        for name in ('onnx', 'onnxscript'):
            import_module(name)
    except ImportError as error:
        raise InputError(
            f'{error.name} is not installed, which exports need; '
            "pip install 'fgclip2_det[onnx-export]'"
        ) from error


def image_input(patch_size: int, max_side: int) -> tuple[Tensor, dict[int, Any]]:
    """Example (2, 3, H, W) of images, and its dynamic axes: any batch, sides of 1 to
    ``max_side`` whole patches, or of more up to the example's own.

    Raises:
        InputError: if there is no such side.
    """
    if max_side < 1:
        raise InputError(f'max_side must be 1 or more patches, got {max_side}')
    h, w = 6, 10
    limit = max(max_side, h, w)
    rows, columns = (Dim(name, min=1, max=limit) for name in ('rows', 'columns'))
    example = torch.zeros(2, 3, h * patch_size, w * patch_size)
    return example, {0: Dim.DYNAMIC, 2: patch_size * rows, 3: patch_size * columns}


@torch.no_grad()
def write_graph(graph: Graph, path: Path, opset: int, pt2: bool = False) -> None:
    """Write a graph as ``path`` (.onnx), and as a .pt2 file beside it if asked for."""
    shapes = {name: dict(graph.dynamic.get(name, {})) for name in graph.inputs}
    with _quiet():
        program = torch.export.export(
            graph.module.eval(),
            (),
            kwargs=dict(graph.inputs),
            dynamic_shapes={name: axes or None for name, axes in shapes.items()},
        )
        for node in program.graph.nodes:
            node.meta.pop('stack_trace', None)  # names files of this machine
        if pt2:  # before the conversion, which cannot be done twice
            torch.export.save(program, path.with_suffix('.pt2'))
        converted = torch.onnx.export(
            program,
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            custom_translation_table=translations(),
            verbose=False,
        )
    assert converted is not None  # it is None for the old exporter alone
    _check_converted(converted, opset)
    _name_nodes(converted.model.graph)
    size = sum(each.nbytes for each in graph.module.state_dict().values())
    converted.save(str(path), external_data=size > INLINE)


def _check_converted(program: Any, opset: int) -> None:
    actual = program.model.opset_imports['']
    if actual != opset:
        raise InputError(
            f'this PyTorch exports opset {actual}, not {opset}; give --opset {actual}'
        )


def _name_nodes(nodes: Iterable[Any]) -> None:
    """Name nodes after the layers they come from; drop notes of the exporter."""
    seen: Counter[str] = Counter()
    for node in nodes:
        scopes = node.metadata_props.get('pkg.torch.onnx.name_scopes', '')
        own = ast.literal_eval(scopes)[:-1] if scopes else []  # the last is the op's
        name = '/'.join(filter(None, [*own[-1:], node.op_type]))
        seen[name] += 1
        node.name = name if seen[name] == 1 else f'{name}_{seen[name]}'
        node.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on packages that are not needed."""
    logger = logging.getLogger('torch.onnx._internal.exporter._registration')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
