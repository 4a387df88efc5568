"""An image's features are computed once, whatever names follow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from PIL import Image, ImageDraw

from fgclip2_det import FGCLIP2, OpenVocabInferencer
from fgclip2_det.fgclip2.vision import VisionTower

ROOT = Path(__file__).resolve().parents[2]
NAMES = 'red circle; 蓝色星形; black square', ['green star'], '黑色圆形. red square'


def noise(seed: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """BGR noise with a black circle and a red square."""
    pixels = np.random.default_rng(seed).integers(100, 180, (*size, 3), np.uint8)
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).ellipse((8, 10, 38, 40), fill='black')
    ImageDraw.Draw(image).rectangle((40, 50, 70, 80), fill='red')
    return np.asarray(image)[..., ::-1]


@pytest.fixture(scope='module')
def images() -> list[np.ndarray]:
    return [noise(0), noise(1, (128, 80)), noise(2)]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    """Of an untrained Faster R-CNN that classifies by text."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / 'configs/rescore/faster-rcnn_r18_ovshapes.py')
    model = MODELS.build(config.model)
    model.init_weights()
    torch.nn.init.normal_(model.classifier.project.weight, std=1.0)
    model.set_vocabulary(['red circle', 'green star'])
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    state = dict(state_dict=model.state_dict())
    save_checkpoint(dict(state, meta=dict(cfg=config.pretty_text)), str(path))
    return path


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """Images in each pass of an image tower of FG-CLIP 2."""
    seen: list[int] = []
    forward = VisionTower.forward

    def watched(self, pixels, *args, **kwargs):
        seen.append(len(pixels))
        return forward(self, pixels, *args, **kwargs)

    monkeypatch.setattr(VisionTower, 'forward', watched)
    return seen


def build(kind: str, checkpoint: Path, **options) -> OpenVocabInferencer:
    if kind == 'two-stage':
        return OpenVocabInferencer(**options)
    if kind == 'faster-rcnn':
        return OpenVocabInferencer(checkpoint, **options)
    rescored = ROOT / 'configs/rescore/rescore-geometric_faster-rcnn_r18_ovshapes.py'
    return OpenVocabInferencer(checkpoint, detector=rescored, **options)


KINDS = pytest.mark.parametrize('kind', ['two-stage', 'faster-rcnn', 're-scored'])


def equal(found, expected) -> bool:
    return len(found) == len(expected) and all(
        torch.equal(getattr(a, key), getattr(b, key))
        for a, b in zip(found, expected, strict=True)
        for key in ('bboxes', 'scores', 'labels')
    )


@KINDS
def test_other_names_on_the_same_pictures(kind, checkpoint, images, passes):
    """Neither encoder nor RPN run again, and every bit is as without the cache."""
    kept, plain = build(kind, checkpoint), build(kind, checkpoint, cache_size=0)
    detector = kept.system.detector
    calls = []
    rpn = detector.rpn_head.predict
    detector.rpn_head.predict = lambda *args, **kwargs: (
        calls.append(1) or rpn(*args, **kwargs)
    )
    first, count = len(images), 0
    for batch_size in (1, 3):
        for names in NAMES:
            del passes[:], calls[:]
            found = kept([image.copy() for image in images], names,
                         batch_size=batch_size)  # fmt: skip
            assert len(calls) == first
            assert sum(passes) == (0 if kind == 'faster-rcnn' else first)
            first = 0
            assert equal(found, plain(images, names))
            count += sum(map(len, found))
    assert count > 20


def test_two_stage_detector_against_predict(images):
    """The regions that are kept give what the detector gives without any memory."""
    inferencer = OpenVocabInferencer()
    for names in NAMES:
        (found,) = inferencer(images[0], names)
        data = inferencer.system.pipeline(*_picture(images[0]), 0)
        with torch.no_grad():
            (sample,) = inferencer.model.test_step(
                dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
            )
        assert torch.equal(found.scores, sample.pred_instances.scores)
        assert torch.equal(found.bboxes, sample.pred_instances.bboxes)


def _picture(image):
    from fgclip2_det.apis.inputs import InputImage

    picture = InputImage(image, 'image 1')
    return picture, picture.load()


@KINDS
def test_batches_equal_one_by_one(kind, checkpoint, images):
    one = build(kind, checkpoint, cache_size=0)(images, NAMES[0])
    pictures = [*images, images[0], images[1]]  # some twice in a batch
    batched = build(kind, checkpoint)(pictures, NAMES[0], batch_size=5)
    for found, expected in zip(batched, [*one, one[0], one[1]], strict=True):
        if kind == 'two-stage' or len(one) == 1:
            torch.testing.assert_close(found.scores, expected.scores)
            torch.testing.assert_close(found.bboxes, expected.bboxes, atol=1e-3, rtol=0)
    assert equal(batched[3:], batched[:2])


def test_same_size_batches_of_a_detector_that_pads(checkpoint, images):
    """MMDetection's detectors see the padding of a batch; none is needed here."""
    pictures = [images[0], images[2]]
    one = build('faster-rcnn', checkpoint, cache_size=0)(pictures, NAMES[0])
    two = build('faster-rcnn', checkpoint)(pictures, NAMES[0], batch_size=2)
    for found, expected in zip(two, one, strict=True):
        torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=0)


def test_a_batch_is_one_pass(images, passes):
    inferencer = OpenVocabInferencer()
    inferencer([*images, noise(3), noise(4)], NAMES[0], batch_size=4)
    assert passes == [4, 1]


def test_only_the_last_pictures_are_kept(passes):
    inferencer = OpenVocabInferencer(cache_size=2)
    pictures = [noise(i) for i in range(4)]
    inferencer(pictures, NAMES[0])
    assert len(inferencer._memories) == 2
    del passes[:]
    inferencer(pictures[2:], NAMES[1])
    assert passes == []
    inferencer(pictures[:1], NAMES[1])
    assert passes == [1]
    changed = pictures[3].copy()
    changed[5, 5] ^= 1
    inferencer(changed, NAMES[1])
    inferencer(changed, NAMES[2])
    assert passes == [1, 1]
    inferencer.forget()
    inferencer(changed, NAMES[2])
    assert passes == [1, 1, 1]


def test_names_are_encoded_once(images, monkeypatch):
    seen = []
    encode = FGCLIP2.encode_text

    def watched(self, texts, *args, **kwargs):
        seen.append(len(texts))
        return encode(self, texts, *args, **kwargs)

    monkeypatch.setattr(FGCLIP2, 'encode_text', watched)
    inferencer = OpenVocabInferencer()
    inferencer.set_vocabulary(['red circle', '蓝色星形'])
    count = len(seen)
    assert count
    for image in images:
        inferencer(image)
        inferencer(image, ['red circle', '蓝色星形'])
    assert len(seen) == count
    inferencer.model.set_vocabulary(['green star'])  # as it was possible before
    assert inferencer(images[0])[0].classes == ('green star',)
    assert (
        inferencer(images[0], ['red circle', '蓝色星形'])[0].classes[0] == 'red circle'
    )
    del seen[:]
    inferencer.set_vocabulary(['purple ring'])
    assert seen == [1]  # the background's text was known


def test_bfloat16(tmp_path):
    """Within two pixels and 0.05, on shapes the embedded detector knows."""
    image = Image.new('RGB', (256, 256), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80, 140, 160), fill='red')
    ImageDraw.Draw(image).rectangle((160, 20, 220, 80), fill='blue')
    names = 'red circle; 蓝色正方形; black star'
    (full,) = OpenVocabInferencer()(image, names, score_thr=0.3)
    (half,) = OpenVocabInferencer(dtype='bfloat16')(image, names, score_thr=0.3)
    assert half.names == full.names and len(full) == 2
    torch.testing.assert_close(half.bboxes, full.bboxes, atol=2, rtol=0)
    torch.testing.assert_close(half.scores, full.scores, atol=0.05, rtol=0)
    assert half.bboxes.dtype == half.scores.dtype == torch.float32
