"""COCO boxes, FG-OVD and caption files: small ones made here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.zeroshot import (
    Report,
    evaluate_coco_boxes,
    evaluate_fgovd,
    evaluate_retrieval,
)
from fgclip2_det.zeroshot.retrieval import add_retrieval, read_captions

NAMES = [('cat', '猫'), ('dog', '狗'), ('red cup', '红色杯子')]
SIZES = {'a.png': (160, 96), 'b/小.png': (96, 128), 'c.png': (64, 64)}


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(1)).eval()


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    (folder / 'b').mkdir()
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def make_coco() -> dict:
    """Five boxes on two images, one crowd box; the third image has none."""
    rows = [(1, 1, 5), (2, 1, 6), (3, 2, 7), (4, 2, 5), (5, 2, 6), (6, 2, 5)]
    annotations = [
        {
            'id': i,
            'image_id': image,
            'category_id': category,
            'bbox': [5 * i, 3 * i, 40, 30 + i],
            'iscrowd': int(i == 6),
        }
        for i, image, category in rows
    ]
    return {
        'images': [
            {'id': i, 'file_name': name, 'width': size[0], 'height': size[1]}
            for i, (name, size) in enumerate(SIZES.items(), 1)
        ],
        'annotations': annotations,
        'categories': [
            {'id': 5 + i, 'name': en, 'name_zh': zh} for i, (en, zh) in enumerate(NAMES)
        ],
    }


def write(path: Path, content: dict | list | str) -> Path:
    """json of a dictionary, jsonl of a list, or text."""
    if isinstance(content, list):
        content = '\n'.join(json.dumps(entry) for entry in content)
    elif isinstance(content, dict):
        content = json.dumps(content)
    path.write_text(content, encoding='utf-8')
    return path


# -------------------------------------------------------------------------- COCO
@torch.no_grad()
def expected_hits(encoder, images: Path, class_embeds: torch.Tensor) -> list[bool]:
    """Box by box with the encoder's own methods; the first rows are NAMES."""
    coco, hits = make_coco(), []
    files = {image['id']: image['file_name'] for image in coco['images']}
    for annotation in coco['annotations'][:5]:
        x, y, w, h = annotation['bbox']
        batch = encoder.preprocess(images / files[annotation['image_id']])
        region = encoder.region_features(batch, [[(x, y, x + w, y + h)]], True)[0]
        hits.append(
            int((region @ class_embeds.T).argmax()) == annotation['category_id'] - 5
        )
    return hits


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_coco_boxes_equal_a_loop(encoder, images, tmp_path, language):
    path = write(tmp_path / 'ann.json', make_coco())
    actual = evaluate_coco_boxes(encoder, path, images, language, novel=['dog'])
    names = [name[language == 'zh'] for name in NAMES]
    hits = expected_hits(encoder, images, Vocabulary(names).embed(encoder))
    metrics = actual['metrics']
    assert metrics[f'box_top1/all/{language}'] == pytest.approx(20 * sum(hits))
    novel = [hits[1], hits[4]]
    assert metrics[f'box_top1/novel/{language}'] == pytest.approx(50 * sum(novel))
    assert metrics[f'box_top5/all/{language}'] == 100  # of three names
    assert actual['denominators'] == {
        f'box_top{k}/{group}/{language}': n
        for group, n in (('all', 5), ('base', 3), ('novel', 2))
        for k in (1, 5)
    }
    assert actual['counts'] == {
        'images': 2,
        'images_without_boxes': 1,
        'boxes': 5,
        'crowd_boxes_left_out': 1,
        'names': 3,
    }


def test_the_files_own_split_and_the_first_images(encoder, images, tmp_path):
    coco = make_coco()
    for category, split in zip(
        coco['categories'], ('base', 'novel', 'unused'), strict=True
    ):
        category['split'] = split
    path = write(tmp_path / 'ann.json', coco)
    shares = evaluate_coco_boxes(encoder, path, images)['denominators']
    groups = ('all', 'base', 'novel')
    assert [shares[f'box_top1/{g}/en'] for g in groups] == [5, 2, 2]
    shares = evaluate_coco_boxes(encoder, path, images, num_images=1)['denominators']
    assert [shares[f'box_top1/{g}/en'] for g in groups] == [2, 1, 1]
    for category in coco['categories']:
        del category['split']
    path = write(tmp_path / 'plain.json', coco)
    assert set(evaluate_coco_boxes(encoder, path, images)['metrics']) == {
        'box_top1/all/en',
        'box_top5/all/en',
    }


def test_a_vocabulary_file_replaces_the_names(encoder, images, tmp_path):
    """Names by category, aliases, another order, and a name that is no category."""
    path = write(tmp_path / 'ann.json', make_coco())
    text = '\ufeffred_cup\n\n狗\tpuppy\thound\r\nwhale\nCat\t\n'
    names = write(tmp_path / 'mine.txt', text)
    actual = evaluate_coco_boxes(encoder, path, images, vocabulary_file=names)
    assert actual['counts']['names'] == 4
    embeds = Vocabulary(['red cup', ['puppy', 'hound'], 'whale', 'cat']).embed(encoder)
    hits = expected_hits(encoder, images, embeds[[3, 1, 0, 2]])
    assert actual['metrics']['box_top1/all/mine'] == pytest.approx(20 * sum(hits))
    for text, message in (
        ('cat\nred cup', "mine.txt has no line for the category 'dog'"),
        ('cat\nCAT\tkitten', "line 2: 'CAT' has a line before"),
        ('cat\nkat\tkitten', "line 2: 'kat' is not a category of the annotation file"),
        ('cat\ndog\tcat\nred cup', "'cat' names both class 0"),
    ):
        write(names, text)
        with pytest.raises(ValueError, match=message):
            evaluate_coco_boxes(encoder, path, images, vocabulary_file=names)


BAD_COCO = {
    'annotation 2: bbox must be x, y, width': ('annotations', 1, {'bbox': [0, 0, 5]}),
    'annotation 2: bbox .* has no area': ('annotations', 1, {'bbox': [0, 0, 5, 0]}),
    'annotation 2: bbox .* lies outside': ('annotations', 1, {'bbox': [500, 0, 5, 5]}),
    'annotation 2: category 99 is not in': ('annotations', 1, {'category_id': 99}),
    'annotation 2: image 99 is not in': ('annotations', 1, {'image_id': 99}),
    'iscrowd must be 0 or 1': ('annotations', 1, {'iscrowd': 2}),
    '1 of 2 images are missing: .*nowhere.png': (
        'images',
        0,
        {'file_name': 'nowhere.png'},
    ),
    'a.png: the image has 160 x 96 pixels, the annotation file says 161 x 96': (
        'images',
        0,
        {'width': 161},
    ),
    "'dog' occurs 2 times": ('categories', 0, {'name': 'dog'}),
}


@pytest.mark.parametrize('message', BAD_COCO)
def test_bad_coco_files_are_named(encoder, images, tmp_path, message):
    coco = make_coco()
    key, index, change = BAD_COCO[message]
    coco[key][index].update(change)
    path = write(tmp_path / 'ann.json', coco)
    with pytest.raises(ValueError, match=message):
        evaluate_coco_boxes(encoder, path, images)


def test_other_bad_coco_input(encoder, images, tmp_path):
    path = write(tmp_path / 'ann.json', make_coco())
    with pytest.raises(ValueError, match="did you mean 'dog'"):
        evaluate_coco_boxes(encoder, path, images, novel=['dogg'])
    with pytest.raises(ValueError, match='num_images must be at least 1'):
        evaluate_coco_boxes(encoder, path, images, num_images=0)
    for text, message in (
        ('{"images": [', 'cannot be read as JSON'),
        ('[]', 'must be a JSON object'),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_coco_boxes(encoder, write(path, text), images)
    with pytest.raises(ValueError, match=r'no\.json cannot be read'):
        evaluate_coco_boxes(encoder, tmp_path / 'no.json', images)
    coco = make_coco() | {'annotations': []}
    with pytest.raises(ValueError, match='holds no box to name'):
        evaluate_coco_boxes(encoder, write(path, coco), images)


# ------------------------------------------------------------------------ FG-OVD
def fgovd_line(**changes) -> dict:
    return {
        'img_path': 'a.png',
        'bbox': [10, 5, 60, 40],
        'pos_expression': ['A red wooden chair.'],
        'neg_expression': [f'A {c} wooden chair.' for c in ('blue', 'green', 'pink')],
        'width': 160,
        'height': 96,
    } | changes


@torch.no_grad()
def test_fgovd_equals_a_loop(encoder, images, tmp_path, monkeypatch):
    """Any number of negatives; two files share an image, which is encoded once."""
    words = ['red', 'blue', 'pink', 'grey', 'brown', 'white', 'black']
    texts = [f'a {word} wooden chair.' for word in words]
    lines = [
        fgovd_line(
            pos_expression=[text], neg_expression=[t for t in texts if t != text][:n]
        )
        for text, n in zip(texts, (6, 6, 5, 1, 6, 2, 6), strict=True)
    ]
    other = fgovd_line(img_path='b/小.png', width=96, height=128)
    hard, easy = (
        write(tmp_path / 'h.jsonl', lines),
        write(tmp_path / 'e.jsonl', [other]),
    )
    batch = encoder.preprocess(images / 'a.png')
    region = encoder.region_features(batch, [[(10, 5, 70, 45)]], True)[0][0]
    hits = []
    for line in lines:
        candidates = [*line['pos_expression'], *line['neg_expression']]
        scores = encoder.encode_text(candidates, 'box', True) @ region
        hits.append(bool((scores[1:] < scores[0]).all()))
    seen = []
    run = encoder.encode_tokens
    monkeypatch.setattr(
        encoder, 'encode_tokens', lambda b: seen.append(len(b)) or run(b)
    )
    actual = evaluate_fgovd(encoder, [hard, easy], images)
    assert sum(seen) == 2
    assert actual['metrics']['fgovd_top1/h'] == pytest.approx(100 * sum(hits) / 7)
    assert actual['denominators'] == {'fgovd_top1/h': 7, 'fgovd_top1/e': 1}
    assert actual['counts']['distinct_boxes'] == 2
    assert actual['counts']['contradictory/h'] == 0
    assert 0 < sum(hits) < 7
    one = evaluate_fgovd(encoder, hard, images, num_images=1)
    assert one['metrics'] == {'fgovd_top1/h': actual['metrics']['fgovd_top1/h']}


def test_the_true_caption_among_the_negatives_is_wrong(encoder, images, tmp_path):
    line = fgovd_line(neg_expression=['a RED wooden chair.'])
    actual = evaluate_fgovd(encoder, write(tmp_path / 'h.jsonl', [line]), images)
    assert actual['metrics'] == {'fgovd_top1/h': 0.0}
    assert actual['counts']['contradictory/h'] == 1


BAD_LINES = {
    'h.jsonl line 2: bbox must be four finite': {'bbox': [1, 2, 3, None]},
    'h.jsonl line 2: bbox .* has no area': {'bbox': [1, 2, -3, 4]},
    'h.jsonl line 2: bbox .* lies outside': {'bbox': [160, 2, 3, 4]},
    'line 2: pos_expression must be one text': {'pos_expression': ['a', 'b']},
    'line 2: neg_expression must be a list of': {'neg_expression': []},
    'line 2: neg_expression must be a list': {'neg_expression': ['a', ' ']},
    'line 2: img_path must be a string': {'img_path': None},
    'line 2: width and height must be': {'width': 0},
    'in one line and 99 x 96 in another': {'width': 99},
    '1 of 2 images are missing: .*no.png': {'img_path': 'no.png'},
}


@pytest.mark.parametrize('message', BAD_LINES)
def test_bad_fgovd_lines_are_named(encoder, images, tmp_path, message):
    lines = [fgovd_line(), fgovd_line(**BAD_LINES[message])]
    path = write(tmp_path / 'h.jsonl', lines)
    with pytest.raises(ValueError, match=message):
        evaluate_fgovd(encoder, path, images)


def test_bad_fgovd_files(encoder, images, tmp_path):
    path = tmp_path / 'h.jsonl'
    for text, message in (
        ('\n', 'h.jsonl is empty'),
        ('{"a": 1', 'line 1 is not JSON'),
        ('[1]', 'line 1 must be a JSON object'),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_fgovd(encoder, write(path, text), images)
    (tmp_path / 'x').mkdir()
    twin = write(tmp_path / 'x' / 'h.jsonl', [fgovd_line()])
    with pytest.raises(ValueError, match="would share the name 'h'"):
        evaluate_fgovd(encoder, [path, twin], images)


# --------------------------------------------------------------------- retrieval
class ByText:
    """Text n of a known list is unit vector n."""

    def __init__(self, texts: list[str]) -> None:
        self.known = texts

    def texts(self, texts: list[str], mode: str) -> torch.Tensor:
        return torch.eye(len(self.known))[[self.known.index(t) for t in texts]]


def test_retrieval_by_hand():
    """Captions a, b | a | c, images close to (a, then c), (a, then b), (b, then c).

    i2t: image 0 finds its a; image 1 finds its a; image 2 finds b before its c: 2/3,
    and all of them within 2.
    t2i: both queries a find image 1, which has an a; b finds images 2 (.8) and 1 (.4)
    before its image 0 (.1); c finds image 2 (.6) before image 0 (.5): 3/4.
    """
    images = torch.tensor([[0.8, 0.1, 0.5], [0.9, 0.4, 0], [0, 0.8, 0.6]])
    report = Report()
    captions = [['a', 'B'], ['A'], ['c']]
    embedder = ByText(['a', 'b', 'c'])
    add_retrieval(report, 'r', embedder, images, captions, 'short', ks=(1, 2))
    assert report.metrics['r/i2t'] == pytest.approx(200 / 3)
    assert report.metrics['r/t2i'] == 75
    assert report.metrics['r/i2t@2'] == 100
    assert report.metrics['r/t2i@2'] == 75
    assert report.denominators['r/i2t'] == 3 and report.denominators['r/t2i'] == 4
    assert report.counts == {'r/shared_captions': 1}


def test_a_caption_twice_at_one_image_is_not_shared():
    report = Report()
    captions = [['a', 'a'], ['b']]
    add_retrieval(report, 'r', ByText(['a', 'b']), torch.eye(2), captions, 'short')
    assert report.metrics == {'r/i2t': 100, 'r/t2i': 100}
    assert report.denominators['r/t2i'] == 3
    assert report.counts == {'r/shared_captions': 0}


@torch.no_grad()
@pytest.mark.parametrize('mode', ['short', 'long'])
def test_retrieval_of_a_file_equals_a_loop(encoder, images, tmp_path, mode):
    text = '\ufeffa.png\ta dog\r\nb/小.png\t一只猫\t在桌上\n\n'
    text += 'a.png\ttwo dogs\nc.png\tnoise\n'
    path = write(tmp_path / 'captions.tsv', text)
    captions = ['a dog', 'two dogs', '一只猫\t在桌上', 'noise']
    owner = [0, 0, 1, 2]
    actual = evaluate_retrieval(encoder, path, images, mode)
    batches = [encoder.preprocess(images / name) for name in SIZES]
    whole = torch.cat([encoder.encode_image(batch, True) for batch in batches])
    scores = whole @ encoder.encode_text(captions, mode, True).T  # (3, 4)
    i2t = [owner[int(row.argmax())] == i for i, row in enumerate(scores)]
    t2i = [int(column.argmax()) == i for i, column in zip(owner, scores.T, strict=True)]
    metrics = actual['metrics']
    assert metrics[f'retrieval/{mode}/i2t'] == pytest.approx(100 * sum(i2t) / 3)
    assert metrics[f'retrieval/{mode}/t2i'] == pytest.approx(25 * sum(t2i))
    assert metrics[f'retrieval/{mode}/i2t@5'] == 100
    first = evaluate_retrieval(encoder, path, images, mode, num_images=1)
    assert first['denominators'][f'retrieval/{mode}/t2i'] == 2


def test_bad_caption_files(encoder, images, tmp_path):
    path = tmp_path / 'c.tsv'
    for text, message in (
        ('a.png\tx\na.png x', 'c.tsv line 2: expected image_path, a tab and a'),
        ('a.png\t ', 'line 1: expected image_path'),
        ('\tx', 'line 1: expected image_path'),
        ('\n', 'holds no caption'),
    ):
        with pytest.raises(ValueError, match=message):
            read_captions(write(path, text))
    path.write_bytes(b'a.png\t\xff\xfe')
    with pytest.raises(ValueError, match=r'c\.tsv is in an unknown encoding'):
        read_captions(path)
    write(path, 'a.png\tx\nno/b.png\ty')
    with pytest.raises(ValueError, match=r'1 of 2 images are missing: .*no/b.png'):
        evaluate_retrieval(encoder, path, images)
    with pytest.raises(ValueError, match='mode must be one of'):
        evaluate_retrieval(encoder, path, images, 'box')


# ------------------------------------------------------------ the real small data
def test_real_files(encoder, shared):
    """Every box of the files counts; the numbers are those of a random encoder."""
    coco = shared / 'data' / 'coco'
    files = [coco / 'annotations' / f'fgovd_{n}.jsonl' for n in ('hard', 'easy')]
    actual = evaluate_fgovd(encoder, files, coco / 'images', num_images=3)
    assert all(0 <= percent <= 100 for percent in actual['metrics'].values())
    chess = shared / 'data' / 'chess'
    actual = evaluate_coco_boxes(
        encoder, chess / 'valid.json', chess / 'images', 'zh', num_images=2
    )
    assert actual['denominators']['box_top1/all/zh'] == actual['counts']['boxes'] > 0
