"""Values of other kinds: one sentence each, and NumPy's numbers are numbers."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.slicing import Slices
from fgclip2_det.apis.video_reader import VideoReader
from fgclip2_det.apis.video_writer import VideoWriter

NAMES = 'red circle; 蓝色正方形'


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(scope='module')
def image() -> Image.Image:
    image = Image.new('RGB', (256, 192), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80, 140, 160), fill='red')
    return image


@pytest.mark.parametrize('device', ['foo', 'gpu', 'cuda:x', 'cuda:97', 'meta', 5.5])
def test_devices_that_are_not_there(device):
    message = 'device must be cpu, cuda, cuda:1 or mps and be there, got '
    with pytest.raises(ValueError, match=message):
        OpenVocabInferencer(device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_no_gpu(image, tmp_path, capsys):
    image.save(tmp_path / 'a.png')
    with pytest.raises(SystemExit) as stop:
        cli.main(['detect', str(tmp_path / 'a.png'), '--device', 'cuda',
                  '--out', str(tmp_path / 'out')])  # fmt: skip
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count('\n') == 1
    assert "be there, got 'cuda' (" in error and error.count('\n') == 1


def test_names_of_another_kind(inferencer, image):
    for names in 5, 1.5, np.array(['cat', 'dog']), torch.zeros(2):
        with pytest.raises(ValueError, match="names must be a string such as 'black"):
            inferencer(image, names)
        with pytest.raises(ValueError, match='names must be a string'):
            inferencer.set_vocabulary(names)


def test_boxes_to_explain(inferencer, image):
    wanted = inferencer.explain(image, NAMES, 0)
    assert inferencer.explain(image, NAMES, np.int64(0)).bbox == wanted.bbox
    assert inferencer.explain(image, NAMES, np.array(wanted.bbox)).bbox == wanted.bbox
    for box in 1.0, None, 'ab', [1, 2, 3], ['a', 'b', 'c', 'd']:
        with pytest.raises(ValueError, match='a box is an index or x1, y1'):
            inferencer.explain(image, NAMES, box)


def test_slices(inferencer, image):
    sliced = inferencer(image, NAMES, slices=np.int64(100))
    assert sliced[0].bboxes.tolist() == inferencer(
        image, NAMES, slices=100
    )[0].bboxes.tolist()  # fmt: skip
    assert Slices(np.int64(100), np.float32(0.25)).windows((100, 100))
    for options, message in (
        (dict(size=100, overlap='0.2'), "overlap must be a number, got '0.2'"),
        (dict(size=100, iou=None), 'iou must be a number, got None'),
        (dict(size='100'), "size of slices must be a whole number, got '100'"),
        (dict(size=True), 'size of slices must be a whole number, got True'),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(image, NAMES, slices=options)


@pytest.mark.parametrize(
    ('candidates', 'message'),
    [
        (5, 'candidates of 1 boxes, got 5'),
        ([], 'candidates of 1 boxes, got 0'),
        ([5], 'must be pairs of name and score, got 5'),
        ([['ab']], 'must be pairs of name and score'),
        ([[['a', 'b']]], 'must be pairs of name and score'),
        ([[[1, 0.5]]], 'must be pairs of name and score'),
    ],
)
def test_candidates(candidates, message):
    found = Detections(
        torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([0.5]), torch.tensor([0]), ('a',),
        '', ((('a', 0.5),),),
    )  # fmt: skip
    assert Detections.from_dict(found.to_dict()).candidates == found.candidates
    with pytest.raises(ValueError, match=message):
        Detections.from_dict({**found.to_dict(), 'candidates': candidates})


def test_a_video_with_a_colon_in_its_name(tmp_path, image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = VideoWriter('.', '12-30:45', image.size, 10.0)
    writer.add(image, 0.0)
    writer.close()
    assert writer.path == Path(writer.path.name) and writer.path.exists()
    with VideoReader(writer.path.name) as reader:
        assert len(list(reader)) == 1 and reader.name == writer.path.name
    assert cv2.VideoCapture(str(tmp_path / writer.path)).isOpened()
