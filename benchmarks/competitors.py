"""What silent competitors cost: an image with two names, with and without them.

The two-stage detector at base size, random weights, 640 x 640, fp32. In turn, round
after round: two names that compete with each other and the background alone, and with
as many further texts as OV-COCO's 48 base names and the names of COCO and Objects365
make. The ratio is the median of per-round ratios. Texts are random unit vectors: they
are embedded once, and no part of an image's time.

    python -m benchmarks.competitors --rounds 5 --threads 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import fgclip2_det.registration  # registers the detectors
from benchmarks.detector import ROOT, SIZE, sample
from fgclip2_det.vocabulary import load_list
from fgclip2_det.vocabulary.competitors import CompetitorOptions, Competitors


def build():
    """The detector with two names."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    path = ROOT / 'configs/_base_/models/fgclip2-det_b16_sfpn.py'
    cfg = Config.fromfile(path).model
    cfg.backbone.encoder = dict(size='base', seed=0)
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    logits = torch.tensor([0.0])
    encoder = argparse.Namespace(logit_parameters=lambda: (logits, logits))
    embeds = F.normalize(torch.randn(3, 768), dim=-1)
    model.classifier.set_embeds(embeds, torch.tensor([True, False]), encoder)
    model.vocabulary = ['a', 'b']
    model.check_vocabulary = lambda *_: None  # no texts behind these embeddings
    return model


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    model = build()
    base = load_list('ov_coco')
    trained = [n for n, new in zip(base.names, base.novel, strict=True) if not new]
    lists = CompetitorOptions(lists=('coco', 'objects365'))
    names = lists.candidates(trained)
    apart = torch.zeros(2, 2, dtype=torch.bool)
    texts = F.normalize(torch.randn(len(names), 768), dim=-1)
    kinds = {
        'without': None,
        'with': Competitors(tuple(names), texts, apart, apart.any(1)),
    }
    image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)
    seconds = {kind: [] for kind in kinds}
    with torch.no_grad():
        for number in range(args.rounds + 1):  # the first is for warming up
            for kind, competitors in kinds.items():
                model.classifier.set_competitors(competitors)
                start = time.perf_counter()
                model.test_step(dict(inputs=[image], data_samples=[sample()]))
                if number:
                    seconds[kind].append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    result = dict(
        competitors=len(names),
        seconds={kind: statistics.median(values) for kind, values in seconds.items()},
        ratio=statistics.median(ratios),
        ratios=[min(ratios), max(ratios)],
    )
    print(json.dumps(result, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path)
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
