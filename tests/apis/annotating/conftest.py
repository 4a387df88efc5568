"""A folder of images, an ontology, and a detector that looks at an image once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.apis import annotate
from tests.apis.annotating.labels import ONTOLOGY, UNREAD, Remembering


@pytest.fixture(scope='session')
def inferencer() -> Remembering:
    return Remembering()


@pytest.fixture(scope='session')
def ontology(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('ontology') / 'classes.yaml'
    path.write_text(ONTOLOGY, 'utf-8')
    return path


@pytest.fixture(scope='session')
def photos(tmp_path_factory) -> Path:
    """Seven images, one of them in a folder of its own and one that is none."""
    folder = tmp_path_factory.mktemp('photos')
    (folder / '下').mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        image = Image.fromarray(rng.integers(110, 140, (96, 128, 3), np.uint8))
        canvas = ImageDraw.Draw(image)
        canvas.ellipse((8 + 7 * i, 30, 48 + 7 * i, 70), fill='red')
        if i % 2:
            canvas.rectangle((90, 8, 122, 40), fill='blue')
        image.save(folder / ('下' if i == 5 else '') / f'{i}.png')
    (folder / UNREAD).write_bytes(b'no image')
    for name in ('notes.txt', 'paper.pdf', 'clip.mpg', 'data.h5'):
        (folder / name).write_text('no image either')
    return folder


@pytest.fixture
def label(photos, ontology, inferencer, tmp_path) -> Callable:
    """label(**options) -> the result; in tmp_path / 'out'."""

    def call(out='out', **options):
        return annotate(photos, ontology, tmp_path / out, inferencer, **options)

    return call
