"""The base model of autodistill."""

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('supervision', reason='pip install supervision')

import yaml
from PIL import Image

KINDS = ['autodistill', 'real']
PROMPTS = {'red circle': 'disk', '红色圆形': 'disk', '蓝色正方形': 'square'}


@pytest.fixture(params=KINDS)
def module(request, bridge):
    return bridge('autodistill_model.py', 'autodistill.detection', request.param)


def test_prompts_of_a_class_are_one_class(module, shapes, near):
    model = module.FGCLIP2Base(module.CaptionOntology(PROMPTS), score_thr=0.4)
    assert model.ontology.classes() == ['disk', 'square']
    path = shapes / 'shapes.png'
    found = model.predict(str(path))
    assert found.class_id.tolist() == [0, 1]
    assert near(found.xyxy[1].tolist(), '蓝色正方形')
    bgr = np.asarray(Image.open(path))[..., ::-1]  # as autodistill reads files
    np.testing.assert_array_equal(model.predict(bgr).xyxy, found.xyxy)
    assert len(model.predict(Image.open(path), confidence=0.99)) == 0
    model.set_ontology(module.CaptionOntology({'蓝色正方形': 'Q'}))
    assert model.predict(str(path)).data['class_name'].tolist() == ['Q']


def test_what_is_no_ontology(module):
    with pytest.raises(ValueError, match='prompts that are texts'):
        module.joined(module.CaptionOntology({1: 'cup'}))
    with pytest.raises(ValueError, match='unknown option'):
        module.FGCLIP2Base(module.CaptionOntology(PROMPTS), score=0.4)


def test_label_writes_what_autodistill_writes(bridge, shapes, tmp_path):
    module = bridge('autodistill_model.py', 'autodistill.detection', 'real')
    model = module.FGCLIP2Base(module.CaptionOntology(PROMPTS))
    for name in ('a.png', 'b.png'):
        (tmp_path / name).write_bytes((shapes / 'shapes.png').read_bytes())
    out = tmp_path / 'out'
    model.label(str(tmp_path), extension='.png', output_folder=str(out))
    data = yaml.safe_load((out / 'data.yaml').read_text())
    assert data['names'] == ['disk', 'square']
    labels = sorted(out.glob('*/labels/*.txt'))
    assert len(labels) == 2
    assert [line[0] for line in labels[0].read_text().splitlines()] == ['0', '1']
