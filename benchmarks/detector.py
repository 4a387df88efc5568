"""An image through the open-vocabulary detector, beside what else finds 1,203 names.

Base size, random weights, 640 x 640, fp32. In turn, round after round, in one process:
the detector with 80 and with 1,203 names; MMDetection's Faster R-CNN with the same
backbone and pyramid, which knows as many classes and reads no text; and MM Grounding
DINO (Swin-T) of transformers, which takes 1,203 names in 31 chunks of 40. Ratios are
medians of per-round ratios.

    python -m benchmarks.detector --rounds 3 --out detector.json

One chunk of MM Grounding DINO is timed in each round and counted 31 times; with
--all-chunks all 31 are run. Names are random unit vectors: their text embeddings are
computed once per vocabulary, and no part of an image's time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import fgclip2_det.registration  # registers the detectors

ROOT = Path(__file__).resolve().parents[1]
SIZE, CHUNK = 640, 40
NAMES = (80, 1203)


def sample():
    from mmdet.structures import DetDataSample

    sides = (SIZE, SIZE)
    return DetDataSample(
        metainfo=dict(
            img_shape=sides, ori_shape=sides, scale_factor=(1.0, 1.0), img_path='noise'
        )
    )


def base_detector() -> Any:
    """The two-stage detector at base size, random weights."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    path = ROOT / 'configs/_base_/models/fgclip2-det_b16_sfpn.py'
    cfg = Config.fromfile(path).model
    cfg.backbone.encoder = dict(size='base', seed=0)
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def set_names(model: Any, num_names: int) -> None:
    """Random unit vectors as the embeddings of names."""
    generator = torch.Generator().manual_seed(num_names)
    embeds = F.normalize(torch.randn(num_names + 1, 768, generator=generator), dim=-1)
    is_base = torch.arange(num_names) < num_names * 3 // 4
    # released scale and bias: 1, 0
    known = argparse.Namespace(logit_parameters=lambda: torch.zeros(2, 1).unbind())
    model.roi_head.bbox_head.fc_cls.set_embeds(embeds, is_base, known)
    model.vocabulary = list(range(num_names))
    model.check_vocabulary = lambda *_: None  # no texts behind these embeddings


def detect(model: Any, image: Tensor) -> int:
    """Boxes in a (3, 640, 640) image."""
    data = dict(inputs=[image], data_samples=[sample()])
    return len(model.test_step(data)[0].pred_instances)


def open_vocab(image: Tensor) -> dict[int, Callable]:
    """Names -> a run of the detector on the image."""
    model = base_detector()

    def run(names: int) -> int:
        set_names(model, names)
        return detect(model, image)

    return {names: partial(run, names) for names in NAMES}


def closed_set(image: Tensor) -> dict[int, Callable]:
    """Classes -> a run of Faster R-CNN with the same backbone and pyramid."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    path = ROOT / 'configs/swap/faster-rcnn_fgclip2-b16_sfpn_1x_coco.py'
    runs, backbone = {}, None
    for names in NAMES:
        cfg = Config.fromfile(path).model
        cfg.backbone.encoder = dict(size='base', seed=0)
        cfg.roi_head.bbox_head.num_classes = names
        torch.manual_seed(0)
        model = MODELS.build(cfg).eval()
        model.backbone = backbone = backbone or model.backbone

        def run(model: torch.nn.Module = model) -> int:
            data = dict(inputs=[image], data_samples=[sample()])
            return len(model.test_step(data)[0].pred_instances)

        runs[names] = run
    return runs


def chunked(num_chunks: int) -> Callable:
    """A run of ``num_chunks`` chunks of MM Grounding DINO, Swin-T."""
    import transformers as T

    swin = T.SwinConfig(
        image_size=224, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24],
        window_size=7, out_features=['stage2', 'stage3', 'stage4'],
    )  # fmt: skip
    config = T.MMGroundingDinoConfig(
        backbone_config=swin, use_timm_backbone=False, disable_custom_kernels=True
    )
    torch.manual_seed(0)
    model = T.MMGroundingDinoForObjectDetection(config).eval()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, SIZE, SIZE, generator=generator)
    words = torch.randint(2000, 20000, (CHUNK, 2), generator=generator)
    names = F.pad(words, (0, 1), value=1012).flatten()  # two tokens and a full stop
    ids = torch.cat([torch.tensor([101]), names, torch.tensor([102])])[None]

    def run() -> int:
        for _ in range(num_chunks):
            outputs = model(pixel_values=pixels, input_ids=ids)
        return outputs.pred_boxes.shape[1]

    return run


@torch.inference_mode()
def compare(rounds: int, num_chunks: int) -> tuple[dict, dict]:
    """Seconds of every run, round by round; and the number of boxes of its last run."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, SIZE, SIZE), generator=generator).byte()
    runs = {f'open-vocabulary, {n} names': run for n, run in open_vocab(image).items()}
    runs |= {f'closed set, {n} classes': run for n, run in closed_set(image).items()}
    runs['chunks'] = chunked(num_chunks)
    seconds, num_boxes = {name: [] for name in runs}, {}
    for number in range(rounds + 1):  # the first warms up
        for name, run in runs.items():
            start = time.perf_counter()
            num_boxes[name] = run()
            if number:
                seconds[name].append(time.perf_counter() - start)
        print(f'round {number}/{rounds}', file=sys.stderr)
    return seconds, num_boxes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--all-chunks', action='store_true', help='run all 31')
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    needed = -(-NAMES[-1] // CHUNK)
    timed = needed if args.all_chunks else 1
    seconds, num_boxes = compare(args.rounds, timed)
    few, many = (f'open-vocabulary, {n} names' for n in NAMES)
    pairs = {
        f'{needed} chunks / detector, 1,203 names': ('chunks', many, needed / timed),
        'detector / closed set, 80': (few, f'closed set, {NAMES[0]} classes', 1),
        'detector / closed set, 1,203': (many, f'closed set, {NAMES[1]} classes', 1),
        'detector, 1,203 names / 80 names': (many, few, 1),
    }
    result = dict(threads=args.threads, torch=torch.__version__, chunks_run=timed)
    result['seconds'] = {k: statistics.median(v) for k, v in seconds.items()}
    print(f'base size, fp32, {SIZE} x {SIZE}, {args.threads} threads, seconds:')
    for name, value in result['seconds'].items():
        print(f'  {name:<32} {value:8.3f}  ({num_boxes[name]} boxes)')
    for name, (a, b, factor) in pairs.items():
        ratios = [factor * x / y for x, y in zip(seconds[a], seconds[b], strict=True)]
        result[name] = dict(
            ratio=statistics.median(ratios), spread=[min(ratios), max(ratios)]
        )
        low, high = result[name]['spread']
        print(f'  {name:<40} {result[name]["ratio"]:8.3f}  ({low:.3f} to {high:.3f})')
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
