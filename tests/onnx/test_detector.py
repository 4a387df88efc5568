"""The embedded detector in ONNX against ``OpenVocabInferencer``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='detectors need MMDetection')

from fgclip2_det import OpenVocabInferencer, Vocabulary
from fgclip2_det.cli import run
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.io import InputError
from fgclip2_det.models.roi_heads.class_nms import class_nms as torch_nms
from fgclip2_det.onnx import Detector, NameEmbeds
from fgclip2_det.onnx.class_nms import class_nms
from fgclip2_det.onnx.comparing import Agreement
from fgclip2_det.onnx.detector import Found
from fgclip2_det.onnx.detector_export import (
    BakedDetector,
    _budget,
    _checked,
    name_embeds,
)
from fgclip2_det.onnx.detector_graph import ExportedDetector
from fgclip2_det.onnx.folder import ModelFolder, write_description
from fgclip2_det.onnx.name_embeds import embed_names
from fgclip2_det.onnx.pictures import to_input
from fgclip2_det.onnx.quantizing import quantize_folder
from fgclip2_det.vocabulary import fingerprint
from fgclip2_det.vocabulary.class_names import ClassNames

ROOT = Path(__file__).resolve().parents[2]
NAMES = 'red square; 蓝色方形; zebra'
ASKS = (
    (None, None),  # the names of the training, a data set's classes
    (NAMES, None),
    ('square', 'red square; shadow'),
    ([['blue square', '蓝色方形']], None),
    (['red square', 'blue square'], {'red square': 'red cross; ring'}),
)


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer(device='cpu')


@pytest.fixture(scope='module')
def exported(packages, tmp_path_factory, picture) -> Path:
    """The embedded detector, exported by the command."""
    out = tmp_path_factory.mktemp('detector') / 'out'
    run('export', [str(out), '--check', str(picture)])
    return out


def exact(inferencer, image, names=None, negatives=None) -> Found:
    (found,) = inferencer(image, names, negatives=negatives)
    boxes, scores, labels = found.bboxes, found.scores, found.labels
    return Found(boxes.numpy(), scores.numpy(), labels.numpy(), found.classes)


def assert_same(one: Found, other: Found) -> None:
    assert one.classes == other.classes
    result = Agreement()
    result.add(one, other)
    assert result.boxes and not result.unmatched, result
    assert result.score < 1e-3 and result.pixels < 1e-3 * 256, result


@pytest.mark.parametrize('ask', ASKS, ids=str)
def test_names_are_exchanged_as_in_the_inferencer(exported, inferencer, picture, ask):
    detector = Detector(exported)
    if ask[0] is None:
        inferencer.set_vocabulary(inferencer.system.default)
    (found,) = detector(picture, ask[0], negatives=ask[1])
    assert_same(exact(inferencer, picture, *ask), found)


def test_names_made_of_parts_compete_unasked():
    """As in PyTorch: names of parts that trained names have, and no others."""
    rows = {}

    def embed(names) -> np.ndarray:
        for name in names.names if isinstance(names, ClassNames) else names:
            rows.setdefault(name, np.eye(8)[len(rows)])
        return np.stack([rows[n] for n in getattr(names, 'names', names)])

    options = dict(
        competitors={}, trained_classes=['a red cup', 'a blue jug'],
        calibration=dict(base=-1.0, novel=0.0),
        parts={n: n.split()[1:] for n in (
            'a red cup', 'a blue jug', 'a red jug', 'a blue cup', 'a green cup'
        )},
    )  # fmt: skip
    asked = ClassNames(['a red jug'], base_classes=[], check=False)
    found = embed_names(asked, True, embed, options, lambda _, n: embed(n), 'digest')
    assert list(rows) == ['a red jug', 'a red cup', 'a blue jug', 'a blue cup']
    assert np.array_equal(found.competitors, [rows[n] for n in list(rows)[1:]])
    assert not found.apart.any() and found.shift == 0


def test_several_images_and_a_threshold(exported, picture):
    detector = Detector(exported)
    first, second = detector([picture, np.zeros((40, 90, 3), np.uint8)], NAMES, 0.3)
    assert 'red square' in first.names and 'zebra' not in first.names
    assert (first.scores >= 0.3).all() and len(second) == 0
    with pytest.raises(InputError, match='cannot be read'):
        detector('absent.png')


def test_names_that_change_in_place(exported, picture):
    """A caller's list is copied: what it becomes is asked for at the next call."""
    detector, names, negatives = Detector(exported), [['zebra']], ['shadow']
    detector(picture, names, negatives=negatives)
    names[0].append('striped horse')
    names.append('red square')
    (found,) = detector(picture, names, negatives=negatives)
    assert found.classes == ('zebra', 'red square')
    assert detector.vocabulary is not None
    assert detector.vocabulary.aliases[0] == ['zebra', 'striped horse']
    negatives[0] = 'red square of paper'
    detector(picture, names, negatives=negatives)
    own = detector.vocabulary.negatives
    assert own is not None and own.texts == ('red square of paper',)


def test_a_batch_before_any_names(exported):
    """The names of the training, as in a call."""
    detector = Detector(exported)
    outputs = detector.run(np.zeros((2, 3, 96, 160), np.float32))
    assert len(outputs[0]) == 2 and len(detector.classes) == outputs[1].shape[-1]


def test_without_torch(exported, picture):
    """Another process, in which PyTorch and what comes with it cannot be imported."""
    code = (
        'import sys\n'
        "for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'sentencepiece',\n"
        "             'safetensors', 'transformers', 'yaml', 'tqdm', 'filelock'):\n"
        '    sys.modules[name] = None\n'
        'from fgclip2_det.onnx import Detector\n'
        f'(found,) = Detector({str(exported)!r})({str(picture)!r}, {NAMES!r}, 0.2)\n'
        "print('|'.join(found.names))"
    )
    said = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True,
        encoding='utf-8',
        env={**os.environ, 'PYTHONUTF8': '1',
             'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])},
    ).stdout  # fmt: skip
    (found,) = Detector(exported)(picture, NAMES, 0.2)
    assert said.strip() == '|'.join(found.names) != ''


def test_names_that_were_embedded_before(exported, picture, tmp_path):
    detector = Detector(exported)
    embeds = detector.embed(NAMES)
    embeds.save(tmp_path / 'names.npz')
    loaded = NameEmbeds.load(tmp_path / 'names.npz')
    assert_same(detector(picture, NAMES)[0], detector(picture, loaded)[0])
    other = NameEmbeds(**(vars(loaded) | dict(encoder='0' * 64)))
    with pytest.raises(InputError, match='embedded by another encoder'):
        detector.set_vocabulary(other)
    for call in (detector.set_vocabulary, detector.embed):
        with pytest.raises(InputError, match='give negatives when they are embedded'):
            call(loaded, 'shadow')
    with pytest.raises(InputError, match='give negatives when they are embedded'):
        detector(picture, loaded, negatives='shadow')
    for name, array in (
        ('names', loaded.names[:, :9]),
        ('apart', loaded.apart[:, :2]),
        ('names', loaded.names * 2),
    ):
        wrong = NameEmbeds(**(vars(loaded) | {name: array}))
        with pytest.raises(InputError, match='embed the names again'):
            detector.set_vocabulary(wrong)
    (tmp_path / 'names.npz').write_bytes(b'PK')
    with pytest.raises(InputError, match='holds no names'):
        NameEmbeds.load(tmp_path / 'names.npz')


def test_int8(exported, picture, tmp_path):
    """Layers that stay in float are named; what is sure in float is found in int8."""
    folder = shutil.copytree(exported, tmp_path / 'int8')
    with pytest.raises(InputError, match='from pictures, got none'):
        quantize_folder(folder, 'static')
    done = quantize_folder(folder, 'dynamic')
    assert done.after < 0.7 * done.before  # embeddings of tokens stay as they are
    assert any('fc_reg' in layer for layer in done.kept['detector.onnx'])
    assert any('fc1' in layer for layer in done.layers['detector.onnx'])
    assert 'fc_reg' in str(done)
    result = Agreement()
    result.add(
        Detector(exported)(picture, NAMES)[0], Detector(folder)(picture, NAMES)[0]
    )
    assert result.sure and not result.sure_unmatched and result.score < 0.1
    with pytest.raises(InputError, match='is in int8 already'):
        quantize_folder(folder)


def test_int8_from_pictures_without_the_text_tower(exported, picture, tmp_path):
    """The names of the training are inputs of the graph, tower or not."""
    folder = shutil.copytree(exported, tmp_path / 'int8')
    content = dict(ModelFolder(folder).description)
    for key in ('kind', 'files', 'text'):
        content.pop(key)
    (folder / 'text.onnx').unlink()
    write_description(folder, content)
    done = quantize_folder(folder, 'static', [picture])
    assert list(done.layers) == ['detector.onnx']
    assert len(Detector(folder)(picture)[0])


@torch.no_grad()
def test_nms_inside_and_baked_names(inferencer, picture):
    """As modules; their operators are those of the other graphs."""
    vocabulary = inferencer.set_vocabulary(NAMES)
    detector = inferencer.model
    digest = fingerprint(inferencer.system.image_encoder())
    embeds = name_embeds(detector, vocabulary, digest)
    pixels = to_input(load_image(picture), 400, 16, 400)
    images = torch.from_numpy(pixels)[None]
    boxes, scores = BakedDetector(ExportedDetector(detector), embeds)(images)
    inside = BakedDetector(ExportedDetector(detector, nms=True), embeds)(images)
    cfg = detector.roi_head.test_cfg
    options = cfg.score_thr, cfg.nms.iou_threshold, cfg.max_per_img
    kept = class_nms(boxes[0].numpy(), scores[0].numpy(), *options)
    count = len(kept[1])
    for own, array in zip(kept, inside, strict=True):
        np.testing.assert_allclose(array[0, :count].numpy(), own, atol=1e-4)
    assert (inside[2][0, count:] == -1).all() and not inside[1][0, count:].any()


@pytest.mark.parametrize('num_classes', [1, 7])
def test_nms_in_numpy(num_classes):
    generator = torch.Generator().manual_seed(num_classes)
    boxes = torch.rand(60, 2, 2, generator=generator).sort(1).values.flatten(1) * 50
    scores = torch.rand(60, num_classes, generator=generator)
    scores[3] = float('nan')
    nms = dict(type='nms', iou_threshold=0.4)
    for limit in (5, 1000, -1):
        dets, labels = torch_nms(boxes, scores, 0.2, nms, limit)
        own = class_nms(boxes.numpy(), scores.numpy(), 0.2, 0.4, limit)
        np.testing.assert_allclose(own[0], dets[:, :4].numpy())
        np.testing.assert_allclose(own[1], dets[:, 4].numpy())
        assert own[2].tolist() == labels.tolist()
    none = class_nms(boxes.numpy()[:0], scores.numpy()[:0], 0.2, 0.4, 5)
    assert [len(part) for part in none] == [0, 0, 0]


# ------------------------------------------------------------ what is not exported
def test_detectors_that_cannot_be_exported(inferencer):
    system = inferencer.system
    tower = system.model.backbone.vision_model
    tower.window_size = 4
    try:
        with pytest.raises(InputError, match='windowed attention'):
            _checked(system)
    finally:
        tower.window_size = 0
    steps = system.config.test_dataloader.dataset.pipeline
    before = steps[1].max_num_patches
    steps[1].max_num_patches = [256, 400]
    try:
        with pytest.raises(InputError, match='must be one budget'):
            _budget(system)
    finally:
        steps[1].max_num_patches = before


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['--opset', '17'], 'opset must be 18 to'),
        (['--opset', '22'], 'opset must be 18 to 21'),
        (['--int8', 'static'], '--int8 static needs pictures'),
        (['--calibrate', 'a.png'], '--calibrate is for --int8 static'),
        (['--rescore', 'fvlm'], '--rescore is of an encoder'),
        (['--encoder', 'x', '--nms'], 'are of a detector'),
        (['--keep-float', 'fc1'], '--keep-float is for --int8'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else '',
)
def test_options_that_do_not_fit(tmp_path, capsys, words, sentence):
    with pytest.raises(SystemExit) as error:
        run('export', [str(tmp_path / 'out'), *words])
    assert error.value.code == 2 and sentence in capsys.readouterr().err


def test_vocabulary_with_a_split_is_a_data_sets(exported, inferencer, picture):
    """Its names compete with each other alone, and scores are not calibrated."""
    given = Vocabulary(['red square', 'blue square'], base_classes=['red square'])
    (found,) = Detector(exported)(picture, given)
    assert_same(exact(inferencer, picture, given), found)
