"""OVShapes with embeddings that know everything, nothing, and of a random encoder."""

import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.datasets.ovshapes.captions import LANGUAGES, describe, region_phrases
from fgclip2_det.datasets.ovshapes.classes import (
    COLORS,
    OVSHAPES_CLASSES,
    SHAPES,
    classes_of,
)
from fgclip2_det.datasets.ovshapes.render import TEXTURES, ShapeObject, render_image
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import ImageItem, evaluate_ovshapes
from fgclip2_det.zeroshot.ovshapes import _CAPTIONS, load_ovshapes, score_ovshapes

SEED, DIMS = 5, 1024
ATTRIBUTES = [*COLORS, *SHAPES, *TEXTURES]


def attributes(*words: str) -> torch.Tensor:
    return torch.tensor([float(a in words) for a in ATTRIBUTES])


def direction(text: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
    return F.normalize(torch.randn(DIMS, generator=generator), dim=0)


class Oracle:
    """Sees an object as its attributes, an image as the sum of its captions."""

    def __init__(self, objects: list[list[ShapeObject]]) -> None:
        self.objects, self.num_truncated = objects, Counter()
        self.asked = []
        self.known = {}
        for c in OVSHAPES_CLASSES:
            for texture in TEXTURES:
                for language in LANGUAGES:
                    actual = ShapeObject(c, texture, (0, 0, 1, 1), 0)
                    name, phrase = region_phrases(actual, language)
                    self.known[name] = attributes(c.color, c.shape)
                    self.known[phrase] = attributes(c.color, c.shape, texture)

    def texts(self, texts: list[str], mode: str) -> torch.Tensor:
        self.asked.append(set(texts))
        embed = self.known.__getitem__ if mode == 'box' else direction
        return F.normalize(torch.stack([embed(text) for text in texts]), dim=-1)

    def images(self, items) -> tuple[torch.Tensor, torch.Tensor]:
        whole = []
        for i, group in enumerate(self.objects):
            captions = [
                text
                for language in LANGUAGES
                for text in describe(
                    group, language, np.random.default_rng([SEED, _CAPTIONS, i])
                ).values()
            ]
            whole.append(sum(map(direction, captions)))
        regions = [
            attributes(o.shape_class.color, o.shape_class.shape, o.texture)
            for group in self.objects
            for o in group
        ]
        return tuple(F.normalize(torch.stack(x), dim=-1) for x in (whole, regions))


class Noise(Oracle):
    """A direction of its own for every text, picture and box."""

    def texts(self, texts: list[str], mode: str) -> torch.Tensor:
        return torch.stack([direction(mode + text) for text in texts])

    def images(self, items) -> tuple[torch.Tensor, torch.Tensor]:
        whole = [direction(f'image {i}') for i in range(len(self.objects))]
        num_boxes = sum(map(len, self.objects))
        regions = [direction(f'box {i}') for i in range(num_boxes)]
        return torch.stack(whole), torch.stack(regions)


@pytest.fixture(scope='module')
def objects() -> list[list[ShapeObject]]:
    classes = classes_of('base', 'novel')
    rngs = [np.random.default_rng([9, i]) for i in range(300)]
    return [render_image(rng, classes, 64)[1] for rng in rngs]


@pytest.fixture(scope='module')
def items(objects) -> list[ImageItem]:
    return [ImageItem(Path('unread.jpg'))] * len(objects)


def test_an_oracle_gets_everything_right_and_the_control_wrong(items, objects):
    report = score_ovshapes(Oracle(objects), items, objects, SEED)
    control = {f'box_top1_permuted/{language}': 0.0 for language in LANGUAGES}
    control['box_top1_permuted'] = 0.0
    assert len(report.metrics) == 19
    assert report.metrics == dict.fromkeys(report.metrics, 100.0) | control
    num_boxes = sum(map(len, objects))
    counts, shares = report.counts, report.denominators
    assert counts['boxes/base'] + counts['boxes/novel'] == num_boxes
    assert shares['box_top1_permuted'] == 2 * num_boxes
    for language in LANGUAGES:
        assert shares[f'box_top1_permuted/{language}'] == num_boxes
        assert shares[f'hard11/{language}'] == counts['boxes/novel']
        assert shares[f'hard11_base/{language}'] == counts['boxes/base']
        assert shares[f'retrieval/long/{language}/t2i'] == 200


def test_hard_texts_are_the_textured_phrases(items, objects):
    """Per language: the 80 names, then all true phrases among negatives."""
    oracle = Oracle(objects)
    score_ovshapes(oracle, items, objects, SEED)
    asked = iter(oracle.asked)
    for language in LANGUAGES:
        names, phrases, short, long = (next(asked) for _ in range(4))
        objects_ = [o for group in objects for o in group]
        assert len(names) == 80 and not names & phrases
        assert {region_phrases(o, language)[1] for o in objects_} < phrases
        assert len(short) <= 200 and len(long) == 200


def test_noise_is_at_chance(items, objects):
    """1/80, 1/11 and 1/200, each within four standard deviations of some 800 base or
    300 novel boxes and 200 captions."""
    metrics = score_ovshapes(Noise(objects), items, objects, SEED).metrics
    for name, percent in metrics.items():
        if name.startswith('hard11'):
            assert percent == pytest.approx(100 / 11, abs=7)
        elif name.startswith('box'):
            assert percent == pytest.approx(1.25, abs=2.6)
        else:
            assert percent <= 2.5


def test_an_oracle_without_shapes_is_caught(items, objects):
    """Colour and texture alone: all ten shapes of a colour tie."""
    oracle = Oracle(objects)
    blind = torch.tensor([float(a not in SHAPES) for a in ATTRIBUTES])
    oracle.known = {text: v * blind for text, v in oracle.known.items()}
    metrics = score_ovshapes(oracle, items, objects, SEED).metrics
    assert metrics['box_top1/base/en'] == metrics['hard11/zh'] == 0


def test_a_random_encoder_end_to_end(tmp_path):
    """The same numbers twice, on 576 patches of a 256-pixel image."""
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    seen = []
    run = encoder.encode_tokens
    encoder.encode_tokens = lambda batch: seen.append(batch.patch_mask) or run(batch)
    actual = evaluate_ovshapes(encoder, tmp_path, 3, num_images=12, num_retrieval=10)
    assert all(mask.all() and mask.shape[1] == 576 for mask in seen)
    assert sum(map(len, seen)) == 12
    assert actual['denominators']['retrieval/short/zh/i2t'] == 10
    assert set(actual['metrics']) == set(actual['denominators'])
    assert all(0 <= percent <= 100 for percent in actual['metrics'].values())
    assert not any(v for k, v in actual['counts'].items() if k.startswith('truncated'))
    again = evaluate_ovshapes(encoder, tmp_path, 3, 12, 10, progress=False)
    assert again == actual


def test_objects_of_a_file_are_those_that_were_drawn(tmp_path):
    """The val split of seed 3 is stream [3, 1, image]."""
    items, objects = load_ovshapes(tmp_path, 3, 2)
    assert [item.path.name for item in items] == ['000000.jpg', '000001.jpg']
    for i, actual in enumerate(objects):
        rng = np.random.default_rng([3, 1, i])
        _, drawn = render_image(rng, classes_of('base', 'novel'), 256)
        for one, other in zip(actual, drawn, strict=True):
            assert (one.shape_class, one.texture) == (other.shape_class, other.texture)
            assert one.bbox == pytest.approx(other.bbox, abs=0.011)
        assert items[i].bboxes == [o.bbox for o in actual]


def test_a_group_without_boxes_has_no_rate(tmp_path):
    """Base objects alone: the novel metrics are left out, their share is of 0."""
    rng = np.random.default_rng(0)
    objects = [render_image(rng, classes_of('base'), 64)[1] for _ in range(3)]
    items = [ImageItem(Path('unread.jpg'))] * 3
    report = score_ovshapes(Oracle(objects), items, objects, SEED)
    assert 'hard11/en' not in report.metrics and report.denominators['hard11/en'] == 0
    assert report.metrics['hard11_base/en'] == 100
    assert report.counts['boxes/novel'] == 0
