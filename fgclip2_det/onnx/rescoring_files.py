"""Graphs of the re-scoring head, by the names of fusion rules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor
from torch.export import Dim

import fgclip2_det.compat.mm  # before mmdet
from fgclip2_det.io import InputError
from fgclip2_det.onnx.rescore_graph import ExportedRescoring
from fgclip2_det.onnx.tracing import Graph
from fgclip2_det.rescoring.rules import EXPORTED_RULES

D = Dim.DYNAMIC
NAME_AXES = dict(
    names={0: D}, is_base={0: D}, competitors={0: D}, apart={0: D, 1: D}, shift={0: D}
)


def example_names(embed_dims: int) -> dict[str, Tensor]:
    """Inputs of four names and three competitors."""
    rows = F.normalize(torch.eye(7, embed_dims) + 0.1, dim=-1)
    return dict(
        names=rows[:4],
        is_base=torch.tensor([True, False, True, False]),
        competitors=rows[4:],
        apart=torch.eye(4, 7).roll(1, 1).bool(),
        shift=torch.tensor([-1.0, 0.5, 0.0, 1.0]),
    )


def rescoring_graphs(rules: Sequence[str], embed_dims: int) -> dict[str, Graph]:
    """``rescore-RULE.onnx`` -> graph.

    Args:
        rules: names of :data:`.EXPORTED_RULES`, with their defaults.
        embed_dims: of the encoder.

    Raises:
        InputError: another rule.
    """
    unknown = [rule for rule in rules if rule not in EXPORTED_RULES]
    if unknown:
        raise InputError(
            f'expected rules among {", ".join(EXPORTED_RULES)}, got {unknown[0]!r}'
        )
    names = example_names(embed_dims)
    boxes = torch.tensor([[0.0, 0, 20, 30], [9, 9, 60, 50], [5, 5, 9, 80]])
    inputs = dict(
        boxes=boxes,
        image_size=torch.tensor([96.0, 160.0]),
        dense=torch.ones(1, embed_dims, 6, 10),
        det_scores=torch.full((3, 4), 0.5),
        **names,
    )
    axes = dict(boxes={0: D}, dense={2: D, 3: D}, det_scores={0: D, 1: D}, **NAME_AXES)
    graphs = {}
    for rule in rules:
        module = ExportedRescoring(MODELS.build(dict(type=EXPORTED_RULES[rule])))
        graphs[f'rescore-{rule}.onnx'] = Graph(module, inputs, axes, ['scores'])
    return graphs
