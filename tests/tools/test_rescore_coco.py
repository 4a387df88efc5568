"""tools/rescore.py on COCO photographs against numpy, for every rule and mode."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det
from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.fgclip2 import FGCLIP2Config
from fgclip2_det.fgclip2.random_weights import init_random

ASSET = Path(fgclip2_det.__file__).parent / 'assets' / 'fgclip2_tiny'
NOVEL = Vocabulary.from_list_name('ov_coco').novel_classes
T = 0.01


def geometric(d, w, a):
    return d ** (1 - a) * w**a


def fvlm(d, w, novel):
    """``d`` (n, 1) is one score per box: each name beside the background alone."""
    fused = geometric(d, w, np.where(novel, 0.65, 0.35))
    if d.shape[1] == 1:
        return fused / (fused + 1 - d)
    background = np.maximum(1 - d.sum(1, keepdims=True), 0)
    return fused / (fused.sum(1, keepdims=True) + background)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def logit(d, cosines):
    d = np.clip(d, 1e-6, 1 - 1e-6)
    return sigmoid(0.5 * np.log(d / (1 - d)) + 0.5 * cosines / T)


# d (n, C) or (n, 1), w, cosines (n, C), novel (C,), distance of the names from
# training (C,)
RULES = {
    'geometric': lambda d, w, c, novel, far: geometric(d, w, 0.5),
    'arithmetic': lambda d, w, c, novel, far: 0.5 * d + 0.5 * w,
    'logit': lambda d, w, c, novel, far: logit(d, c),
    'vild': lambda d, w, c, novel, far: geometric(d, w, np.where(novel, 2 / 3, 1 / 3)),
    'fvlm': lambda d, w, c, novel, far: fvlm(d, w, novel),
    'fvit': lambda d, w, c, novel, far: geometric(d, w, np.where(novel, 0.8, 0.1)),
    'lami': lambda d, w, c, novel, far: (
        geometric(d, w, np.where(novel, 0.4, 0)) * np.where(novel, 1, 1 / 5)
    ),
    'confidence': lambda d, w, c, novel, far: geometric(d, w, 0.5 * (1 - d)),
    'novelty': lambda d, w, c, novel, far: geometric(
        d, w, 0.35 + 0.3 * far / far.max()
    ),
    'detrefiner': lambda d, w, c, novel, far: 0.8 * d + 0.1 * sigmoid(c / 0.03),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Random base weights with the small tokenizer of the embedded model.

    As initialised all regions of all images are one vector to 1e-6. Weights 4 times
    as large let cosines differ by 0.02, between boxes and between names.
    """
    config = FGCLIP2Config.from_size('base')
    config = replace(config, text=replace(config.text, vocab_size=2048))
    model = init_random(FGCLIP2(config), torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    path = tmp_path_factory.mktemp('base')
    model.save_pretrained(path)
    for name in ('tokenizer.model', 'tokenizer_config.json'):
        shutil.copy(ASSET / name, path)
    return path


@pytest.fixture(scope='module')
def scene(shared, tmp_path_factory) -> dict:
    """Two images, the true boxes of each moved into 100 candidates, 60 of which have
    two labels."""
    path = shared / 'data' / 'coco' / 'annotations' / 'val_ov65_base48_novel17.json'
    coco = json.loads(path.read_text())
    rng = np.random.default_rng(5)
    by_image = {}
    for row in coco['annotations']:
        by_image.setdefault(row['image_id'], []).append(row)
    images = [i for i in coco['images'] if len(by_image.get(i['id'], ())) > 3][:2]
    rows = []
    for image in images:
        size = np.array([image['width'], image['height']] * 2)
        truths = by_image[image['id']]
        for k in range(100):
            truth = truths[k % len(truths)]
            x, y, w, h = truth['bbox']
            corners = np.array([x, y, x + w, y + h], float)
            corners += rng.normal(0, 0.1, 4) * np.array([w, h, w, h])
            corners = np.clip(corners, 0, size)
            start, end = corners.reshape(2, 2).min(0), corners.reshape(2, 2).max(0)
            box = [*start.round(2).tolist(), *(end - start + 1).round(2).tolist()]
            labels = [truth['category_id']]
            if k < 60:
                labels.append(coco['categories'][k]['id'])
            for label in dict.fromkeys(labels):
                row = dict(image_id=image['id'], category_id=label, bbox=box)
                rows.append(row | dict(score=float(rng.uniform(0.05, 0.95))))
    target = tmp_path_factory.mktemp('scene')
    (target / 'rows.json').write_text(json.dumps(rows))
    (target / 'ann.json').write_text(json.dumps(coco | dict(images=images)))
    return dict(rows=rows, coco=coco, images=images, folder=target,
                root=shared / 'data' / 'coco' / 'images' / 'val2017')  # fmt: skip


@pytest.fixture(scope='module')
def expected(folder, scene) -> dict:
    """Cosines of every row, from region_features and Vocabulary.embed alone."""
    encoder = FGCLIP2.from_pretrained(folder)
    categories = scene['coco']['categories']
    names = Vocabulary([c['name'] for c in categories], check=False).embed(encoder)
    cosines, whole = {}, {}
    with torch.no_grad():
        for image in scene['images']:
            own = [k for k, row in enumerate(scene['rows'])
                   if row['image_id'] == image['id']]  # fmt: skip
            boxes = np.array([scene['rows'][k]['bbox'] for k in own], float)
            boxes[:, 2:] += boxes[:, :2]
            size = [image['width'], image['height']]
            boxes = boxes.clip(0, size * 2)  # what lies inside is pooled
            boxes = [*boxes.tolist(), [0, 0, *size]]
            batch = encoder.preprocess([scene['root'] / image['file_name']])
            regions = encoder.region_features(batch, [boxes], True)[0]
            actual = (regions @ names.T).double().numpy()
            cosines |= dict(zip(own, actual[:-1], strict=True))
            whole[image['id']] = actual[-1]
    names, novel = names.double().numpy(), [c['name'] in NOVEL for c in categories]
    novel, names = np.array(novel), names / np.linalg.norm(names, axis=1)[:, None]
    far = 1 - (names @ names[~novel].T).max(1)
    return dict(cosines=np.stack([cosines[k] for k in range(len(cosines))]),
                novel=novel, far=np.where(novel, far, 0), encoder=encoder,
                whole=whole)  # fmt: skip


def share(cosines):
    w = np.exp((cosines - cosines.max(1, keepdims=True)) / T)
    return w / w.sum(1, keepdims=True)


def by_numpy(rule: str, mode: str, scene: dict, expected: dict) -> list[tuple]:
    """(image, box, category, score) of every result."""
    rows, cosines = scene['rows'], expected['cosines']
    ids = [c['id'] for c in scene['coco']['categories']]
    parts = expected['novel'], expected['far']
    groups: dict = {}
    for k, row in enumerate(rows):
        key = k if mode == 'keep' else (row['image_id'], *row['bbox'])
        groups.setdefault(key, []).append(k)
    actual = []
    for members in groups.values():
        first = rows[members[0]]
        d = np.full((1, 1), max(rows[k]['score'] for k in members))
        if mode == 'joint':
            d = np.full((1, len(ids)), 0.01)
            for k in members:
                d[0, ids.index(rows[k]['category_id'])] = rows[k]['score']
        own = cosines[members[0]][None]
        fused = RULES[rule](d, share(own), own, *parts)[0]
        if rule == 'detrefiner':
            fused = fused + 0.1 * sigmoid(expected['whole'][first['image_id']] / 0.03)
        best = ids.index(first['category_id']) if mode == 'keep' else fused.argmax()
        actual.append((first['image_id'], *first['bbox'], ids[best], fused[best]))
    return actual


@pytest.mark.parametrize('mode', ['keep', 'box', 'joint'])
@pytest.mark.parametrize('rule', RULES)
def test_against_numpy(rule, mode, folder, scene, expected, run_tool, monkeypatch):
    encoder, passes = expected['encoder'], scene.setdefault('passes', {})
    pooled = FGCLIP2.region_features

    def once(self, batch, bboxes, normalize=False):
        """The real one, once an image: 27 passes of each would take minutes."""
        key = tuple(bboxes[0].flatten().tolist())
        if key not in passes:
            passes[key] = pooled(self, batch, bboxes, normalize)
        return passes[key]

    monkeypatch.setattr(FGCLIP2, 'from_pretrained', lambda *_, **__: encoder)
    monkeypatch.setattr(FGCLIP2, 'region_features', once)
    out = scene['folder'] / f'{rule}_{mode}.json'
    words = [
        '--predictions', scene['folder'] / 'rows.json', '--images', scene['root'],
        '--ann', scene['folder'] / 'ann.json', '--encoder', folder, '--out', out,
        '--templates', 'raw', '--fusion', rule, '--mode', mode,
        '--cache-dir', scene['folder'] / 'texts', '--novel', *NOVEL,
    ]  # fmt: skip
    if rule in ('geometric', 'arithmetic', 'logit', 'confidence'):
        words += ['--alpha', 0.5]
    if rule == 'fvit':
        words += ['--temperature', T]
    if mode == 'joint':
        words += ['--floor', 0.01]
    code, _, err = run_tool('rescore', *words)
    assert code == 0, err
    actual = [(r['image_id'], *r['bbox'], r['category_id'], r['score'])
             for r in json.loads(out.read_text())]  # fmt: skip
    wanted = by_numpy(rule, mode, scene, expected)
    # the next box's cosines would be another result
    swapped = expected | dict(cosines=np.roll(expected['cosines'], 2, 0))
    other = by_numpy(rule, mode, scene, swapped)
    change = np.array([row[-1] for row in wanted]) - [row[-1] for row in other]
    assert np.abs(change).max() > 1e-3
    if mode != 'keep':  # best first, and boxes are told apart by their numbers
        actual, wanted = sorted(actual), sorted(wanted)
    assert [row[:-1] for row in actual] == [row[:-1] for row in wanted]
    scores = [row[-1] for row in wanted]
    np.testing.assert_allclose([row[-1] for row in actual], scores, atol=1e-5, rtol=0)
