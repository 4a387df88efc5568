"""Few names on a dump against loops in numpy: what is asked, competes and is chosen."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.evaluation.few_names import draw_asks, score_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.models.score_calibration import ScoreCalibration
from fgclip2_det.rescoring.few_names_tuning import (
    FewNames,
    calibration_of,
    competitors_of,
    tune_few_names,
)
from fgclip2_det.rescoring.score_dump import (
    DumpHeader,
    ImageScores,
    ScoreDump,
    shard_file,
    write_names,
    write_shard,
)
from fgclip2_det.rescoring.tuning import DETECTOR, Setting
from fgclip2_det.rescoring.tuning_truths import tuning_truths

# base names fill 5 of the 6 cells of two colours and three shapes; 'blue ring', which
# is novel, is what they combine to, and 'emu' is not
NAMES = ['red star', 'red ring', 'red cube', 'blue star', 'blue cube', 'blue ring',
         'emu', 'green ring']  # fmt: skip
IDS = [4, 2, 9, 7, 1, 30, 12, 3]
NOVEL = ['blue ring', 'emu']
EMBEDS = torch.nn.functional.normalize(
    torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=1
)
TEMPERATURE = 0.05
FEW = FewNames(ks=(1, 3, 'all'), seed=2)


def make_images(count=7) -> list[ImageScores]:
    rng, images = np.random.default_rng(3), []
    for number in range(count):
        corners = rng.uniform(0, 50, (6, 2)).round(1)
        xywh = np.hstack([corners, rng.uniform(10, 45, (6, 2)).round(1)])
        box_of = np.concatenate([np.arange(6), rng.integers(0, 6, 8)])
        images.append(
            ImageScores(
                100 + number,
                torch.tensor(rng.uniform(-0.1, 0.2, (6, 8))).half().float(),
                torch.tensor(np.hstack([corners, corners + xywh[:, 2:]])).float(),
                torch.tensor(box_of),
                torch.tensor(rng.uniform(0.05, 0.9, len(box_of))).float(),
                torch.tensor(rng.integers(0, 8, len(box_of))),
                torch.tensor(xywh[box_of]),
            )
        )
    return images


@pytest.fixture(scope='module')
def images() -> list[ImageScores]:
    return make_images()


@pytest.fixture
def dump(tmp_path, images) -> ScoreDump:
    header = DumpHeader(
        1, 'f00d', NAMES, IDS, NOVEL, 'en', ['{}'], 'auto', '', '', len(images), 3
    )
    folder = tmp_path / 'dump'
    folder.mkdir()
    (folder / 'dump.json').write_text(json.dumps(asdict(header)))
    write_names(folder, EMBEDS)
    for number in range(header.num_shards):
        part = images[3 * number : 3 * number + 3]
        write_shard(shard_file(folder, number), part)
    return ScoreDump(folder)


@pytest.fixture
def ann(tmp_path, images):
    """Objects where the first rows of an image are, most of them of the same name."""
    rng, annotations = np.random.default_rng(4), []
    for image in images:
        for k in range(5):
            label = int(image.labels[k]) if k < 4 else int(rng.integers(0, 8))
            annotations.append(dict(id=len(annotations) + 1, image_id=image.image_id,
                                    bbox=image.bboxes[k].tolist(), iscrowd=0,
                                    category_id=IDS[label]))  # fmt: skip
    coco = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=100, height=100)
                for i in [5, *(image.image_id for image in images)]],
        categories=[dict(id=i, name=n) for i, n in zip(IDS, NAMES, strict=True)],
        annotations=annotations,
    )  # fmt: skip
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(coco))
    return path


def rivals(names) -> list[str]:
    """Competitors, spelled out: base names and their combination, less the asked."""
    return [n for n in NAMES if n != 'emu' and n not in names]


def answer(image: ImageScores, names, setting: Setting) -> ImageBoxes:
    """Rows of the names, one after the other."""
    rows = [r for r in range(len(image.labels)) if NAMES[image.labels[r]] in names]
    columns = [NAMES.index(n) for n in [*names, *rivals(names)]]
    boxes, labels, scores = [], [], []
    for r in rows:
        logits = image.cosines[image.box_of[r]].numpy()[columns] / setting.temperature
        shares = np.exp(logits) / np.exp(logits).sum()
        own = names.index(NAMES[image.labels[r]])
        boxes.append(image.bboxes[r].numpy())
        labels.append(own)
        det = float(image.scores[r])
        scores.append(det ** (1 - setting.alpha) * shares[own] ** setting.alpha)
    return ImageBoxes(np.array(boxes).reshape(-1, 4), np.array(labels, int),
                      np.array(scores))  # fmt: skip


def expected(truths, classes, images, setting) -> dict:
    asks = draw_asks(classes, FEW.ks, FEW.seed)
    by_id = {image.image_id: image for image in images}
    nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    boxes = [
        answer(by_id[a.image_id], list(a.names), setting)
        if a.image_id in by_id else nothing
        for a in asks
    ]  # fmt: skip
    novel = {i for i, n in zip(IDS, NAMES, strict=True) if n in NOVEL}
    novel &= {c['id'] for c in classes.categories}
    return asks, boxes, score_asks(classes, asks, boxes, 0.3, novel)


GEOMETRIC = Setting('geometric', 0.4, None, TEMPERATURE, 'keep')


def test_settings_are_judged_by_what_users_get(dump, ann, images):
    truths = tuning_truths(ann, dump, 'use')
    rows = tune_few_names(dump, truths, [DETECTOR, GEOMETRIC], FEW, progress=False)
    for row, setting in zip(rows, (DETECTOR, GEOMETRIC), strict=True):
        _, _, figures = expected(truths, truths.boxes, images, setting)
        for group in ('base', 'novel', 'all'):
            for ours, theirs in (('ap', 'AP'), ('ap50', 'AP50'), ('auroc', 'auroc')):
                values = [figures[f'k{k}/{group}/{theirs}'] for k in FEW.ks]
                values = [v for v in values if v != -1]
                assert row.values[f'{group}_{ours}'] == pytest.approx(
                    np.mean(values), abs=1e-6
                )
    assert rows[0].values != rows[1].values


def test_base_only_asks_for_base_names_alone(dump, ann, images):
    truths = tuning_truths(ann, dump, 'drop')
    (row,) = tune_few_names(dump, truths, [GEOMETRIC], FEW, progress=False)
    assert not [name for name in row.values if name.startswith(('novel', 'all'))]
    content = json.loads(ann.read_text())
    kept = [c for c in content['categories'] if c['name'] not in NOVEL]
    ids = {c['id'] for c in kept}
    content['categories'] = kept
    content['annotations'] = [
        a for a in content['annotations'] if a['category_id'] in ids
    ]
    ann.write_text(json.dumps(content))
    from fgclip2_det.coco.ground_truths import read_truths

    # the same file without novel categories; the order of classes differs
    asks, _, figures = expected(truths, read_truths(ann), images, GEOMETRIC)
    assert not any(set(a.names) & set(NOVEL) for a in asks)
    few = FewNames(ks=('all',), seed=2)  # fewer are drawn by the order of classes
    (row,) = tune_few_names(dump, truths, [GEOMETRIC], few, progress=False)
    assert row.values['base_ap50'] == pytest.approx(figures['kall/all/AP50'], abs=1e-6)


def test_best_threshold_is_the_best_of_all(dump, ann, images):
    truths = tuning_truths(ann, dump, 'use')
    (row,) = tune_few_names(dump, truths, [GEOMETRIC], FEW, progress=False)
    asks, boxes, _ = expected(truths, truths.boxes, images, GEOMETRIC)
    novel = {IDS[5], IDS[6]}

    def pooled(thr):
        """Right boxes, shown boxes and objects of base names, over all asks."""
        right = shown = objects = 0
        content = json.loads(ann.read_text())['annotations']
        for ask, own in zip(asks, boxes, strict=True):
            for n, category in enumerate(ask.category_ids):
                if category in novel:
                    continue
                free = [
                    a['bbox'] for a in content
                    if (a['image_id'], a['category_id']) == (ask.image_id, category)
                ]  # fmt: skip
                objects += len(free)
                mine = [r for r in range(len(own.labels))
                        if own.labels[r] == n and own.scores[r] >= thr]  # fmt: skip
                shown += len(mine)
                for r in sorted(mine, key=lambda r: -own.scores[r]):
                    best = max(free, key=lambda b: iou(b, own.bboxes[r]), default=None)
                    if best is not None and iou(best, own.bboxes[r]) >= 0.5:
                        free.remove(best)
                        right += 1
        return right, shown, objects

    def f1(thr):
        right, shown, objects = pooled(thr)
        return 2 * right / (shown + objects)

    every = sorted({float(s) for b in boxes for s in b.scores})
    best = max(every, key=f1)
    assert row.values['base_threshold'] == pytest.approx(best, abs=1e-6)
    right, shown, objects = pooled(best)
    assert row.values['base_precision'] == pytest.approx(right / shown)
    assert row.values['base_recall'] == pytest.approx(right / objects)
    few = FewNames(ks=FEW.ks, seed=FEW.seed, precision=0.5)
    (strict,) = tune_few_names(dump, truths, [GEOMETRIC], few, progress=False)
    kept = [t for t in every if pooled(t)[0] >= 0.5 * pooled(t)[1]]
    best = max(kept, key=lambda t: (pooled(t)[0], t))
    assert strict.values['base_threshold'] == pytest.approx(best, abs=1e-6)
    assert strict.values['base_precision'] >= 0.5
    shifts = calibration_of(row, 0.3)
    moved = ScoreCalibration(**shifts)(
        torch.tensor([[row.values['base_threshold'], row.values['novel_threshold']]]),
        torch.tensor([True, False]),
    )
    np.testing.assert_allclose(moved[0], [0.3, 0.3], atol=0.002)  # rounded shifts


def iou(a, b) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


@pytest.mark.parametrize(
    ('asked', 'competing'),
    [
        (['red star'],
         ['red ring', 'red cube', 'blue star', 'blue cube', 'green ring', 'blue ring']),
        (['blue ring', 'emu'],
         ['red star', 'red ring', 'red cube', 'blue star', 'blue cube', 'green ring']),
        (NAMES, []),
    ],
)  # fmt: skip
def test_competitors_of_a_dump(dump, asked, competing):
    labels = torch.tensor([NAMES.index(n) for n in asked])
    found = competitors_of(dump.header, EMBEDS, labels)
    assert list(found.names) == competing


def test_nothing_right_leaves_the_scores_alone(dump, ann):
    truths = tuning_truths(ann, dump, 'drop')
    (row,) = tune_few_names(dump, truths, [DETECTOR], FEW, progress=False)
    row.values.update(base_threshold=0.0, base_precision=-1.0, base_recall=0.0)
    assert calibration_of(row, 0.3) == dict(base=0.0, novel=0.0)


def test_absent_names_of_lvis_are_those_its_images_name(dump, ann, images):
    content = json.loads(ann.read_text())
    for image in content['images']:
        image |= dict(neg_category_ids=[7, 12], not_exhaustive_category_ids=[])
    for category in content['categories']:
        category['frequency'] = 'f'
    for annotation in content['annotations']:
        if annotation['category_id'] in (7, 12):
            annotation['category_id'] = 4
    ann.write_text(json.dumps(content))
    plain = tuning_truths(ann, dump, 'use')
    assert not len(plain.boxes.negative)
    truths = tuning_truths(ann, dump, 'use', with_absent=True)
    names = {
        name for ask in draw_asks(truths.boxes, (1,), 0) for name in ask.names
    }  # fmt: skip
    assert {'blue star', 'emu'} & names  # known to be absent, nowhere present
    keys = truths.boxes.negative
    assert {NAMES[k // len(content['images'])] for k in keys} == {'blue star', 'emu'}
    assert len(keys) == 2 * len(content['images'])
