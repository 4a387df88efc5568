"""The remote zoo source of FiftyOne."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NAMES = 'red circle; 蓝色正方形'


def check(predicted, near) -> None:
    rows = [(each.label, each.bounding_box) for each in predicted.detections]
    assert [name for name, _ in rows] == NAMES.split('; ')
    for name, (x, y, w, h) in rows:
        assert near((x * 300, y * 200, (x + w) * 300, (y + h) * 200), name)
    assert all(0.4 <= each.confidence <= 1 for each in predicted.detections)


def test_model_and_its_file(bridge, shapes, near, tmp_path):
    module = bridge('fiftyone_zoo/__init__.py', '', 'fiftyone')
    path = tmp_path / 'fgclip2-det.json'
    module.download_model('fgclip2-det', str(path))
    model = module.load_model('fgclip2-det', str(path), names=NAMES, score_thr=0.4)
    pixels = np.asarray(Image.open(shapes / 'shapes.png'))
    with model as own:
        check(own.predict_all([pixels, pixels])[1], near)
    assert (model.media_type, model.transforms, model.preprocess) == (
        'image', None, False
    )  # fmt: skip
    path.write_text(json.dumps({'names': 'blue square'}))
    assert module.load_model('fgclip2-det', str(path)).detector.classes == [
        'blue square'
    ]
    path.write_text('{')
    with pytest.raises(ValueError, match='delete it and load the model again'):
        module.load_model('fgclip2-det', str(path))


def test_source_is_registered_and_loaded(shapes, hosted, near, tmp_path, monkeypatch):
    """Over HTTP, as from an archive of a repository."""
    monkeypatch.setenv('FIFTYONE_MODEL_ZOO_DIR', str(tmp_path / 'zoo'))
    monkeypatch.setenv('FIFTYONE_DO_NOT_TRACK', '1')
    foz = pytest.importorskip('fiftyone.zoo', reason='needs fiftyone: .ci/bridges')
    import fiftyone as fo

    monkeypatch.setattr(fo.config, 'model_zoo_dir', str(tmp_path / 'zoo'))
    source = tmp_path / 'source' / 'integrations' / 'fiftyone_zoo'
    shutil.copytree(ROOT / 'integrations' / 'fiftyone_zoo', source)
    shutil.make_archive(str(tmp_path / 'archive'), 'zip', tmp_path / 'source')
    url = f'{hosted(tmp_path)}/archive.zip'
    foz.register_zoo_model_source(url)
    assert foz.list_zoo_models(source=url) == ['fgclip2-det']
    model = foz.load_zoo_model('fgclip2-det', names=NAMES, score_thr=0.4)
    predicted = model.predict(np.asarray(Image.open(shapes / 'shapes.png')))
    assert isinstance(predicted, fo.Detections)
    check(predicted, near)
