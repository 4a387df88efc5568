"""Names ranked by a cross-encoder: errors and time against the dual encoder alone.

- hard11: boxes of OVShapes' objects, the true phrase among ten that differ in one
  attribute, novel and base boxes, English and Chinese; and what the errors are of.
- names: the best of all 80 names.
- time: an image with 100 boxes and 80 names re-scored, with and without the ranker, in
  turn in one process; the ratio is the median over rounds. The same time may be spent
  on finer patches instead (--finer): a row of its own in each table.

The weight of the log-odds is chosen on base boxes of other images (--tune-seed), for
each number of names k, and then used on novel boxes. One ranker or several seeds of it:

    python tools/train.py configs/pretrain/ranker_tiny_ovshapes.py --work-dir R0
    python -m benchmarks.ranking --rankers R0/ranker R1/ranker R2/ranker --out R.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fgclip2_det import load_encoder
from fgclip2_det.datasets.ovshapes.captions import (
    LANGUAGES,
    hard_negatives,
    region_phrases,
)
from fgclip2_det.datasets.ovshapes.classes import OVSHAPES_CLASSES
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.ranker import Ranker, Ranking, ranked_cosines
from fgclip2_det.ranker.match import match_log_odds
from fgclip2_det.ranker.texts import encode_tokens
from fgclip2_det.zeroshot.ovshapes import MAX_NUM_PATCHES, load_ovshapes

KS = 5, 10
WEIGHTS = 0.25, 0.5, 1.0, 2.0, 4.0
TEMPERATURE = 0.05  # of the cosines, beside which the log-odds are weighed
PARTS = 'hard11', 'names'
_NEGATIVES = 2  # stream of random numbers, as fgclip2_det.zeroshot.ovshapes has it


@dataclass(frozen=True)
class Questions:
    """K boxes with the texts that each is asked for.

    Attributes:
        texts: T distinct ones.
        asked: (K, n) int64 rows of ``texts``.
        right: (K,) int64, which of the n is true.
        novel: (K,) bool.
    """

    texts: list[str]
    asked: Tensor
    right: Tensor
    novel: Tensor


def ask(objects: Sequence[Sequence], part: str, language: str, seed: int) -> Questions:
    """The questions of a part, as ``evaluate_ovshapes`` asks them."""
    boxes = [shape for group in objects for shape in group]
    novel = torch.tensor([shape.shape_class.split == 'novel' for shape in boxes])
    if part == 'names':
        texts = [c.name_zh if language == 'zh' else c.name for c in OVSHAPES_CLASSES]
        rows = {c: row for row, c in enumerate(OVSHAPES_CLASSES)}
        right = torch.tensor([rows[shape.shape_class] for shape in boxes])
        asked = torch.arange(len(texts)).expand(len(boxes), -1)
        return Questions(texts, asked, right, novel)
    groups = []
    for i, group in enumerate(objects):
        for j, shape in enumerate(group):
            rng = np.random.default_rng([seed, _NEGATIVES, i, j])
            negatives = hard_negatives(shape, language, rng, allowed=None)
            groups.append([region_phrases(shape, language)[1], *negatives])
    rows = {}
    asked = torch.tensor([[rows.setdefault(t, len(rows)) for t in g] for g in groups])
    return Questions(list(rows), asked, torch.zeros(len(boxes)).long(), novel)


class Scored:
    """Cosines of questions, and a ranker's log-odds of each box's ten best texts."""

    @torch.no_grad()
    def __init__(
        self,
        encoder: DualEncoder,
        ranker: Ranker,
        boxes: tuple[Tensor, Tensor],
        questions: Questions,
        finer: Tensor,
    ) -> None:
        embeds, regions = boxes
        texts = [
            encoder.encode_text(questions.texts[n : n + 64], 'box', True)
            for n in range(0, len(questions.texts), 64)
        ]
        table = torch.cat(texts).T
        self.cosines = (embeds @ table).gather(1, questions.asked)
        self.finer = (finer @ table).gather(1, questions.asked)
        self.questions = questions
        begun = ranker.begin_texts(*encode_tokens(encoder, questions.texts))
        best = self.cosines.topk(min(max(KS), self.cosines.shape[1]), 1).indices
        rows, odds = questions.asked.gather(1, best), []
        for some, region in zip(rows.split(64), regions.split(64), strict=True):
            odds.append(match_log_odds(ranker.read(region, begun.rows(some))))
        self.ranking = Ranking(best, torch.cat(odds))

    def scores(self, k: int | None, weight: float) -> Tensor:
        """(K, n); k None: cosines of the usual patches, 0: of finer ones."""
        if not k:
            return self.cosines if k is None else self.finer
        return ranked_cosines(self.cosines, self.ranking, k, weight * TEMPERATURE)

    def right(self, k: int | None, weight: float) -> Tensor:
        """(K,) bool: whether the true text is alone first."""
        scores = self.scores(k, weight)
        true = scores.gather(1, self.questions.right[:, None])
        return (scores >= true).sum(1) == 1

    def errors(self, k: int | None, weight: float) -> Counter[str]:
        """What the wrong answers to English phrases differ in."""
        scores, questions = self.scores(k, weight), self.questions
        kinds: Counter[str] = Counter()
        for row in (~self.right(k, weight)).nonzero()[:, 0].tolist():
            right = int(questions.right[row])
            order = scores[row].argsort(descending=True).tolist()
            given = next(place for place in order if place != right)
            texts = [questions.texts[questions.asked[row, n]] for n in (right, given)]
            kinds[difference(*texts)] += 1
        return kinds


def difference(one: str, other: str) -> str:
    """In what attribute phrases like 'striped red circle' differ."""
    words = [text.split() for text in (one, other)]
    if len(words[0]) != len(words[1]):
        return 'count'
    names = zip(('texture', 'colour', 'shape'), *words, strict=True)
    return next(name for name, a, b in names if a != b)


@torch.no_grad()
def read_boxes(
    encoder: DualEncoder, ranker: Ranker, items: Sequence, patches: int
) -> tuple[Tensor, Tensor]:
    """Embeddings (K, D) and tokens (K, N, D) of all boxes."""
    embeds, tokens = [], []
    for item in tqdm(items, unit='image', disable=None):
        batch = encoder.preprocess(str(item.path), patches)
        dense, states = encoder.encode_grids(batch)
        boxes = torch.tensor(item.bboxes)
        embeds += encoder.region_features(batch, [boxes], True, dense)
        width, height = item.size
        tokens.append(ranker.regions(states[0], (height, width), boxes))
    return torch.cat(embeds), torch.cat(tokens)


def accuracy(scored: Sequence[Scored], novel: bool, k: int | None, weight: float):
    """Percent of the boxes of a split, mean over languages."""
    rows = [s.right(k, weight)[s.questions.novel == novel] for s in scored]
    return 100 * float(torch.cat(rows).float().mean())


@dataclass(frozen=True)
class Boxes:
    """All boxes of 300 images, and what they are of; the same for every ranker with one
    grid and context.

    Attributes:
        seed: of the images.
        objects: per image.
        embeds, tokens: (K, D) and (K, N, D), at the usual patches.
        finer: (K, D) at finer ones.
    """

    seed: int
    objects: Sequence[Sequence]
    embeds: Tensor
    tokens: Tensor
    finer: Tensor

    @classmethod
    def of(
        cls, encoder: DualEncoder, ranker: Ranker, root: str, seed: int, finer: int
    ) -> Boxes:
        """Encode them."""
        items, objects = load_ovshapes(root, seed, 300)
        usual = read_boxes(encoder, ranker, items, MAX_NUM_PATCHES)
        more, _ = read_boxes(encoder, ranker, items, finer)
        return cls(seed, objects, *usual, more)

    def scored(self, encoder: DualEncoder, ranker: Ranker, part: str) -> list[Scored]:
        """A part's questions in both languages."""
        return [
            Scored(
                encoder,
                ranker,
                (self.embeds, self.tokens),
                ask(self.objects, part, language, self.seed),
                self.finer,
            )
            for language in LANGUAGES
        ]


def measure(
    encoder: DualEncoder, ranker: Ranker, tuning: Boxes, test: Boxes
) -> dict[str, Any]:
    """Figures of one ranker: weights chosen on base boxes, tested on other images."""
    figures: dict[str, Any] = {}
    for part in PARTS:
        chosen, tested = (b.scored(encoder, ranker, part) for b in (tuning, test))
        rows = {'dual': (None, 0.0), 'finer': (0, 0.0)}
        for k in KS:
            best = max(WEIGHTS, key=lambda w: accuracy(chosen, False, k, w))
            rows[f'k={k}'] = k, best
        figures[part] = {
            name: dict(
                weight=setting[1],
                base=accuracy(tested, False, *setting),
                novel=accuracy(tested, True, *setting),
            )
            for name, setting in rows.items()
        }
        if part == 'hard11':
            english = tested[LANGUAGES.index('en')]
            for name, setting in rows.items():
                figures[part][name]['errors'] = dict(english.errors(*setting))
    return figures


def time_images(
    encoder: DualEncoder, folder: Path, items: Sequence, rounds: int, finer: int
) -> dict[str, list[float]]:
    """Seconds of an image re-scored with k names ranked over those without, by k."""
    import fgclip2_det.registration

    assert fgclip2_det.registration  # makes mmdet importable

    from fgclip2_det import Vocabulary
    from fgclip2_det.models.fusion import (
        OpenVocabGeometricFusion,
        OpenVocabRankingFusion,
    )
    from fgclip2_det.models.name_ranker import NameRanker
    from fgclip2_det.models.prediction_rescorer import PredictionRescorer

    names = [c.name for c in OVSHAPES_CLASSES]
    embeds = Vocabulary(names).embed(encoder)
    systems = {
        name: PredictionRescorer(
            encoder, embeds, OpenVocabGeometricFusion(), max_num_patches=patches
        )
        for name, patches in (('dual', MAX_NUM_PATCHES), ('finer', finer))
    }
    for k in KS:
        systems[f'k={k}'] = PredictionRescorer(
            encoder, embeds, OpenVocabRankingFusion(num_ranked=k),
            max_num_patches=MAX_NUM_PATCHES,
            ranker=NameRanker.load(folder, encoder, encoder, names, k),
        )  # fmt: skip
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 255, (100, 2, 2)), 1)
    boxes = torch.tensor(corners.reshape(-1, 4))
    scores, labels = torch.rand(100), torch.from_numpy(rng.integers(0, 80, 100))
    ratios: dict[str, list[float]] = {name: [] for name in systems if name != 'dual'}
    for _ in range(rounds):
        seconds = {}
        for name, system in systems.items():
            start = time.process_time()
            for item in items:
                system(str(item.path), boxes, scores, labels)
            seconds[name] = time.process_time() - start
        for name, row in ratios.items():
            row.append(seconds[name] / seconds['dual'])
    return ratios


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Lists over rankers in place of single numbers; errors added up."""
    merged: dict[str, Any] = {}
    for name, value in runs[0].items():
        rows = [run[name] for run in runs]
        if name == 'errors':
            merged[name] = dict(sum((Counter(row) for row in rows), Counter()))
        else:
            merged[name] = summarise(rows) if isinstance(value, dict) else rows
    return merged


def table(figures: dict[str, Any]) -> list[str]:
    """Lines of mean ± standard deviation."""
    lines = []
    for part in PARTS:
        for name, row in figures.get(part, {}).items():
            cells = [
                f'{statistics.mean(row[c]):.2f} ± '
                f'{statistics.stdev(row[c]) if len(row[c]) > 1 else 0:.2f}'
                for c in ('base', 'novel')
            ]
            errors = ', '.join(f'{k} {n}' for k, n in row.get('errors', {}).items())
            lines.append(
                f'{part:7} {name:5} base {cells[0]}  novel {cells[1]}  weights '
                f'{row["weight"]}  {errors}'
            )
    for name, ratios in figures['time'].items():
        lines.append(
            f'time    {name:5} {statistics.median(ratios):.2f} '
            f'({min(ratios):.2f} to {max(ratios):.2f}) of the image without a ranker'
        )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--rankers', nargs='+', type=Path, required=True, help='folders, one a seed')
    add('--encoder', default='fgclip2_tiny', help='default: fgclip2_tiny')
    add('--data-root', default='data/ovshapes', help='default: data/ovshapes')
    add('--tune-seed', type=int, default=2000, help='default: 2000')
    add('--seed', type=int, default=1000, help='of the test; default: 1000')
    add('--finer', type=int, default=784, help='patches; default: 784')
    add('--rounds', type=int, default=5, help='of the timing; default: 5')
    add('--only-time', action='store_true', help='no accuracies')
    add('--threads', type=int, default=1, help='default: 1')
    add('--out', type=Path, help='JSON')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    encoder = load_encoder(args.encoder)
    rankers = [Ranker.from_pretrained(folder, encoder) for folder in args.rankers]
    if len({(r.config.region_grid, r.config.region_context) for r in rankers}) > 1:
        parser.error('--rankers must read the same grid of cells')
    figures: dict[str, Any] = {}
    if not args.only_time:
        boxes = [
            Boxes.of(encoder, rankers[0], args.data_root, seed, args.finer)
            for seed in (args.tune_seed, args.seed)
        ]
        figures = summarise([measure(encoder, ranker, *boxes) for ranker in rankers])
    items = load_ovshapes(args.data_root, args.seed, 300)[0][:10]
    figures['time'] = time_images(
        encoder, args.rankers[0], items, args.rounds, args.finer
    )
    print('\n'.join(table(figures)))
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == '__main__':
    main()
