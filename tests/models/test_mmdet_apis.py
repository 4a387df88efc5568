"""MMDetection's own inference functions on a checkpoint of this package."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint

from fgclip2_det.models import encoders
from fgclip2_det.models.detectors.text_prompts import are_asked
from fgclip2_det.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['red circle', 'blue square', '绿色星形']
CONFIG = """
_base_ = [{model!r}]
default_scope = 'mmdet'
custom_imports = dict(imports=['fgclip2_det'], allow_failed_imports=False)
test_dataloader = dict(dataset=dict(
    type='OpenVocabCocoDataset', ann_file='ann.json', data_root={root!r},
    novel_classes=['绿色星形'], test_mode=True, pipeline=[
        dict(type='OpenVocabLoadImage'),
        dict(type='FGCLIP2Resize', max_num_patches=64),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[])
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Config, image and checkpoint, as a training leaves them."""
    folder = tmp_path_factory.mktemp('apis')
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    Image.fromarray(pixels).save(folder / 'a.png')
    content = dict(images=[], annotations=[],
                   categories=[dict(id=1, name='red circle')])  # fmt: skip
    (folder / 'ann.json').write_text(json.dumps(content))
    model = str(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    text = CONFIG.format(model=model, root=str(folder))
    (folder / 'config.py').write_text(text, encoding='utf-8')
    init_default_scope('mmdet')
    cfg = Config.fromfile(folder / 'config.py')
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    detector.init_weights()
    torch.nn.init.normal_(detector.classifier.project.weight, std=1.0)
    detector.trained_classes = NAMES[:2]
    detector.set_vocabulary(NAMES)
    meta = dict(
        cfg=cfg.pretty_text,
        dataset_meta=dict(
            CLASSES=tuple(NAMES), base_classes=NAMES[:2], novel_classes=NAMES[2:]
        ),
    )
    save_checkpoint(
        dict(state_dict=detector.state_dict(), meta=meta), str(folder / 'last.pth')
    )
    return folder


@pytest.fixture
def detector(folder, monkeypatch):
    """Freshly loaded; the text tower may not be needed for what travels along."""
    model = init_detector(
        str(folder / 'config.py'), str(folder / 'last.pth'), device='cpu'
    )
    with monkeypatch.context() as patched:
        patched.setattr(encoders, 'build_encoder', None)
        inference_detector(model, str(folder / 'a.png'))
    return model


def rows(sample) -> tuple[torch.Tensor, ...]:
    actual = sample.pred_instances
    return actual.bboxes, actual.scores, actual.labels


def same(first, second, same_labels: bool = True) -> bool:
    pairs = list(zip(rows(first), rows(second), strict=True))[: 2 + same_labels]
    return all(a.shape == b.shape and torch.allclose(a, b) for a, b in pairs)


def test_the_vocabulary_travels_with_the_checkpoint(detector, folder):
    assert detector.vocabulary.names == NAMES
    assert detector.vocabulary.base_classes == NAMES[:2]
    assert detector.dataset_meta['classes'] == tuple(NAMES)
    assert detector.dataset_meta['palette'] == 'random'  # init_detector's own
    image = str(folder / 'a.png')
    pixels = np.asarray(Image.open(image))[..., ::-1].copy()
    (actual,) = inference_detector(detector, [image])
    assert len(actual.pred_instances) > 0
    assert same(inference_detector(detector, pixels), actual)


def test_a_text_prompt_is_for_its_call(detector, folder):
    """It is read, labels index it, and the checkpoint's names return after it."""
    image = str(folder / 'a.png')
    before = inference_detector(detector, image)
    asked = inference_detector(
        detector, image, text_prompt='dog . blue square', custom_entities=True
    )
    assert detector.dataset_meta['classes'] == ('dog', 'blue square')
    assert asked.pred_instances.labels.max() < 2 and not same(asked, before)
    again = inference_detector(detector, image)
    assert same(again, before)
    assert detector.dataset_meta['classes'] == tuple(NAMES)
    detector.set_vocabulary(['dog', 'blue square'])
    assert same(inference_detector(detector, image), asked)
    assert detector.vocabulary.names == ['dog', 'blue square']


def test_det_inferencer(folder, detector, tmp_path):
    """With a config or the checkpoint's own; names in its images follow texts."""
    image = str(folder / 'a.png')
    inferencer = DetInferencer(
        str(folder / 'config.py'), str(folder / 'last.pth'), device='cpu',
        show_progress=False,
    )  # fmt: skip
    options = dict(return_datasamples=True, no_save_vis=True)
    (actual,) = inferencer(image, **options)['predictions']
    assert same(actual, inference_detector(detector, image))
    (asked,) = inferencer(image, texts='dog . blue square', **options)['predictions']
    assert inferencer.visualizer.dataset_meta['classes'] == ('dog', 'blue square')
    expected = inference_detector(detector, image, text_prompt='dog . blue square')
    assert same(asked, expected)
    texts = ['dog', 'blue square']
    both = inferencer([image, image], texts=texts, **options)['predictions']
    for sample, text in zip(both, texts, strict=True):
        assert same(sample, inference_detector(detector, image, text_prompt=text))
    with pytest.raises(ValueError, match='a batch have different texts'):
        inferencer([image, image], texts=texts, batch_size=2, **options)


def test_names_that_training_knew_will_do(folder, tmp_path):
    """A checkpoint without ``dataset_meta``, for which MMDetection takes COCO's."""
    saved = torch.load(folder / 'last.pth', weights_only=True)
    with pytest.warns(UserWarning, match='use COCO classes by default'):
        model = load(folder, tmp_path, saved | dict(meta={}))
    with pytest.raises(ValueError, match='the detector has no vocabulary'):
        inference_detector(model, str(folder / 'a.png'))
    init_default_scope('mmdet')
    source = MODELS.build(Config.fromfile(folder / 'config.py').model)
    source.trained_classes = NAMES
    source.set_vocabulary(NAMES)
    with pytest.warns(UserWarning, match='use COCO classes by default'):
        model = load(folder, tmp_path, dict(state_dict=source.state_dict(), meta={}))
    inference_detector(model, str(folder / 'a.png'))
    assert model.vocabulary.names == NAMES


def load(folder: Path, tmp_path: Path, checkpoint: dict):
    save_checkpoint(checkpoint, str(tmp_path / 'other.pth'))
    return init_detector(
        str(folder / 'config.py'), str(tmp_path / 'other.pth'), device='cpu'
    )


def test_names_given_with_images_are_those_in_force():
    """Data sets call a class by its name alone, whatever aliases it has."""
    own = Vocabulary([['sofa', 'couch'], 'cup'], novel_classes=['cup'])
    assert are_asked([['sofa'], ['cup']], own)
    assert are_asked([['sofa', 'couch'], ['cup']], own)
    for others in ([['couch'], ['cup']], [['sofa']], [['cup'], ['sofa']]):
        assert not are_asked(others, own)
