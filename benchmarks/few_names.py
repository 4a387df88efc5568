"""Ways to score few names, compared on the same regions of trained detectors.

A detector looks at each image once; every way then scores the same boxes for the names
of the protocol `few-names`, k = 2, absent names drawn at random and hard:

- today: softmax over the names asked for and the background, fused as configured
- a: silent competitors in both softmaxes: the names of the training; those and what
  their words combine to (the default, here with and without the config's calibration);
  those and the names of COCO and Objects365
- b: a sigmoid with the encoder's released scale and bias as similarity; in the box head
  as well if its checkpoint was trained so (configs/ovshapes/ovd_fgclip2_siglip.py)
- c: further background texts; 16 background embeddings learned from unlabelled images
- d: names calibrated by the mean and spread of their logits on background regions of
  unlabelled images
- e: objectness times that sigmoid, its geometric mean
- f: fusion on logits, without and with competitors

Precision and recall are at score 0.3; P@90 is the precision at the threshold where 90 %
are recalled, which is free of the scale of the scores. Several checkpoints (seeds) give
mean and standard deviation.

Example:
    python -m benchmarks.few_names fgclip2_det/assets/ovd_ovshapes/detector.pth
    python -m benchmarks.few_names work_dirs/*/epoch_2.pth --out few_names.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from fgclip2_det import OpenVocabInferencer, Vocabulary
from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.evaluation.few_names import draw_asks, score_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.models.fusion import OpenVocabLogitFusion
from fgclip2_det.models.open_softmax import open_softmax
from fgclip2_det.models.roi_heads.class_nms import class_nms
from fgclip2_det.vocabulary.competitors import CompetitorOptions, select_competitors

BACKGROUND_TEXTS = ('nothing', 'texture', 'noise', 'lines', 'clutter', 'empty area')
NMS = dict(type='nms', iou_threshold=0.5)
FIGURES = ('precision', 'recall', 'false_per_100', 'auroc', 'AP50', 'P@90')
Recipe = Callable[['Regions', tuple[str, ...]], Tensor]


@dataclass(frozen=True)
class Regions:
    """Regions of one image: (n, 4) xyxy boxes, (n, D) embeddings of the box head and of
    the dense map, (n,) objectness."""

    boxes: Tensor
    head: Tensor
    dense: Tensor
    objectness: Tensor


class Recorder:
    """Keeps the regions that a detector classifies."""

    def __init__(self, inferencer: OpenVocabInferencer) -> None:
        self.inferencer, self.regions = inferencer, []
        self.head = inferencer.model.roi_head
        self._predict, self.head.predict_bbox = self.head.predict_bbox, self._record

    def __call__(self, files: Sequence[Path]) -> list[Regions]:
        self.regions = []
        for file in tqdm(files, unit='image', disable=None):
            self.inferencer(str(file))
        return self.regions

    def _record(self, x, metas, proposals, *args, **kwargs):
        found = x.regions or self.head.encode_regions(x, metas[0], proposals[0])
        scale = found.bboxes.new_tensor(metas[0]['scale_factor']).repeat(2)
        self.regions.append(
            Regions(found.bboxes / scale, found.det_embeds, found.dense_embeds,
                    proposals[0].scores)
        )  # fmt: skip
        return self._predict(x, metas, proposals, *args, **kwargs)


class Scorer:
    """The ways, for one detector."""

    def __init__(self, inferencer: OpenVocabInferencer, unlabelled: list[Regions]):
        model = inferencer.model
        self.classifier, self.fusion = model.classifier, model.roi_head.fusion
        self.calibration = model.roi_head.calibration
        self.loss_cls = model.roi_head.bbox_head.loss_cls
        self.trained = set(model.trained_classes)
        self.tower = model._text_source()
        self.scale = float(self.classifier.logit_scale.exp())
        count = len(self.classifier.is_base)
        self.background = self.classifier.text_embeds[count:]
        if self.classifier.background is None:
            self.background = F.normalize(self.classifier.background_embed, dim=-1)
        self._embeds: dict[str, Tensor] = {}
        trained = list(model.trained_classes)
        lists = ('coco', 'objects365')
        self.pools = {
            'none': [],
            'trained': CompetitorOptions(combine=False).candidates(trained),
            'combined': CompetitorOptions().candidates(trained),
            'lists': CompetitorOptions(lists=lists).candidates(trained),
        }
        names = list(dict.fromkeys(self.pools['combined']))
        self.empty = _background(unlabelled, self.embed(names), self.background)

    def embed(self, names: Sequence[str]) -> Tensor:
        missing = [name for name in names if name not in self._embeds]
        if missing:
            embeds = Vocabulary(missing, check=False).embed(self.tower)
            self._embeds |= dict(zip(missing, embeds, strict=True))
        if not names:
            return self.background[:0]
        return torch.stack([self._embeds[name] for name in names])

    def competing(self, names: Sequence[str], pool: str) -> Tensor:
        """(S, D) of the competitors of names."""
        texts = self.pools[pool]
        return select_competitors(
            [[name] for name in names], self.embed(names), texts, self.embed(texts),
            self.pools['trained'], self.pools['combined'],
        ).embeds  # fmt: skip

    def head(self, regions, names, pool='none', background=None) -> Tensor:
        """Scores of the box head: a softmax, or sigmoids where it was trained so."""
        if self.loss_cls.use_sigmoid:
            logits = regions.head @ self.embed(names).T * self.scale
            return (logits + self.classifier.logit_bias).sigmoid()
        background = self.background if background is None else background
        others = torch.cat([self.competing(names, pool), background])
        cosines = regions.head @ torch.cat([self.embed(names), others]).T
        own, rest = (cosines * self.scale).split([len(names), len(others)], 1)
        return open_softmax(own, rest)

    def fused(self, regions, names, pool='none', background=None) -> Tensor:
        """The config's fusion, with competitors in both softmaxes."""
        own = regions.dense @ self.embed(names).T
        others = regions.dense @ self.competing(names, pool).T
        head = self.head(regions, names, pool, background)
        return self.fusion(head, own, self.is_base(names), competitors=others)

    def is_base(self, names) -> Tensor:
        return torch.tensor([name in self.trained for name in names])

    def sigmoid(self, regions, names) -> Tensor:
        cosines = regions.dense @ self.embed(names).T
        return (
            cosines * self.tower.logit_scale.exp() + self.tower.logit_bias
        ).sigmoid()

    def by_name(self, regions, names) -> Tensor:
        """d: logits in units of their spread on empty regions of other images."""
        score = torch.ones(len(regions.boxes), len(names))
        for of_image, of_empty in (
            (regions.head, self.empty[0]), (regions.dense, self.empty[1]),
        ):  # fmt: skip
            texts = self.embed(names).T
            empty = of_empty @ texts
            z = (of_image @ texts - empty.mean(0)) / empty.std(0).clamp(min=1e-3)
            score = score * (z - 3).sigmoid()  # three standard deviations: one half
        return score.sqrt()

    def recipes(self) -> dict[str, Recipe]:
        weight = dict(alpha=self.fusion.alpha, beta=self.fusion.beta)
        tower = self.tower
        logits = OpenVocabLogitFusion(
            **weight, temperature=float((-tower.logit_scale).exp()),
            bias=float(tower.logit_bias),
        )  # fmt: skip

        def with_sigmoid(regions, names):
            weights = self.fusion.weights(len(names), self.is_base(names))
            head, own = self.head(regions, names), self.sigmoid(regions, names)
            return head ** (1 - weights) * own**weights

        def on_logits(pool):
            return lambda r, n: logits(
                self.head(r, n, pool), r.dense @ self.embed(n).T, self.is_base(n)
            )

        texts = torch.cat([self.background, self.embed(BACKGROUND_TEXTS)])
        learned = torch.cat([self.background, _centres(self.empty[0])])
        return {
            'today': self.fused,
            'a trained names': lambda r, n: self.fused(r, n, 'trained'),
            'a trained, combined': lambda r, n: self.fused(r, n, 'combined'),
            'a calibrated (default)': lambda r, n: self.calibration(
                self.fused(r, n, 'combined'), self.is_base(n)
            ),
            'a with COCO, Objects365': lambda r, n: self.fused(r, n, 'lists'),
            'b sigmoid similarity': with_sigmoid,
            'c background texts': lambda r, n: self.fused(r, n, 'none', texts),
            'c background learned': lambda r, n: self.fused(r, n, 'none', learned),
            'd by name': self.by_name,
            'e objectness x sigmoid': lambda r, n: (
                r.objectness[:, None] * self.sigmoid(r, n)
            ).sqrt(),
            'f on logits': on_logits('none'),
            'f on logits, with a': on_logits('combined'),
        }


def _background(
    images: list[Regions], texts: Tensor, background: Tensor
) -> tuple[Tensor, Tensor]:
    """Embeddings of regions that look most like background, by the box head."""
    head = torch.cat([image.head for image in images])
    dense = torch.cat([image.dense for image in images])
    margin = (head @ background.T).amax(1) - (head @ texts.T).amax(1)
    chosen = margin.topk(min(2000, len(margin))).indices
    return head[chosen], dense[chosen]


def _centres(embeds: Tensor, count: int = 16, rounds: int = 20) -> Tensor:
    """Spherical k-means, from evenly spaced rows."""
    centres = embeds[:: max(len(embeds) // count, 1)][:count]
    for _ in range(rounds):
        nearest = (embeds @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, embeds)
        centres = torch.where(sums.any(1, True), F.normalize(sums, dim=1), centres)
    return centres


def answer(recipe: Recipe, regions: Regions, names: tuple[str, ...]) -> ImageBoxes:
    dets, labels = class_nms(
        regions.boxes, recipe(regions, names), 0.001, NMS, max_per_img=100
    )
    boxes = dets[:, :4].double().numpy()
    boxes[:, 2:] -= boxes[:, :2]
    return ImageBoxes(boxes, labels.numpy(), dets[:, 4].double().numpy())


def at_recall(truths, asks, boxes, recall: float, group: str) -> float:
    """Precision at the highest threshold that recalls this much."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        figures = score_asks(truths, asks, boxes, middle)
        enough = figures[f'k2/{group}/recall'] >= recall
        low, high = (middle, high) if enough else (low, middle)
    return score_asks(truths, asks, boxes, low)[f'k2/{group}/precision']


def compare(checkpoint: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """way -> 'mode/group/figure' -> value."""
    inferencer = OpenVocabInferencer(checkpoint, args.config)
    recorder, truths = Recorder(inferencer), read_truths(args.ann)
    files = [Path(args.images) / truths.file_names[i['id']] for i in truths.images]
    unlabelled = sorted(Path(args.unlabelled).iterdir())[: args.num_unlabelled]
    regions = dict(zip([i['id'] for i in truths.images], recorder(files), strict=True))
    ways = Scorer(inferencer, recorder(unlabelled)).recipes()
    rows: dict[str, dict[str, float]] = {way: {} for way in ways}
    for mode in ('random', 'hard'):
        asks = draw_asks(truths, (2,), args.seed, mode)
        for way, recipe in tqdm(ways.items(), unit='way', disable=None):
            boxes = [answer(recipe, regions[a.image_id], a.names) for a in asks]
            figures = score_asks(truths, asks, boxes)
            for group in ('base', 'novel'):
                for figure in FIGURES[:-1]:
                    value = figures[f'k2/{group}/{figure}']
                    rows[way][f'{mode}/{group}/{figure}'] = value
                rows[way][f'{mode}/{group}/P@90'] = at_recall(
                    truths, asks, boxes, 0.9, group
                )
    return rows


def show(runs: list[dict], mode: str) -> str:
    """A Markdown table of one draw."""
    columns = [f'{g} {f}' for g in ('base', 'novel') for f in FIGURES]
    lines = [f'| {mode} | ' + ' | '.join(columns) + ' |', '|---' * 13 + '|']
    for way in runs[0]:
        cells = []
        for column in columns:
            group, figure = column.split(' ')
            values = [run[way][f'{mode}/{group}/{figure}'] for run in runs]
            digits = 1 if figure == 'false_per_100' else 3
            spread = f' ± {stdev(values):.{digits}f}' if len(values) > 1 else ''
            cells.append(f'{mean(values):.{digits}f}{spread}')
        lines.append(f'| {way} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def draw(runs: list[dict], path: Path) -> None:
    """Precision and recall at 0.3 of every way, base and novel names."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout='constrained')
    for panel, group in zip(figure.subplots(1, 2), ('base', 'novel'), strict=True):
        for n, way in enumerate(runs[0]):
            x, y = (
                mean(run[way][f'random/{group}/{name}'] for run in runs)
                for name in ('recall', 'precision')
            )
            marker = '*' if 'default' in way else 'osD^v<>Phx+'[n % 11]
            panel.scatter(
                x, y, marker=marker, s=140 if marker == '*' else 45, label=way
            )
        panel.set(title=f'{group} names, k = 2, score 0.3', xlabel='recall',
                  ylabel='precision', ylim=(0, 1.02))  # fmt: skip
        panel.grid(alpha=0.3)
    figure.legend(*panel.get_legend_handles_labels(), loc='outside right')
    figure.savefig(path, dpi=110)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    data = 'data/ovshapes/v1_2000train_300val_256px_seed0'
    add('checkpoints', nargs='+', help='of one config, such as three seeds')
    add('--config', default='configs/ovd_fgclip2.py')
    add('--ann', default=f'{data}/val.json', help='with a split of its categories')
    add('--images', default=f'{data}/val')
    add('--unlabelled', default=f'{data}/train', help='images for c and d')
    add('--num-unlabelled', type=int, default=100)
    add('--seed', type=int, default=0, help='of the draw')
    add('--out', type=Path, help='JSON; a picture beside it')
    return parser


@torch.no_grad()
def main(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    runs = [compare(checkpoint, args) for checkpoint in args.checkpoints]
    for mode in ('random', 'hard'):
        print(f'\n{show(runs, mode)}')
    if args.out:
        args.out.write_text(json.dumps(runs, indent=1) + '\n')
        draw(runs, args.out.with_suffix('.png'))


if __name__ == '__main__':
    main(parser().parse_args())
