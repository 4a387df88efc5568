"""A checkpoint, any image and any names, from Python and the command line."""

import importlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageDraw

from fgclip2_det import OpenVocabInferencer, Vocabulary, cli

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['red circle', 'blue star', '绿色正方形']


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    """A checkpoint as training writes it, of an untrained detector."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/ovd_fgclip2.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.nn.init.normal_(model.classifier.project.weight, std=1.0)
    model.set_vocabulary(Vocabulary(NAMES, novel_classes=NAMES[2:]))
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=model.dataset_meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='module')
def inferencer(weights) -> OpenVocabInferencer:
    return OpenVocabInferencer(weights)


@pytest.fixture(scope='module')
def image_path(tmp_path_factory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 220, 3), np.uint8)
    path = tmp_path_factory.mktemp('images') / 'noise.jpg'
    Image.fromarray(pixels).save(path)
    return path


def test_training_names_then_others(inferencer, image_path):
    (actual,) = inferencer(image_path)
    assert actual.classes == tuple(NAMES)
    assert inferencer.model.vocabulary.novel_classes == NAMES[2:]
    assert len(actual) > 0
    assert set(actual.names) <= set(NAMES)
    (other,) = inferencer(image_path, 'dog. 狗')
    assert other.classes == ('dog', '狗')
    assert (other.scores.diff() <= 0).all()
    x1, y1, x2, y2 = other.bboxes.unbind(1)
    assert x1.min() >= 0
    assert y1.min() >= 0
    assert x2.max() <= 220 + 1e-3  # the original image's pixels
    assert y2.max() <= 150 + 1e-3
    assert (x2 > x1).all()
    assert (y2 > y1).all()


def test_names_that_change_in_place(inferencer, image_path):
    """A caller's list is copied, aliases too."""
    names = [['zebra']]
    inferencer(image_path, names)
    names[0].append('striped horse')
    inferencer(image_path, names)
    assert inferencer.vocabulary.aliases[0] == ['zebra', 'striped horse']


def test_paths_images_and_arrays_agree(inferencer, image_path):
    image = Image.open(image_path)
    array = np.asarray(image)[..., ::-1]  # BGR, as cv2.imread gives it
    results = inferencer([image_path, image, array], NAMES)
    results += inferencer(np.asarray(image), NAMES, channel_order='rgb')
    for result in results[1:]:
        assert torch.equal(result.scores, results[0].scores)
    assert len(inferencer(image_path, NAMES, score_thr=1.0)[0]) == 0


def test_a_red_circle_is_red_however_it_is_read(inferencer, tmp_path, monkeypatch):
    """What the network is given; OpenCV and DetInferencer have BGR arrays."""
    image = Image.new('RGB', (96, 64), 'white')
    ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill='red')
    image.save(tmp_path / 'red.png')
    seen = []
    step = inferencer.model.test_step

    def watched(data):
        seen.append(np.moveaxis(data['inputs'][0].numpy(), 0, 2))
        return step(data)

    monkeypatch.setattr(inferencer.model, 'test_step', watched)
    file, array = tmp_path / 'red.png', np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    inferencer([file, image, cv2.imread(str(file)), tensor], NAMES)
    inferencer([array, array[..., 1]], NAMES, channel_order='rgb')
    height, width = seen[0].shape[:2]
    for pixels in seen[:5]:
        assert pixels[height * 30 // 64, width * 40 // 96].tolist() == [0, 0, 255]
    assert (seen[5] == seen[5][..., :1]).all()  # grey


def test_the_embedded_detector_knows_a_red_circle():
    """Without a checkpoint, in either language; what is not there is not found."""
    image = Image.new('RGB', (256, 256), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80, 140, 160), fill='red')
    inferencer = OpenVocabInferencer()
    for texts in (
        'red circle; 蓝色星形; black square',
        '红色圆形; blue star; 黑色正方形',
    ):
        (detections,) = inferencer(image, texts, score_thr=0.3)
        assert detections.names == [texts.partition(';')[0]]
        corners = torch.tensor([[60.0, 80, 140, 160]])
        torch.testing.assert_close(detections.bboxes, corners, atol=8, rtol=0)


def test_bad_input(inferencer, weights, image_path, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no checkpoint'):
        OpenVocabInferencer(tmp_path / 'absent.pth')
    bare = tmp_path / 'bare.pth'
    state = torch.load(weights, weights_only=True)['state_dict']
    torch.save(dict(state_dict=state), bare)
    with pytest.raises(ValueError, match='contains no config'):
        OpenVocabInferencer(bare)
    other = ROOT / 'configs/ovd_fgclip2.py'
    cfg = Config.fromfile(other)
    cfg.model.neck.out_channels = 32
    with pytest.raises(ValueError, match='does not fit the model of the config'):
        OpenVocabInferencer(bare, cfg)
    with pytest.raises(ValueError, match=r'absent\.jpg'):
        inferencer(tmp_path / 'absent.jpg', NAMES)
    with pytest.raises(ValueError, match="channel_order must be 'bgr' or 'rgb'"):
        inferencer(image_path, NAMES, channel_order='gbr')
    with pytest.raises(ValueError, match='expected names'):
        inferencer(np.zeros((9, 9, 3), np.uint8), '')


def test_config_in_a_checkpoint_is_read_not_run(weights, tmp_path):
    """A checkpoint from elsewhere must not execute anything."""
    checkpoint = torch.load(weights, weights_only=True)
    marker = tmp_path / 'ran'
    checkpoint['meta']['cfg'] += f"\nbad = open({str(marker)!r}, 'w')\n"
    path = tmp_path / 'bad.pth'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='damaged config'):
        OpenVocabInferencer(path)
    called = f"model = dict(type='subprocess.getoutput', cmd='touch {marker}')"
    checkpoint['meta']['cfg'] = (
        f'{called}\ntest_dataloader = dict(dataset=dict(pipeline=[]))\n'
    )
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"'subprocess\.getoutput', which is no"):
        OpenVocabInferencer(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (dict(meta=None), 'meta is not a dict'),
        (dict(state_dict=[1]), 'state_dict is not a dict'),
        (dict(meta=dict(cfg='model = dict(')), 'damaged config'),
        (dict(meta=dict(cfg='x = 1')), 'damaged config'),
    ],
)
def test_other_checkpoints(weights, tmp_path, change, match):
    path = tmp_path / 'other.pth'
    torch.save({**torch.load(weights, weights_only=True), **change}, path)
    with pytest.raises(ValueError, match=match):
        OpenVocabInferencer(path)


def test_diverged_weights(weights, tmp_path):
    checkpoint = torch.load(weights, weights_only=True)
    checkpoint['state_dict']['rpn_head.rpn_conv.bias'][3] = float('nan')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match=r'rpn_conv\.bias holds NaN'):
        OpenVocabInferencer(tmp_path / 'nan.pth')


@pytest.fixture
def tool(monkeypatch):
    """tools/image_demo.py as a module."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    return importlib.import_module('fgclip2_det.cli.image_demo')


@pytest.fixture
def demo(capsys):
    """Function: words of image_demo -> exit code, stderr."""

    def run(*arguments) -> tuple[int, str]:
        code = 0
        try:
            cli.run('image_demo', [str(word) for word in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().err

    return run


def test_demo(demo, weights, image_path, tmp_path):
    code, err = demo(
        image_path.parent, '--texts', '红色圆形. star', '--weights', weights,
        '--out-dir', tmp_path / 'out', '--score-thr', 0,
    )  # fmt: skip
    assert code == 0, err
    (row,) = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    assert {d['name'] for d in row['detections']} <= {'红色圆形', 'star'}
    drawn = Image.open(row['picture'])
    assert drawn.size == (220, 150)
    assert (np.asarray(drawn) != np.asarray(Image.open(image_path))).any()


def test_one_unreadable_image_loses_nothing(demo, weights, image_path, tmp_path):
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(image_path.read_bytes()[:500])
    code, err = demo(
        bad, image_path, '--texts', 'star', '--weights', weights,
        '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert code == 2
    assert '1 of 2 images' in err
    assert str(bad) in err
    (row,) = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    assert row['image'] == str(image_path)


def test_earlier_results_outlive_a_wrong_image(tmp_path, tool, weights):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'detections.json').write_text('[1]')
    (tmp_path / 'bad.jpg').write_bytes(b'no image')
    words = ['--texts', 'star', '--weights', str(weights), '--out-dir', str(out)]
    for name, match in (('nowhere.jpg', r'there is no image .*nowhere\.jpg'),
                        ('bad.jpg', r'none of 1 images .*bad\.jpg')):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            tool.main(tool.parser().parse_args([str(tmp_path / name), *words]))
        assert (out / 'detections.json').read_text() == '[1]'


def test_names_of_a_file(tmp_path, tool, weights, image_path):
    (tmp_path / 'names.txt').write_text('St. Bernard\nsofa|couch\n')
    words = ['--weights', str(weights), '--score-thr', '0', '--out-dir', str(tmp_path)]
    texts = ['--texts', str(tmp_path / 'names.txt')]
    tool.main(tool.parser().parse_args([str(image_path), *words, *texts]))
    (row,) = json.loads((tmp_path / 'detections.json').read_text('utf-8'))
    assert {d['name'] for d in row['detections']} <= {'St. Bernard', 'sofa'}
    with pytest.raises(ValueError, match=r'no file absent\.txt of names'):
        tool.main(tool.parser().parse_args([str(image_path), '--texts', 'absent.txt']))
    assert 'in quotes is not split' in ' '.join(tool.parser().format_help().split())


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (['--texts', ''], 'expected names'),
        (
            ['--texts', 'cat', '--weights', 'absent.pth'],
            'there is no checkpoint absent.pth',
        ),
    ],
)
def test_demo_errors_are_one_sentence(demo, image_path, change, words):
    code, err = demo(image_path, *change)
    assert code != 0
    assert words in err
    assert 'Traceback' not in err
