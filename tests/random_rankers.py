"""Rankers with random weights, and their probabilities pair by pair."""

from collections.abc import Sequence

import torch

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.ranker import Ranker, match_scores
from fgclip2_det.zeroshot import ImageItem


def vivid_ranker(encoder: DualEncoder, **changes) -> Ranker:
    """Random weights whose probabilities differ."""
    generator = torch.Generator().manual_seed(3)
    ranker = Ranker.for_encoder(encoder, generator, num_hidden_layers=1, **changes)
    for head in ('text_head', 'image_head'):
        if hasattr(ranker, head):
            getattr(ranker, head).weight.data *= 8
    return ranker.eval()


@torch.no_grad()
def slow_scores(
    encoder: DualEncoder,
    ranker: Ranker,
    items: Sequence[ImageItem],
    texts: Sequence[str],
    pairs: Sequence[tuple[int, int]],
) -> torch.Tensor:
    """Every pair by itself, without batches or padding."""
    scores = []
    for image, text in pairs:
        batch = encoder.preprocess(items[image].path)
        image_states, _ = encoder.image_tokens(batch)
        text_states, _ = encoder.text_tokens([texts[text]], 'short')
        scores.append(match_scores(ranker(image_states, text_states[None]))[0, 0])
    return torch.stack(scores)
