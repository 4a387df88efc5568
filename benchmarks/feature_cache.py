"""A training step from the feature cache, beside one without any encoder.

Base size, random weights, fp32, two images of 640 x 640 a step, 80 names. In turn,
round after round, in one process: a step from the cache on disk (bf16), the same step
with maps that are already in memory (fp32), and the same step with the encoder. Ratios
are medians of per-round ratios, of seconds and of this process's CPU seconds, which
other processes disturb less. Before that, the losses of all three on equal weights.

    python -m benchmarks.feature_cache --rounds 5 --out feature_cache.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import fgclip2_det.registration  # registers the detectors
from fgclip2_det.datasets.feature_cache import (
    FeatureCache,
    FeatureWriter,
    image_digests,
    view_key,
)
from fgclip2_det.datasets.transforms import (
    FGCLIP2ApplyView,
    FGCLIP2LoadView,
    FGCLIP2PackView,
)

ROOT = Path(__file__).resolve().parents[1]
SIZE, NAMES, NUM_IMAGES, BATCH = 640, 80, 6, 2
BUDGET = (SIZE // 16) ** 2


def build_detector() -> torch.nn.Module:
    from mmdet.registry import MODELS
    from mmengine.config import Config

    path = ROOT / 'configs/_base_/models/fgclip2-det_b16_sfpn.py'
    cfg = Config.fromfile(path).model
    cfg.backbone.encoder = dict(size='base', seed=0)
    cfg.roi_head.bbox_head.classifier.logit_scale = 3.0
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    generator = torch.Generator().manual_seed(1)
    embeds = F.normalize(torch.randn(NAMES + 1, 768, generator=generator), dim=-1)
    classifier = model.roi_head.bbox_head.fc_cls
    classifier.set_embeds(embeds, torch.ones(NAMES, dtype=torch.bool), None)
    model.check_training_boxes = lambda samples: None  # no texts behind the embeddings
    return model.train()


class Memory:
    """A cache without a disk, of float32 maps."""

    def __init__(self) -> None:
        self.maps: dict[str, torch.Tensor] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.maps

    def read(self, key: str) -> tuple[torch.Tensor, tuple[int, int]]:
        return self.maps[key], (SIZE, SIZE)


class NoiseImages:
    """Noise with boxes, on disk, as images and as maps."""

    def __init__(self, folder: Path, model: torch.nn.Module) -> None:
        self.load, self.model = FGCLIP2LoadView(BUDGET, flip=False), model
        rng = np.random.default_rng(0)
        self.paths, self.boxes = [], []
        for i in range(NUM_IMAGES):
            coarse = rng.integers(0, 256, (SIZE // 8, SIZE // 8, 3), np.uint8)
            path = folder / f'{i}.jpg'
            Image.fromarray(coarse).resize((SIZE, SIZE)).save(path)
            start, sides = rng.uniform(0, 300, (8, 2)), rng.uniform(30, 300, (8, 2))
            self.paths.append(str(path))
            self.boxes.append(np.concatenate([start, start + sides], 1))
        disk, memory = FeatureCache(folder / 'maps', 'benchmark'), Memory()
        self.caches = {'encoder': None, 'cache': disk, 'memory': memory}
        digests = self.load.digests = image_digests(self.paths)
        with torch.no_grad(), FeatureWriter(disk) as writer:
            for index, path in enumerate(self.paths):
                item = self.item(index, 'encoder')
                data = model.data_preprocessor(self.collate([item]))
                (features,), _ = model.backbone.extract(data['inputs'], False)
                key = view_key(digests[path], BUDGET, False)
                memory.maps[key] = features[0].contiguous()
                writer.add(key, features[0], (SIZE, SIZE))
        disk.refresh()

    def item(self, index: int, kind: str) -> dict:
        from mmdet.structures.bbox import HorizontalBoxes

        self.load.cache = self.caches[kind]
        results = self.load(dict(img_path=self.paths[index]))
        results |= dict(
            gt_bboxes=HorizontalBoxes(torch.tensor(self.boxes[index]).float()),
            gt_bboxes_labels=np.arange(8) * 9 + index,
            gt_ignore_flags=np.zeros(8, bool),
        )
        return FGCLIP2PackView()(FGCLIP2ApplyView()(results))

    @staticmethod
    def collate(items: list[dict]) -> dict:
        return {key: [item[key] for item in items] for key in items[0]}

    def batch(self, step: int, kind: str) -> dict:
        chosen = [(step * BATCH + i) % NUM_IMAGES for i in range(BATCH)]
        return self.collate([self.item(i, kind) for i in chosen])

    def losses(self, step: int, kind: str) -> dict[str, torch.Tensor]:
        """Of a step; the draws of regions are the same for all kinds."""
        torch.manual_seed(step)
        data = self.model.data_preprocessor(self.batch(step, kind), training=True)
        loss, logged = self.model.parse_losses(self.model(**data, mode='loss'))
        return logged | {'loss': loss}

    def differences(self, own_proposals: bool) -> dict[str, dict[str, float]]:
        """Largest relative differences from the encoder's losses, by kind.

        Args:
            own_proposals: with a random RPN, whose scores are nearly equal, rounding
                changes which proposals are best. False gives all kinds those of the
                encoder.
        """
        head, kept = self.model.rpn_head, []
        ask = head.loss_and_predict

        def proposals(*args, **kwargs):
            losses, proposed = ask(*args, **kwargs)
            kept.append([x.clone() for x in proposed])
            return losses, proposed if own_proposals else [x.clone() for x in kept[0]]

        head.loss_and_predict = proposals
        worst = {'memory': {}, 'cache': {}}
        with torch.no_grad():
            for step in range(NUM_IMAGES // BATCH):
                kept.clear()
                true = self.losses(step, 'encoder')
                for kind, row in worst.items():
                    other = self.losses(step, kind)
                    for name in (n for n in true if 'loss' in n):
                        value = far(other[name], true[name])
                        row[name] = max(row.get(name, 0.0), value)
        head.loss_and_predict = ask
        return worst


def far(value: torch.Tensor, true: torch.Tensor) -> float:
    """Relative difference."""
    return abs(float(value) - float(true)) / max(abs(float(true)), 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    model = build_detector()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-4)
    kinds = ('cache', 'memory', 'encoder')
    seconds = {kind: [] for kind in kinds}
    cpu = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        images = NoiseImages(Path(folder), model)
        size = sum(p.stat().st_size for p in Path(folder, 'maps').iterdir())
        differences = {
            'equal proposals': images.differences(own_proposals=False),
            'proposals of their own': images.differences(own_proposals=True),
        }
        for number in range(args.rounds + 1):  # the first warms up
            for kind in kinds:
                start, own = time.perf_counter(), time.process_time()
                loss = images.losses(number, kind)['loss']
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if number:
                    seconds[kind].append(time.perf_counter() - start)
                    cpu[kind].append(time.process_time() - own)
            print(f'round {number}/{args.rounds}', file=sys.stderr)
    result = dict(threads=args.threads, torch=torch.__version__)
    result['seconds'] = {k: statistics.median(v) for k, v in seconds.items()}
    result['bytes an image'] = size / NUM_IMAGES
    print(f'base size, {BATCH} images of {SIZE} x {SIZE}, {args.threads} threads')
    for kind, value in result['seconds'].items():
        print(f'  a step, {kind:<8} {value:8.3f} s')
    for a, b in (('cache', 'memory'), ('encoder', 'cache')):
        for clock, times in (('seconds', seconds), ('CPU seconds', cpu)):
            ratios = [x / y for x, y in zip(times[a], times[b], strict=True)]
            spread = [min(ratios), max(ratios)]
            row = dict(ratio=statistics.median(ratios), spread=spread)
            result[f'{a} / {b}, {clock}'] = row
            print(f'  {a} / {b}, {clock}: {row["ratio"]:.3f} '
                  f'({spread[0]:.3f} to {spread[1]:.3f})')  # fmt: skip
    for title, kinds_found in differences.items():
        for kind, worst in kinds_found.items():
            text = ', '.join(f'{name} {value:.1e}' for name, value in worst.items())
            print(f'  {kind} against encoder, {title}: {text}')
    result['largest relative differences'] = differences
    print(f'  {result["bytes an image"] / 1e6:.2f} MB an image and view')
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
