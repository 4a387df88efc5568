"""The re-scoring head for detectors that are in ONNX already."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='fusion rules are in its registry')
from mmdet.registry import MODELS

from fgclip2_det.fgclip2.roi import pool_regions
from fgclip2_det.models.prediction_rescorer import clip_boxes
from fgclip2_det.onnx.rescore_graph import ExportedRescoring
from fgclip2_det.onnx.rescoring_files import rescoring_graphs
from fgclip2_det.onnx.sessions import Session
from fgclip2_det.onnx.tracing import write_graph
from fgclip2_det.rescoring.rules import EXPORTED_RULES

HEIGHT, WIDTH, DIMS, NAMES, RIVALS = 90, 150, 16, 5, 3


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    texts = torch.randn(NAMES + RIVALS, DIMS, generator=generator)
    rows = F.normalize(texts, dim=-1)
    corners = torch.rand(7, 2, 2, generator=generator).sort(1).values.flatten(1)
    boxes = corners * torch.tensor([WIDTH, HEIGHT] * 2) * 1.2 - 10
    apart = torch.zeros(NAMES, NAMES + RIVALS, dtype=torch.bool)
    apart[0, 2] = apart[2, 0] = apart[1, 6] = True
    return dict(
        boxes=boxes,
        image_size=torch.tensor([float(HEIGHT), WIDTH]),
        dense=torch.randn(1, DIMS, 7, 9, generator=generator),
        det_scores=torch.rand(7, NAMES, generator=generator),
        names=rows[:NAMES],
        is_base=torch.tensor([True, False, True, False, False]),
        competitors=rows[NAMES:],
        apart=apart,
        shift=torch.zeros(NAMES),
    )


def expected(fusion, given) -> torch.Tensor:
    """As ``PredictionRescorer`` does it."""
    size = torch.tensor([HEIGHT, WIDTH])
    regions = clip_boxes(given['boxes'], size)
    regions = torch.cat([regions, torch.tensor([[0.0, 0, WIDTH, HEIGHT]])])
    dense = given['dense'][0].permute(1, 2, 0)
    embeds = F.normalize(pool_regions([dense], [(HEIGHT, WIDTH)], [regions])[0], dim=-1)
    cosines = embeds @ torch.cat([given['names'], given['competitors']]).T
    whole = dict(image_cosines=cosines[-1, :NAMES]) if fusion.needs_image else {}
    return fusion(
        given['det_scores'],
        cosines[:-1, :NAMES],
        given['is_base'],
        competitors=cosines[:-1, NAMES:],
        apart=given['apart'],
        **whole,
    )


@pytest.mark.parametrize('columns', [1, NAMES])
@pytest.mark.parametrize('rule', EXPORTED_RULES)
def test_every_rule(rule, columns):
    """Of a score for each name, and of one per box."""
    given, fusion = inputs(), MODELS.build(dict(type=EXPORTED_RULES[rule]))
    given['det_scores'] = given['det_scores'][:, :columns]
    fusion.set_names(given['names'], given['is_base'])
    scores = ExportedRescoring(fusion)(**given)
    torch.testing.assert_close(scores, expected(fusion, given), rtol=1e-4, atol=1e-6)


def test_in_onnx(packages, tmp_path):
    """A rule with weights in float64; other numbers of boxes, names and competitors
    than those of the export."""
    graphs = rescoring_graphs(['novelty'], DIMS)
    (graph,) = graphs.values()
    write_graph(graph, tmp_path / 'head.onnx', 18)
    given, session = inputs(), Session(tmp_path / 'head.onnx')
    (scores,) = session({name: value.numpy() for name, value in given.items()})
    exact = graph.module(**given).numpy()
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-6)
    alone = given | dict(
        competitors=given['competitors'][:0], apart=given['apart'][:, :NAMES]
    )
    (scores,) = session({name: value.numpy() for name, value in alone.items()})
    exact = graph.module(**alone).numpy()
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-6)
    for value in (True, False):  # trained names alone, and none
        split = given | dict(is_base=torch.full((NAMES,), value))
        (scores,) = session({name: each.numpy() for name, each in split.items()})
        exact = graph.module(**split).numpy()
        np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-6)
        plain = MODELS.build(
            dict(type='OpenVocabGeometricFusion', alpha=0.35 if value else 0.65)
        )
        np.testing.assert_allclose(scores, expected(plain, split), rtol=1e-4, atol=1e-6)


def test_an_unknown_rule():
    with pytest.raises(ValueError, match=r"expected rules among .* got 'magic'"):
        rescoring_graphs(['magic'], DIMS)
