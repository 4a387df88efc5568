"""Fusion settings on a dump against loops in numpy; what base-only tuning sees."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.evaluation.coco_ap import box_ap
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.rescoring import tuning
from fgclip2_det.rescoring.rules import FUSION_RULES, TUNED_RULES
from fgclip2_det.rescoring.score_dump import (
    DumpHeader,
    ImageScores,
    ScoreDump,
    shard_file,
    write_names,
    write_shard,
)
from fgclip2_det.rescoring.tuning import (
    DETECTOR,
    Setting,
    make_grid,
    tune_fusion,
    untuned,
)
from fgclip2_det.rescoring.tuning_truths import tuning_truths

NAMES = ['cat', 'dog', 'cup', 'emu', 'yak']
IDS = [4, 2, 9, 7, 1]
NOVEL = ['emu', 'yak']
BASE = np.array([True, True, True, False, False])
SIZE = 100  # of the square images
EMBEDS = F.normalize(
    torch.randn(5, 6, generator=torch.Generator().manual_seed(0)), dim=-1
)
TEMPERATURE = 0.05


def make_images(rng, count=6) -> list[ImageScores]:
    """Each has up to 14 rows on 8 boxes; the first names of boxes are near each other
    in scores, so that settings differ."""
    images = []
    for number in range(count):
        corners = rng.uniform(0, 50, (8, 2)).round(1)
        xywh = np.hstack([corners, rng.uniform(10, 45, (8, 2)).round(1)])
        xywh[7] = xywh[6] + [0, 0, 0, 2]  # IoU over 0.7: for NMS
        box_of = np.concatenate([np.arange(8), rng.integers(0, 8, rng.integers(1, 7))])
        xyxy = np.hstack([corners, xywh[:, :2] + xywh[:, 2:]])
        xyxy[7] = [*xyxy[6, :2], xyxy[6, 2], xyxy[6, 3] + 2]
        images.append(
            ImageScores(
                100 + number,
                torch.tensor(rng.uniform(-0.1, 0.2, (8, 5))).half().float(),
                torch.tensor(xyxy, dtype=torch.float32),
                torch.tensor(box_of),
                torch.tensor(rng.uniform(0.05, 0.9, len(box_of)), dtype=torch.float32),
                torch.tensor(rng.integers(0, 5, len(box_of))),
                torch.tensor(xywh[box_of]),
            )
        )
    return images


@pytest.fixture(scope='module')
def images() -> list[ImageScores]:
    return make_images(np.random.default_rng(3))


@pytest.fixture
def dump(tmp_path, images) -> ScoreDump:
    header = DumpHeader(
        1, 'f00d', NAMES, IDS, NOVEL, 'en', ['{}'], 'auto', '', '', len(images), 4
    )
    (tmp_path / 'dump').mkdir()
    (tmp_path / 'dump' / 'dump.json').write_text(json.dumps(asdict(header)))
    write_names(tmp_path / 'dump', EMBEDS)
    for number in range(header.num_shards):
        part = images[4 * number : 4 * number + 4]
        write_shard(shard_file(tmp_path / 'dump', number), part)
    return ScoreDump(tmp_path / 'dump')


@pytest.fixture
def coco(images) -> dict:
    """Boxes near the detected ones, one crowd, an image without results."""
    rng, annotations = np.random.default_rng(4), []
    for image in images:
        for k in range(5):
            bbox = (image.bboxes[k] + torch.tensor(rng.uniform(0, 4, 4))).tolist()
            label = int(image.labels[k]) if k < 4 else int(rng.integers(0, 5))
            annotations.append(dict(image_id=image.image_id, bbox=bbox,
                                    category_id=IDS[label], iscrowd=0))  # fmt: skip
    annotations[3]['iscrowd'] = 1
    annotations.append(dict(image_id=5, bbox=[1, 2, 30, 40], category_id=4))
    ids = [5, *(image.image_id for image in images)]
    return dict(
        images=[dict(id=i, file_name=f'{i}', width=SIZE, height=SIZE) for i in ids],
        categories=[dict(id=i, name=n) for i, n in zip(IDS, NAMES, strict=True)],
        annotations=[dict(id=i, **a) for i, a in enumerate(annotations)],
    )


@pytest.fixture
def write(tmp_path, coco):
    def write(**edits):
        path = tmp_path / 'ann.json'
        path.write_text(json.dumps(coco | edits))
        return path

    return write


def softmax(x):
    x = np.exp(x - x.max())
    return x / x.sum()


def lami(d, w, cos, a):
    return d ** (1 - a) * w**a * np.where(BASE, 1 / 5, 1)


def fvlm(d, w, cos, a):
    fused = d ** (1 - a) * w**a
    return fused / (fused.sum() + max(0, 1 - d.sum()))


def fvlm_of_one_score(d, w, cos, a):
    """Each name beside the background alone."""
    fused = d ** (1 - a) * w**a
    return fused / (fused + 1 - d)


def logit(d, w, cos, a):
    d = d.clip(1e-6, 1 - 1e-6)
    z = (1 - a) * np.log(d / (1 - d)) + a * cos / TEMPERATURE
    return 1 / (1 + np.exp(-z))


def geometric(d, w, cos, a):
    return d ** (1 - a) * w**a


def confidence(d, w, cos, a):
    return geometric(d, w, cos, a * (1 - d))


def arithmetic(d, w, cos, a):
    return (1 - a) * d + a * w


LOOPS = dict(geometric=geometric, arithmetic=arithmetic, logit=logit, fvlm=fvlm,
             vild=geometric, fvit=geometric, lami=lami,
             confidence=confidence, novelty=geometric)  # fmt: skip


def novelty_weight(setting, c):
    units = [e / np.linalg.norm(e) for e in EMBEDS.double().numpy()]
    far = [min(1 - u @ units[k] for k in range(5) if BASE[k]) * (1 - BASE[i])
           for i, u in enumerate(units)]  # fmt: skip
    return setting.alpha + (setting.beta - setting.alpha) * far[c] / max(far)


def iou(one, two):
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    shared = (high - low).clip(0).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (one, two)]
    return shared / (sum(areas) - shared)


def expected_rows(setting, image, limit):
    """(row of the box, label, score), by loops."""
    a = np.where(BASE | (setting.beta is None), setting.alpha, setting.beta or 0.0)
    if setting.rule == 'novelty':
        a = np.array([novelty_weight(setting, c) for c in range(5)])
    cosines, det = image.cosines.double().numpy(), image.scores.double().numpy()
    box_of, labels = image.box_of.numpy(), image.labels.numpy()

    def fuse(d, box):
        cos = cosines[box]
        w = softmax(cos / TEMPERATURE)
        rule = LOOPS[setting.rule]
        if rule is fvlm and np.ndim(d) == 0:
            rule = fvlm_of_one_score
        return rule(np.broadcast_to(d, 5).astype(float), w, cos, a)

    if setting.mode == 'keep':
        return [(i, labels[i], fuse(det[i], box_of[i])[labels[i]])
                for i in range(len(det))]  # fmt: skip
    rows = []
    for box in range(len(cosines)):
        own = [i for i in range(len(det)) if box_of[i] == box]
        d = max(det[i] for i in own)
        if setting.mode == 'joint':
            d = [max([det[i] for i in own if labels[i] == c], default=0.0)
                 for c in range(5)]  # fmt: skip
        fused = fuse(d, box)
        rows.append((own[0], int(fused.argmax()), fused.max(), box))
    kept, corners = [], image.boxes.numpy()
    for row in sorted(rows, key=lambda row: -row[2]):
        rivals = [k for k in kept if k[1] == row[1]]
        if setting.nms is None or all(
            iou(corners[k[3]], corners[row[3]]) <= setting.nms for k in rivals
        ):
            kept.append(row)
    return [row[:3] for row in kept[:limit]]


def expected_values(setting, images, coco, groups, limit, reference_ap):
    truths, detections = [], []
    by_id = {image.image_id: image for image in images}
    for entry in coco['images']:
        own = [a for a in coco['annotations'] if a['image_id'] == entry['id']]
        own = [a for a in own if IDS.index(a['category_id']) in groups['all']]
        truths.append(
            ImageBoxes(
                np.array([a['bbox'] for a in own]).reshape(-1, 4),
                np.array([IDS.index(a['category_id']) for a in own], int),
                crowd=np.array([a.get('iscrowd', 0) for a in own], bool),
            )
        )
        image = by_id.get(entry['id'])
        rows = expected_rows(setting, image, limit) if image else []
        boxes = [image.bboxes[i].numpy() for i, _, _ in rows]
        detections.append(
            ImageBoxes(
                np.array(boxes).reshape(-1, 4),
                np.array([label for _, label, _ in rows], int),
                np.array([score for _, _, score in rows], float),
            )
        )
    aps = reference_ap(truths, detections, 5)
    return {
        f'{name}_{kind}': np.nanmean(aps[members, :last])
        for name, members in groups.items()
        for kind, last in (('ap', 10), ('ap50', 1))
    }


@pytest.mark.parametrize('rule', FUSION_RULES)
def test_settings_against_loops(dump, images, coco, write, reference_ap, rule):
    betas = [None] if rule in ('geometric', 'arithmetic', 'logit') else [0.6]
    settings = make_grid(
        [rule], [0.3], betas, [TEMPERATURE], ['keep', 'box', 'joint'], [None, 0.5]
    )
    settings = [s for s in settings if s.alpha == 0.3 and s.temperature == TEMPERATURE]
    assert len(settings) == 5  # keep has no NMS
    for novel, groups in (
        ('drop', dict(base=[0, 1, 2], all=[0, 1, 2])),
        ('use', dict(base=[0, 1, 2], novel=[3, 4], all=[0, 1, 2, 3, 4])),
    ):
        truths = tuning_truths(write(), dump, novel)
        for actual in tune_fusion(dump, truths, settings, 6, progress=False):
            expected = expected_values(
                actual.setting, images, coco, groups, 6, reference_ap
            )
            if novel == 'drop':
                assert set(actual.values) == {'base_ap', 'base_ap50'}
            else:
                assert set(actual.values) == set(expected)
            for name, value in actual.values.items():
                assert value == pytest.approx(expected[name], abs=1e-9), actual.setting
                assert value < 1
            if rule != 'lami':  # it may give every box a novel name
                assert actual.values['base_ap50'] > 0


@pytest.mark.parametrize('temperature', [0.001, 0.01, 1.0])
@pytest.mark.parametrize('rule', FUSION_RULES)
def test_keep_needs_two_names_only(images, rule, temperature):
    setting = Setting(rule, 0.3, 0.7, temperature, 'keep')
    rescorer = tuning.build_rescorer(setting, torch.tensor(BASE), 300, EMBEDS)
    for image in images:
        given = image.cosines, image.boxes, image.box_of, image.scores, image.labels
        whole, others = rescorer.fuse(*given), {}
        for _ in range(2):  # the second time from what the first left in others
            source, labels, scores = tuning._fuse(setting, rescorer, image, others)
            torch.testing.assert_close(scores, whole.scores, rtol=1e-4, atol=1e-7)
            assert torch.equal(source, whole.source)
            assert torch.equal(labels, whole.labels)


def test_novel_truth_has_no_say(dump, coco, write):
    """Other novel boxes, or none: the same figures."""
    settings = make_grid(['geometric', 'fvit'], [0.2, 0.6], modes=['keep', 'box'])
    base = [a for a in coco['annotations'] if a['category_id'] not in (7, 1)]
    novel = [a for a in coco['annotations'] if a['category_id'] in (7, 1)]
    assert novel
    moved = [a | dict(bbox=[50, 50, 9, 9], category_id=7) for a in novel[:4]]
    known = [c for c in coco['categories'] if c['name'] not in NOVEL]
    results = [
        [row.values for row in tune_fusion(dump, truths, settings, progress=False)]
        for truths in (
            tuning_truths(write(), dump, 'drop'),
            tuning_truths(write(annotations=base + moved), dump, 'drop'),
            tuning_truths(write(annotations=base), dump),
            tuning_truths(write(annotations=base, categories=known), dump),
        )
    ]
    assert results[0] == results[1] == results[2] == results[3]
    with pytest.raises(ValueError, match=rf'has {len(novel)} annotations of novel '):
        tuning_truths(write(), dump)
    values = tune_fusion(
        dump, tuning_truths(write(), dump, 'use'), settings, 300, False
    )
    assert [row.values for row in values] != results[0]
    # base classes are judged alike either way
    assert [row.values['base_ap'] for row in values] == [
        row['base_ap'] for row in results[0]
    ]


def test_groups_of_settings_change_nothing(dump, write, monkeypatch):
    truths = tuning_truths(write(), dump, 'drop')
    settings = make_grid(['geometric'], [0.2, 0.6], None, [0.01, 0.05], ['keep', 'box'])
    whole = tune_fusion(dump, truths, settings, progress=False)
    monkeypatch.setattr(tuning, '_GROUP', 3)
    parts = tune_fusion(dump, truths, settings, progress=False)
    assert [row.values for row in parts] == [row.values for row in whole]
    assert [row.setting for row in parts] == settings


def test_box_ap_is_that_of_pycocotools(reference_ap):
    """Crowds, ties, classes without truth or detections, an image without boxes."""
    rng = np.random.default_rng(0)
    truths, detections = [], []
    for size in (12, 12, 0, 30, 12):
        boxes = np.hstack([rng.uniform(0, 9, (size, 2)), rng.uniform(9, 12, (size, 2))])
        labels = rng.choice([0, 1, 3, 4, 6], size)
        crowd = rng.random(size) < 0.1
        truths.append(ImageBoxes(boxes + 0.4, labels, crowd=crowd))
        labels = np.where(labels == 4, 2, labels)  # 4 has truth and no detection
        detections.append(ImageBoxes(boxes, labels, rng.random(size).round(1)))
    expected = reference_ap(truths, detections, 8)
    assert 0 < np.nanmean(expected) < 1 and np.isnan(expected).any()
    np.testing.assert_allclose(box_ap(truths, detections, 8), expected, rtol=1e-12)
    none = [ImageBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 5
    assert set(np.nan_to_num(box_ap(truths, none, 8)).flat) == {0.0}
    assert np.isnan(box_ap([], [], 2)).all()


def test_grid_has_each_rules_defaults_and_nothing_twice():
    grid = make_grid(['geometric', 'vild'], [0.5, 0.2], modes=['keep', 'box'])
    assert len(grid) == len(set(grid)) == 2 * 2 + 2 * 3  # geometric's default is 0.5
    assert untuned('vild', 'box') == Setting('vild', 1 / 3, 2 / 3, 0.01, 'box')
    assert untuned('vild') in grid and untuned('geometric') in grid
    for rule, type_name in TUNED_RULES.items():
        assert untuned(rule).fusion()['type'] == type_name


def test_bad_input(dump, coco, write):
    for arguments, message in (
        ((['mean'], [0.5]), "fusion must be one of .* got 'mean'"),
        ((['geometric'], [2.0]), r'alpha must lie in \[0, 1\], got 2.0'),
        ((['fvit'], [0.5], [-1.0]), r'beta must lie in \[0, 1\], got -1.0'),
        ((['novelty'], [0.5], [None]), 'beta must be the weight on the farthest name'),
        ((['geometric'], [0.5], None, [0.0]), 'temperature must be positive'),
        ((['geometric'], [0.5], None, None, ['all']), "mode must be one of .* 'all'"),
        ((['geometric'], [0.5], None, None, ['box'], [1.5]), 'nms_iou must lie in'),
    ):
        with pytest.raises(ValueError, match=message):
            make_grid(*arguments)
    truths = tuning_truths(write(), dump, 'drop')
    with pytest.raises(ValueError, match='max_per_image must be at least 1, got 0'):
        tune_fusion(dump, truths, [DETECTOR], 0)
    write_names(dump.folder, EMBEDS[1:])
    with pytest.raises(ValueError, match='is of 4 names, expected 5'):
        tune_fusion(dump, truths, make_grid(['novelty'], [0.5]))
    (dump.folder / 'names.safetensors').unlink()
    with pytest.raises(ValueError, match='the text embeddings of the names, cannot be'):
        tune_fusion(dump, truths, make_grid(['novelty'], [0.5]))
    categories, wrong = coco['categories'], dict(id=4, name='cow')
    novel = [c | dict(split='base') for c in categories]
    for edit, message in (
        (dict(images=coco['images'][:-1], annotations=[]), 'image 105 of the dump .* '),
        (dict(categories=[wrong, *categories[1:]]), "category 4 is 'cow', .* 'cat'"),
        (dict(categories=categories[1:], annotations=[]), "category 4 is None, in .*"),
        (dict(categories=novel), r"category 7 \('emu'\) has the split 'base', .*novel"),
        (dict(annotations=[dict(id=0, image_id=77, bbox=[0, 0, 1, 1], category_id=4)]),
         'annotation 0: image 77 is not in the file'),
        (dict(annotations=[]), 'has no annotation of a base class'),
        (dict(annotations=None), "must hold a list of 'annotations'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            tuning_truths(write(**edit), dump, 'drop')
    with pytest.raises(ValueError, match='novel must be one of'):
        tuning_truths(write(), dump, 'keep')
    (dump.folder / 'rows.json').write_text('[]')
    for name, message in (
        ('rows.json', 'must be a JSON'),
        ('none.json', 'cannot be read'),
    ):
        with pytest.raises(ValueError, match=message):
            tuning_truths(dump.folder / name, dump)
