"""What the bridges share: options of a tool or the environment, names, thresholds."""

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from PIL import Image

from fgclip2_det.apis import OpenVocabInferencer
from fgclip2_det.apis.named_detector import DetectorOptions, NamedDetector, prompted
from fgclip2_det.apis.systems import EMBEDDED
from fgclip2_det.vocabulary.ontology_file import as_ontology

TINY = EMBEDDED.parents[1] / 'fgclip2_tiny'
CLASSES = {'red circle': 'disk', '红色圆形': 'disk', '蓝色正方形': '方块'}


@pytest.fixture(scope='module')
def detector() -> NamedDetector:
    return NamedDetector({'names': 'red circle; 蓝色正方形'}, {})


def test_options_go_before_the_environment():
    environ = {'FGCLIP2_NAMES': 'cup', 'FGCLIP2_SCORE_THR': '0.7', 'FGCLIP2_DTYPE': ''}
    options = DetectorOptions.read({'score_thr': 0.4, 'names': None}, environ)
    assert options == DetectorOptions('cup', 0.4)
    assert DetectorOptions.read({}, {'FGCLIP2_CHUNK_SIZE': '8'}).chunk_size == 8


@pytest.mark.parametrize(
    'given, environ, message',
    [
        ({'nmaes': 'cup'}, {}, "unknown option 'nmaes'; known are names, score_thr"),
        ({'score_thr': 2}, {}, 'score_thr must be a number from 0 to 1, got 2'),
        ({}, {'FGCLIP2_SCORE_THR': 'low'}, 'FGCLIP2_SCORE_THR must be a number'),
        ({}, {'FGCLIP2_CHUNK_SIZE': '0'}, 'FGCLIP2_CHUNK_SIZE must be a whole number'),
        ({'encoder': 'folder'}, {}, 'encoder, chunk_size and ann_file belong to'),
        ({'names': 'classes.yaml'}, {}, 'classes.yaml'),
        ({'names': 5}, {}, "expected names such as 'black cat; 白色杯子', a list of"),
        ({'names': [5]}, {}, r'expected names such as .*got \[5\]'),
        ({'names': [[]]}, {}, r'expected names such as .*got \[\[\]\]'),
        ({'names': [['cup', None]]}, {}, 'expected names such as'),
        ({'device': 'foo'}, {}, "device must be cpu, cuda, .* got 'foo'"),
        ({}, {'FGCLIP2_DEVICE': 'cuda:x'}, "device must be .* got 'cuda:x'"),
    ],
)
def test_options_that_cannot_be_used(given, environ, message):
    with pytest.raises(ValueError, match=message):
        NamedDetector(given, environ)


def test_a_checkpoint_that_is_not_there():
    with pytest.raises(FileNotFoundError, match='there is no checkpoint'):
        NamedDetector(environ={'FGCLIP2_WEIGHTS': 'nowhere.pth'})


def test_names_of_the_training_without_any():
    detector = NamedDetector(environ={})
    assert len(detector.classes) == 65
    assert detector.classes[0] == 'red square'


@pytest.mark.parametrize('system', ['own checkpoint', 'detector and encoder'])
def test_other_systems(system, shapes, near):
    """The embedded weights as somebody's checkpoint; the same re-scored."""
    given = {'weights': str(EMBEDDED)}
    if system != 'own checkpoint':
        given = {'detector': str(EMBEDDED), 'encoder': str(TINY)}
    found = NamedDetector({**given, 'names': '蓝色正方形'}, {})(
        shapes / 'shapes.png', score_thr=0.0
    )
    assert found.classes == ('蓝色正方形',)
    assert near(found.bboxes[0].tolist(), '蓝色正方形')


def test_classes_of_an_ontology_and_their_thresholds(detector, shapes, near):
    image = Image.open(shapes / 'shapes.png')
    found = detector(image, CLASSES)
    assert found.names == ['disk', '方块']
    assert near(found.bboxes[0].tolist(), 'red circle')
    bgr = np.asarray(image)[..., ::-1]
    assert detector(bgr, CLASSES, channel_order='bgr').names == found.names
    square = found.scores[1].item()
    own = as_ontology(
        {'classes': {'disk': ['red circle'], '方块': {'prompts': ['蓝色正方形'],
                                                  'threshold': str(square + 0.01)}}}
    )  # fmt: skip
    assert detector(image, own).names == ['disk']
    assert detector(image, own, 0.0).names.count('方块') == 0  # both count
    assert detector(image, CLASSES, square + 0.01).names == ['disk']
    assert detector(image).names == ['red circle', '蓝色正方形']  # those of the options


def test_names_are_encoded_when_they_change(detector, shapes, monkeypatch):
    calls = []
    kept = detector.inferencer.set_vocabulary
    monkeypatch.setattr(
        detector.inferencer,
        'set_vocabulary',
        lambda own: calls.append(own) or kept(own),
    )
    image = shapes / 'shapes.png'
    for _ in range(3):
        detector(image, prompted('red circle'))
    detector(image)
    detector(image)
    assert [each.names for each in calls] == [
        ['red circle'],
        ['red circle', '蓝色正方形'],
    ]


@pytest.mark.parametrize('names', [None, 'red circle'])
def test_an_inferencer_whose_names_were_changed(names, shapes):
    """Labels are those of ``classes``, whoever set others in between."""
    inferencer = OpenVocabInferencer(device='cpu')
    inferencer.set_vocabulary('zebra')
    detector = NamedDetector({'names': names}, {}, inferencer)
    assert detector(shapes / 'shapes.png').classes == tuple(detector.classes)
    inferencer(shapes / 'shapes.png', 'zebra; 蓝色正方形')
    assert detector(shapes / 'shapes.png').classes == tuple(detector.classes)


def test_threads_get_their_own_names(detector, shapes):
    """Servers of labelling tools call a model from several threads."""
    results: dict[str, list] = {}

    def ask(name: str) -> None:
        results[name] = [
            detector(shapes / 'shapes.png', prompted(name)).names for _ in range(3)
        ]

    names = ['红色圆形', 'blue square']
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: [[n]] * 3 for n in names}


def test_what_is_typed_is_never_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('names.txt').write_text('secret\n')
    assert prompted('./names.txt').names == ['./names.txt']
    assert prompted('cup|杯子；黑猫').aliases == [['cup', '杯子'], ['黑猫']]
    with pytest.raises(ValueError, match='expected names'):
        prompted(' ')


def test_prompts_of_a_project_with_labels():
    labels = as_ontology({'cup': 'Cup', '杯子': 'Cup', '黑猫': '黑猫'})
    own = prompted('Cup=red cup|红色杯子; 黑猫', labels)
    assert [(c.name, c.prompts) for c in own.classes] == [
        ('Cup', ('red cup', '红色杯子')), ('黑猫', ('黑猫',))
    ]  # fmt: skip
    assert prompted('杯子', labels).names == ['Cup']
    with pytest.raises(ValueError, match=r"'dog' is no label .* write \"Cup=dog\""):
        prompted('dog', labels)
