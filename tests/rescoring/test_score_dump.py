"""A dump of scores: what it holds, how it continues, what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.models.fusion import OpenVocabFViTFusion
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.rescoring import dump_writer
from fgclip2_det.rescoring.dump_writer import dump_scores
from fgclip2_det.rescoring.score_dump import ScoreDump

NAMES = ['red circle', '蓝色星形', 'green ring', 'white cross']
IDS = [7, 3, 11, 5]
NOVEL = ['green ring']
IMAGES = [20, 10, 40, 30, 50]  # 30 has no results


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.fixture
def files(tmp_path):
    """Five images; 26 results on 20 boxes of four of them."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i in IMAGES:
        pixels = rng.integers(0, 256, (48, 80, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{i}.png')
    coco = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=80, height=48) for i in IMAGES],
        categories=[dict(id=i, name=n) for i, n in zip(IDS, NAMES, strict=True)],
    )
    corners = rng.uniform(0, 30, (20, 2)).round(1)
    sides = rng.uniform(5, 40, (20, 2)).round(1)
    results = []
    for k in range(26):
        image = [i for i in IMAGES if i != 30][k % 4]
        bbox = [*corners[k % 20].tolist(), *sides[k % 20].tolist()]
        score = float(rng.uniform(0.05, 0.95))
        category = int(rng.choice(IDS))
        results.append(
            dict(image_id=image, category_id=category, bbox=bbox, score=score)
        )
    (tmp_path / 'ann.json').write_text(json.dumps(coco), encoding='utf-8')
    (tmp_path / 'results.json').write_text(json.dumps(results), encoding='utf-8')
    return tmp_path


def run(files, encoder, out='dump', **options):
    words = [files / name for name in ('results.json', 'ann.json', 'images')]
    options = dict(novel=NOVEL, images_per_shard=2, progress=False) | options
    return dump_scores(*words, encoder, files / out, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def change(path, edit):
    content = json.loads(path.read_text(encoding='utf-8'))
    edit(content)
    path.write_text(json.dumps(content), encoding='utf-8')


@pytest.mark.parametrize('mode', ['keep', 'box', 'joint'])
def test_fusing_a_dump_is_rescoring_the_images(files, encoder, mode):
    header = run(files, encoder)
    assert header.num_images == 4 and header.num_shards == 2
    predictions = read_predictions(
        files / 'results.json', files / 'ann.json', novel=NOVEL
    )
    names = Vocabulary(predictions.split.classes, novel_classes=NOVEL)
    assert torch.equal(header.is_base, names.is_base)
    rescore = PredictionRescorer(
        encoder, names.embed(encoder), OpenVocabFViTFusion(temperature=0.2),
        mode, names.is_base,
    )  # fmt: skip
    dump = ScoreDump(files / 'dump')
    assert dump.image_ids == list(predictions.rows) and len(dump) == 4
    for image in dump:
        rows = predictions.rows[image.image_id]
        xywh = torch.tensor([row['bbox'] for row in rows], dtype=torch.float64)
        assert torch.equal(image.bboxes, xywh)
        xyxy = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        assert torch.equal(image.boxes[image.box_of], xyxy.float())
        path = files / 'images' / f'{image.image_id}.png'
        expected = rescore(path, xyxy, image.scores, image.labels)
        actual = rescore.fuse(
            image.cosines, image.boxes, image.box_of, image.scores, image.labels
        )
        torch.testing.assert_close(actual.scores, expected.scores, atol=2e-3, rtol=0)
        assert torch.equal(actual.source, expected.source)
        assert torch.equal(actual.labels, expected.labels)


def test_a_killed_dump_continues(files, encoder, monkeypatch):
    run(files, encoder, 'whole')
    score, seen = dump_writer._score_image, []

    def watched(predictions, image_id, *rest):
        if len(seen) == 3 and image_id == 50:
            raise KeyboardInterrupt
        seen.append(image_id)
        return score(predictions, image_id, *rest)

    monkeypatch.setattr(dump_writer, '_score_image', watched)
    with pytest.raises(KeyboardInterrupt):
        run(files, encoder)
    with pytest.raises(ValueError, match=r'lacks 1 of 2 shards, scores-00001'):
        ScoreDump(files / 'dump')
    seen.clear()
    run(files, encoder)
    assert seen == [40, 50]  # the second shard alone
    assert contents(files / 'dump') == contents(files / 'whole')
    seen.clear()
    run(files, encoder)
    assert seen == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(max_num_patches='abc'), "a positive integer or 'auto', got 'abc'"),
        (dict(max_num_patches=0), "a positive integer or 'auto', got 0"),
        (dict(templates=['a photo of {}' + ' and more' * 60]), 'tokens'),
    ],
    ids=['abc', '0', 'long'],
)
def test_a_wrong_option_leaves_no_dump(files, encoder, options, message):
    """The corrected run is not refused."""
    with pytest.raises(ValueError, match=message):
        run(files, encoder, **options)
    assert not (files / 'dump').exists()
    run(files, encoder)


def test_another_dump_in_the_folder(files, encoder):
    run(files, encoder)
    other = FGCLIP2.from_pretrained('fgclip2_tiny')
    with torch.no_grad():  # the image tower alone
        next(other.vision_model.parameters()).mul_(1.01)
    with pytest.raises(ValueError, match='dump that differs in encoder: '):
        run(files, other)
    with pytest.raises(ValueError, match='differs in templates'):
        run(files, encoder, templates='photo')
    with pytest.raises(ValueError, match="differs in max_num_patches: 'auto' there"):
        run(files, encoder, max_num_patches=256)
    with pytest.raises(ValueError, match="classes, entry 2: 'white cross' there"):
        run(files, encoder, novel=[])  # label order is base, then novel
    change(files / 'results.json', lambda rows: rows[0].update(score=0.123))
    with pytest.raises(ValueError, match='in predictions_sha256'):
        run(files, encoder)
    change(files / 'ann.json', lambda coco: coco['categories'].reverse())
    message = "in classes, entry 0: 'red circle' there, 'white cross' now"
    with pytest.raises(ValueError, match=message):
        run(files, encoder)


def test_damaged_dumps(files, encoder):
    run(files, encoder)
    folder = files / 'dump'
    shard = folder / 'scores-00001.safetensors'
    whole = shard.read_bytes()
    for damaged in (whole[:-40], whole[:5], b''):
        shard.write_bytes(damaged)
        for attempt in (lambda: ScoreDump(folder), lambda: run(files, encoder)):
            with pytest.raises(ValueError, match=r'scores-00001.* cut off .* delete'):
                attempt()
    shutil.copy(folder / 'scores-00000.safetensors', shard)
    with pytest.raises(ValueError, match=r'00001.* holds images \[20, 10\], expected'):
        run(files, encoder)
    shard.write_bytes(whole)
    change(folder / 'dump.json', lambda header: header['classes'].pop())
    with pytest.raises(ValueError, match=r'has cosines \[\d+, 4\], expected'):
        ScoreDump(folder)
    change(folder / 'dump.json', lambda header: header.update(format=2))
    with pytest.raises(ValueError, match='of format 1'):
        ScoreDump(folder)
    (folder / 'dump.json').unlink()
    with pytest.raises(ValueError, match='is not a dump'):
        ScoreDump(folder)
    with pytest.raises(ValueError, match=r'has shards but no dump\.json'):
        run(files, encoder)


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (dict(image_id=99), 'row 3 .* image 99 is not in the annotation file'),
        (dict(category_id=99), 'row 3 .* category 99 is not in the annotation file'),
        (dict(score=1.2), r'row 3 .* score must be a probability in \[0, 1\], got 1.2'),
        (dict(bbox=[1, 2, float('nan'), 4]), 'row 3 .* bbox must be x, y, width'),
    ],
)
def test_bad_rows_are_named(files, encoder, edit, message):
    change(files / 'results.json', lambda rows: rows[3].update(edit))
    with pytest.raises(ValueError, match=message):
        run(files, encoder)
    assert not (files / 'dump').exists()


def test_bad_files(files, encoder):
    with pytest.raises(ValueError, match='images_per_shard must be at least 1, got 0'):
        run(files, encoder, images_per_shard=0)
    (files / 'images' / '10.png').unlink()
    with pytest.raises(ValueError, match=r'1 of 4 images are missing, .*10\.png'):
        run(files, encoder)
    Image.new('RGB', (10, 8)).save(files / 'images' / '10.png')
    with pytest.raises(ValueError, match=r'image 10 \(.*10\.png\): '):
        run(files, encoder)  # smaller than the file says, boxes lie outside
    (files / 'results.json').write_text('[]')
    with pytest.raises(ValueError, match='holds no result'):
        run(files, encoder)


def test_rows_off_the_image_are_dropped_and_counted(files, encoder, capsys):
    def off(rows):
        rows[3] |= {'bbox': [500, 2, 3, 4]}

    change(files / 'results.json', off)
    run(files, encoder)
    assert '1 rows wholly outside their image were left out' in capsys.readouterr().out
    assert sum(len(image.scores) for image in ScoreDump(files / 'dump')) == 25
