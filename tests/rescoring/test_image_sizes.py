"""Boxes and images of different sizes: one frame, or a sentence with the sizes."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import cv2
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.engine.hooks.image_size_hook import OpenVocabImageSizeHook
from fgclip2_det.engine.hooks.visualization_hook import OpenVocabVisualizationHook
from fgclip2_det.rescoring.dump_writer import dump_scores
from fgclip2_det.rescoring.predictions import rescore_predictions
from fgclip2_det.rescoring.result_images import find_images

CASES = Path(__file__).resolve().parents[1] / 'data' / 'cases'
WEBP, SIZE = CASES / 'webp_orientation', CASES / 'picture_size'
leaves_webp = pytest.mark.skipif(
    cv2.imread(str(WEBP / 'a.webp')).shape[0] != 240, reason='this OpenCV turns a WebP'
)
META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def load_sample(path: Path, loader: str = 'LoadImageFromFile'):
    """Network input and data sample, as MMDetection's pipeline makes them."""
    steps = [dict(type=loader), dict(type='PackDetInputs', meta_keys=META)]
    data = Compose(steps)(dict(img_path=str(path), img_id=1))
    return data['inputs'], data['data_samples']


# ------------------------------------------------------------------ saved results
def test_an_image_of_another_size_is_refused_before_it_is_encoded(tmp_path):
    files = SIZE / 'dt.json', SIZE / 'ann.json'
    match = (
        r'1 of 1 images .* image 1 \(.*a\.png\): the image has 640 x 480 pixels, '
        'the annotation file says 320 x 240'
    )
    with pytest.raises(ValueError, match=match):
        rescore_predictions(read_predictions(*files), SIZE, None, False)
    with pytest.raises(ValueError, match=match):
        dump_scores(*files, SIZE, None, tmp_path / 'dump', progress=False)
    assert not (tmp_path / 'dump').exists()


@pytest.mark.parametrize('form', ['JPEG', 'WEBP', 'TIFF', 'PNG'])
def test_sizes_that_were_written_before_turning(form, tmp_path, monkeypatch):
    exif, image = Image.Exif(), Image.new('RGB', (64, 48), 'red')
    exif[0x112] = 6
    image.save(tmp_path / 'a', form, exif=exif)
    entry = dict(id=1, file_name='a', width=64, height=48)
    predictions = SimpleNamespace(images={1: entry}, rows={1: []})
    match = r'48 x 64 pixels upright \(64 x 48 in the file.*says 64 x 48.*EXIF'
    with pytest.raises(ValueError, match=match):
        find_images(predictions, tmp_path, False)
    entry |= dict(width=48.0, height=64)
    said, name = [], 'fgclip2_det.rescoring.result_images.print_log'
    monkeypatch.setattr(name, lambda text, *_: said.append(text))
    assert find_images(predictions, tmp_path, False) == {1: tmp_path / 'a'}
    assert [text for text in said if 'OpenCV does not apply' in text] == said
    assert len(said) == (form == 'WEBP')


# ------------------------------------------------------------------ wrapped detectors
@pytest.fixture(scope='module')
def rescorer():
    detector = dict(
        type='SavedPredictions',
        predictions=str(WEBP / 'dt.json'),
        ann_file=str(WEBP / 'ann.json'),
    )
    model = MODELS.build(
        dict(type='FGCLIP2Rescorer', detector=detector, mode='box',
             encoder=dict(pretrained='fgclip2_tiny'))
    )  # fmt: skip
    model.set_vocabulary(['red circle', 'blue square', 'green star'])
    return model


@leaves_webp
def test_a_webp_that_opencv_leaves_on_its_side(rescorer):
    inputs, sample = load_sample(WEBP / 'a.webp')
    (actual,) = rescorer.predict(inputs[None], [sample])
    rows = actual.pred_instances
    assert rows.labels[rows.bboxes[:, 0].argsort()].tolist() == [0, 1]


@leaves_webp
def test_saved_results_of_another_frame_are_a_sentence(rescorer):
    inputs, sample = load_sample(WEBP / 'a.webp', 'OpenVocabLoadImage')
    match = (
        r'ann\.json: image 1 \(.*a\.webp\): the image has 240 x 320 pixels upright '
        r'\(320 x 240 in .*, the annotation file says 320 x 240, the detector saw '
        '240 x 320'
    )
    with pytest.raises(ValueError, match=match):
        rescorer.predict(inputs[None], [sample])
    inputs, sample = load_sample(WEBP / 'a.webp')
    sample.set_metainfo(dict(flip=True, flip_direction='horizontal'))
    with pytest.raises(ValueError, match='is flipped but saved results are not'):
        rescorer.predict(inputs[None], [sample])


@leaves_webp
def test_a_detector_of_another_size_is_a_sentence(rescorer):
    """The file was replaced after the pipeline read it."""
    inputs, sample = load_sample(WEBP / 'a.webp')
    sample.set_metainfo(dict(img_path=str(SIZE / 'a.png')))
    match = r'a\.png: the image has 640 x 480 pixels, the detector saw 320 x 240'
    with pytest.raises(ValueError, match=match):
        rescorer.predict(inputs[None], [sample])


@leaves_webp
def test_a_detector_of_transformers_gets_the_same_image():
    from fgclip2_det.models.detectors.huggingface_detector import HuggingFaceDetector

    seen = []
    none = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long)
    stand_in = SimpleNamespace(
        model=torch.nn.Linear(1, 1), detect=lambda image: seen.append(image) or none
    )
    for loader, size in (('LoadImageFromFile', (320, 240)),
                         ('OpenVocabLoadImage', (240, 320))):  # fmt: skip
        inputs, sample = load_sample(WEBP / 'a.webp', loader)
        HuggingFaceDetector.predict(stand_in, inputs[None], [sample])
        assert seen[-1].size == size == sample.ori_shape[::-1]


# ------------------------------------------------------------------ the hook
class Warned:
    def __init__(self):
        self.lines = []

    warning = info = lambda self, line: self.lines.append(line)


def draw(folder: Path, sample: DetDataSample, inputs, entry: dict) -> tuple:
    """Picture of one evaluated image, and what was logged."""
    entry = dict(entry, img_path=sample.img_path)
    data = type('Data', (), dict(get_data_info=lambda *_: entry,
                                 __len__=lambda _: 1))()  # fmt: skip
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=data))
    model = SimpleNamespace(data_preprocessor=SimpleNamespace())
    runner = SimpleNamespace(
        val_loop=loop, work_dir=folder, model=model, logger=Warned(), visualizer=None
    )
    sample.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long()
    )
    hook = OpenVocabVisualizationHook()
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, dict(inputs=[inputs]), [sample])
    (path,) = (folder / 'vis').glob('*.png')
    return np.asarray(Image.open(path)), runner.logger.lines


def test_pictures_of_16_bit_are_not_white(tmp_path):
    values = np.full((480, 640), 20_000, np.uint16)
    Image.fromarray(values).save(tmp_path / 'a.png')
    inputs, sample = load_sample(tmp_path / 'a.png')
    picture, lines = draw(tmp_path, sample, inputs, dict(img_id=1))
    assert abs(int(picture[300, 300, 0]) - 78) <= 1 and not lines


@leaves_webp
def test_pictures_are_drawn_as_the_detector_saw_them(tmp_path):
    inputs, sample = load_sample(WEBP / 'a.webp')
    entry = dict(img_id=1, width=320, height=240)
    picture, lines = draw(tmp_path, sample, inputs, entry)
    assert picture.shape[1] > picture.shape[0] and not lines


@leaves_webp
def test_the_hook_warns_with_the_sizes(tmp_path):
    inputs, sample = load_sample(SIZE / 'a.png')
    entry = json.loads((SIZE / 'ann.json').read_text())['images'][0]
    _, lines = draw(tmp_path / 'a', sample, inputs, entry | dict(img_id=1))
    (line,) = lines
    assert ('the image has 640 x 480 pixels, the annotation file says 320 x 240, '
            'the detector saw 640 x 480') in line  # fmt: skip
    inputs, sample = load_sample(WEBP / 'a.webp')
    sample.set_metainfo(dict(img_path=str(SIZE / 'a.png')))
    _, lines = draw(tmp_path / 'b', sample, inputs, dict(img_id=1))
    assert 'the detector saw 320 x 240' in lines[0] and 'input' in lines[0]


# ------------------------------------------------------------------ evaluation
def test_evaluation_is_refused_with_the_three_sizes():
    """MMDetection's own data set and loader compare nothing."""
    steps = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=META)]
    data = DATASETS.build(
        dict(type='CocoDataset', ann_file=str(SIZE / 'ann.json'), pipeline=steps,
             data_prefix=dict(img=f'{SIZE}/'), test_mode=True,
             metainfo=dict(classes=('red circle', 'blue square', 'green star')))
    )  # fmt: skip
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=data))
    hook, runner = OpenVocabImageSizeHook(), SimpleNamespace(test_loop=loop)
    hook.before_test_epoch(runner)
    sample = data[0]['data_samples']
    match = (
        r'a\.png: the image has 640 x 480 pixels, the annotation file says '
        '320 x 240, the detector saw 640 x 480'
    )
    for samples in ([sample], [[sample], [sample]]):
        with pytest.raises(ValueError, match=match):
            hook.before_test_iter(runner, 0, dict(data_samples=samples))
    sample.set_metainfo(dict(ori_shape=(240, 320)))
    hook.before_test_iter(runner, 0, dict(data_samples=[sample]))
    hook.before_test_iter(runner, 0, dict(inputs=[]))
    hook.before_test_epoch(SimpleNamespace(test_loop=SimpleNamespace()))
