"""FLOPs and memory of one pass of the detectors that `tools/reproduce.py` runs.

Random weights at the released sizes; a pass is an image of 800 x 1066 pixels (SAM 3:
1008 x 1008) and a caption of 40 names (SAM 3: its image encoder, and what follows for
each name). FLOPs are those of ``torch.utils.flop_counter``; peak memory is that of the
tensors which a pass makes, weights not included. Slow: every pass is really run.

    python -m benchmarks.detector_cost llmdet-tiny llmdet-base llmdet-large sam3
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fgclip2_det.fgclip2.cost import LiveBytes

NAMES = 40  # names of a pass; a name of LVIS has two tokens or three, its stop one
TOKENS = 2 + NAMES * 3
SWIN = {
    'tiny': dict(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24],
                 window_size=7),
    'base': dict(embed_dim=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32],
                 window_size=12),
    'large': dict(embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48],
                  window_size=12),
}  # fmt: skip


def llmdet(size: str) -> nn.Module:
    """LLMDet and MM Grounding DINO; the large one has five levels of features."""
    import transformers

    T: Any = transformers
    stages = ['stage2', 'stage3', 'stage4']
    large = size == 'large'
    config = T.MMGroundingDinoConfig(
        backbone_config=T.SwinConfig(
            **SWIN[size], out_features=['stage1', *stages] if large else stages
        ),
        text_config=T.BertConfig(),
        num_feature_levels=5 if large else 4,
    )
    return T.MMGroundingDinoForObjectDetection(config).eval()


def measure(run, model: nn.Module) -> dict[str, int]:
    """FLOPs and peak bytes of a call."""
    live = LiveBytes()
    live.ignore([*model.parameters(), *model.buffers()])
    with torch.no_grad(), FlopCounterMode(display=False) as counter, live:
        run()
    return dict(flops=counter.get_total_flops(), peak=live.peak)


def llmdet_cost(size: str) -> dict[str, int]:
    """One pass over 40 names."""
    model = llmdet(size)
    ids = torch.tensor([[101, *([2000, 2001, 1012] * NAMES), 102]])
    inputs = dict(
        pixel_values=torch.zeros(1, 3, 800, 1066),
        pixel_mask=torch.ones(1, 800, 1066, dtype=torch.long),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        token_type_ids=torch.zeros_like(ids),
    )
    params = sum(p.numel() for p in model.parameters())
    return dict(params=params) | measure(lambda: model(**inputs), model)


def sam3_cost() -> dict[str, int]:
    """The image encoder, and what follows for one name."""
    import transformers

    T: Any = transformers
    model = T.Sam3Model(T.Sam3Config()).eval()
    seen = []
    pixels = torch.zeros(1, 3, 1008, 1008)
    image = measure(lambda: seen.append(model.get_vision_features(pixels)), model)
    ids = torch.full((1, 32), 49407)
    name = measure(
        lambda: model(
            vision_embeds=seen[0], input_ids=ids, attention_mask=torch.ones_like(ids)
        ),
        model,
    )
    params = sum(p.numel() for p in model.parameters())
    peak = max(image['peak'], name['peak'])
    return dict(
        params=params, flops=image['flops'], name_flops=name['flops'], peak=peak
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = [*(f'llmdet-{size}' for size in SWIN), 'sam3']
    parser.add_argument('detectors', nargs='+', choices=choices)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.detectors:
        print(f'measuring {name}', file=sys.stderr)
        row = sam3_cost() if name == 'sam3' else llmdet_cost(name.split('-')[1])
        print(json.dumps({name: row}), flush=True)


if __name__ == '__main__':
    main()
