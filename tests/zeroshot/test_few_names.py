"""Few names, asked of an encoder: boxes, scores, controls, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.cli import benchmark
from fgclip2_det.evaluation.few_names import score_asks, write_asks
from fgclip2_det.evaluation.few_names.protocol import prepare_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes, box_iou
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.few_names import (
    FewNamesOptions,
    encoder_figures,
    evaluate_few_names_boxes,
    find_boxes,
    read_few_names,
)
from fgclip2_det.zeroshot.few_names_benchmark import BENCHMARKS
from fgclip2_det.zeroshot.suite import find_benchmarks, read_benchmark

NAMES = ['red circle', 'blue circle', 'red star', 'blue star', 'green ring']


@pytest.fixture
def ann(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / 'images'
    folder.mkdir()
    annotations = []
    for image in range(8):
        Image.new('RGB', (120, 96), (image, 9, 9)).save(folder / f'{image}.png')
        for n in range(3 if image else 0):  # nothing in the first
            box = [40.0 * n, 5.0, *rng.uniform(10, 30, 2)]
            annotations.append({
                'id': len(annotations), 'image_id': image, 'bbox': box,
                'category_id': int(rng.integers(5)),
                'iscrowd': int(image == 7 and n > 0),
            })  # fmt: skip
    images = [{'id': i, 'file_name': f'{i}.png', 'width': 120, 'height': 96}
              for i in range(8)]  # fmt: skip
    categories = [{'id': n, 'name': name} for n, name in enumerate(NAMES)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    return path


def cosine_scores(cosines, embedder):
    """The oracle's random directions have cosines of some 1 / 32."""
    return cosines.clamp(0, 1)


def test_background_lies_beside_the_objects(ann, tmp_path):
    asked = prepare_asks(ann)
    found = find_boxes(asked.truths, tmp_path / 'images')
    assert sorted(found.of_image) == list(range(1, 8))
    assert found.num_objects == 6 * 3 + 1  # two of the last image are crowds
    assert found.num_background == found.num_objects
    for image, place in found.of_image.items():
        item = found.items[place]
        count = len(item.bboxes) // 2
        boxes = np.array(item.bboxes)
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        objects = asked.truths.bboxes[asked.truths.image == image]
        np.testing.assert_allclose(xywh[:count], objects[:count])
        np.testing.assert_allclose(xywh[count:, 2:], objects[:count, 2:])
        assert box_iou(xywh[count:], objects).max() < 0.3
        assert (boxes >= 0).all() and (boxes[:, 2:] <= (120, 96)).all()
    again, other = (find_boxes(asked.truths, tmp_path, seed) for seed in (0, 1))
    assert again.items[0].bboxes == found.items[0].bboxes
    assert other.items[0].bboxes != found.items[0].bboxes


def test_no_room_gives_fewer_boxes(ann, tmp_path):
    truths = prepare_asks(ann).truths
    truths.bboxes[truths.image == 1] = [0, 0, 120, 96]
    found = find_boxes(truths, tmp_path)
    assert found.num_objects - found.num_background == 3


def test_controls_reach_all_and_chance(ann, tmp_path):
    options = FewNamesOptions(score=cosine_scores)
    asked = prepare_asks(ann)
    boxes = find_boxes(asked.truths, tmp_path)
    found = encoder_figures(ControlEmbedder('oracle'), asked, boxes, options)
    for k in (1, 2, 5, 20, 'all'):
        for figure in ('AP', 'AP50', 'precision', 'recall', 'auroc'):
            assert found[f'k{k}/all/{figure}'] == pytest.approx(1), (k, figure)
        assert found[f'k{k}/all/false_per_100'] == 0
    assert found['kall/all/drift_max'] == 0
    noise = encoder_figures(ControlEmbedder('noise'), asked, boxes, options)
    assert 0.2 < noise['kall/all/auroc'] < 0.8
    # a softmax over one name is 1 for every box: nothing can be told apart
    forced = encoder_figures(ControlEmbedder('oracle'), asked, boxes)
    assert forced['k1/all/auroc'] > 0.5  # the first image has no box at all
    assert forced['k1/all/false_per_100'] > 100


def test_every_box_is_scored_under_every_name(ann, tmp_path):
    asked = prepare_asks(ann, seed=3)
    boxes = find_boxes(asked.truths, tmp_path)
    embedder = ControlEmbedder('noise', seed=4)
    found = encoder_figures(embedder, asked, boxes)
    embedder = ControlEmbedder('noise', seed=4)
    _, regions = embedder.images(boxes.items, whole=False)
    texts = embedder.texts(NAMES, 'box')
    counts = [len(item.bboxes) for item in boxes.items]
    answers, first = [], [sum(counts[:place]) for place in range(len(counts))]
    for ask in asked.asks:
        place = boxes.of_image.get(asked.truths.image_index[ask.image_id])
        rows = []
        if place is not None:
            for n, (x, y, x2, y2) in enumerate(boxes.items[place].bboxes):
                cosines = texts[list(ask.category_ids)] @ regions[first[place] + n]
                scores = torch.softmax(100 * cosines, 0).tolist()
                rows += [(label, [x, y, x2 - x, y2 - y], s)
                         for label, s in enumerate(scores)]  # fmt: skip
        answers.append(ImageBoxes(
            np.array([r[1] for r in rows]).reshape(-1, 4),
            np.array([r[0] for r in rows], int), np.array([r[2] for r in rows]),
        ))  # fmt: skip
    expected = score_asks(asked.truths, asked.asks, answers)
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_report_is_in_percent_and_says_what_was_asked(ann, tmp_path):
    options = FewNamesOptions(ks=(2, 'all'), mode='hard', score=cosine_scores)
    found = evaluate_few_names_boxes(
        ControlEmbedder('oracle'), ann, tmp_path / 'images', options, num_images=3
    )
    assert found['metrics']['few-names/k2/all/precision'] == 100
    assert found['metrics']['few-names/k2/all/false_per_100'] == 0
    assert found['denominators']['few-names/k2/all/AP'] == 6  # three images, two names
    assert found['denominators']['few-names/k2/all/drift_max'] == 0
    assert 'few-names/k2/all/drift_max' not in found['metrics']
    assert found['counts'] == {'images': 3, 'names': 5, 'boxes/objects': 6,
                               'boxes/background': 6, 'asks': 6}  # fmt: skip
    about = json.loads(json.dumps(found['protocol']))
    assert about['asks']['mode'] == 'hard' and about['score'] == 'cosine_scores'


def test_asks_of_a_file_place_the_background_by_their_seed(ann, tmp_path):
    asked = prepare_asks(ann, seed=7)
    path = tmp_path / 'asks.json'
    write_asks(path, asked.asks, asked.draw, ann)

    def about(**options):
        return read_few_names(
            ann, tmp_path / 'images', FewNamesOptions(**options)
        ).about

    drawn, read = about(seed=7), about(asks=str(path))
    assert read == drawn == about(asks=str(path), seed=7)
    assert read['boxes']['sha256'] != about(seed=8)['boxes']['sha256']
    for key, value in {'seed': 8, 'mode': 'hard', 'ks': (1,), 'language': 'zh'}.items():
        with pytest.raises(ValueError, match=f'was drawn with {key} .* not'):
            about(asks=str(path), **{key: value})
    write_asks(path, asked.asks, {**asked.draw, 'seed': None}, ann)
    with pytest.raises(ValueError, match='"draw" must give the seed'):
        about(asks=str(path))


@pytest.mark.parametrize('option', ['mode', 'ks', 'seed', 'language'])
def test_the_command_takes_nothing_of_the_draw_beside_asks(option):
    args = benchmark.parser().parse_args(['--few-names-asks', 'asks.json'])
    setattr(args, f'few_names_{option}', 1)
    with pytest.raises(ValueError, match=f'leave out --few-names-{option}'):
        benchmark.few_names_options(args)


def test_refusals(ann, tmp_path):
    def refuse(message, **options):
        with pytest.raises(ValueError, match=message):
            task = read_few_names(ann, tmp_path / 'images', FewNamesOptions(**options))
            task.run(ControlEmbedder('oracle'))

    refuse("score must be one of .*'sigmoid'.*, got 'cosine'", score='cosine')
    refuse('has no encoder', score='sigmoid')
    refuse(r'must give scores in \[0, 1\]', score=lambda c, _: c * 9)
    refuse(r'must keep \(n, m\), gave', score=lambda c, _: c.sum(1))
    with pytest.raises(ValueError, match='7 of 7 images are missing'):
        read_few_names(ann, tmp_path, FewNamesOptions())
    truths = prepare_asks(ann).truths
    images = [{**image, 'width': None} for image in truths.images]
    with pytest.raises(ValueError, match='image 0 needs width, height and file_name'):
        find_boxes(replace(truths, images=images), tmp_path)


def test_the_benchmark_takes_its_options_and_others_do_not(ann, tmp_path):
    root = tmp_path / 'data' / 'coco'
    (root / 'annotations').mkdir(parents=True)
    ann.rename(root / 'annotations' / 'instances_val2017.json')
    (tmp_path / 'images').rename(root / 'val2017')
    options = ReadOptions(few_names={'ks': (2,), 'seed': 5})
    one = BENCHMARKS['few-names']
    with pytest.raises(ValueError, match='few-names has 5 names instead of 80'):
        read_benchmark(one, tmp_path / 'data', options)
    task = read_benchmark(one, tmp_path / 'data', options, subset=True)
    assert task.about['asks']['ks'] == [2] and task.about['asks']['seed'] == 5
    (other,) = find_benchmarks(['coco-box'])
    with pytest.raises(ValueError, match='coco-box asks for all names; leave out ks'):
        read_benchmark(other, tmp_path / 'data', options, subset=True)
