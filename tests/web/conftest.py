"""A service of the embedded detector, and images for it."""

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image, ImageDraw

LIMITS = dict(upload=400_000, uploads=4_000_000, pixels=90_000, images=4, kept=4)
ADDRESS = 'http://127.0.0.1:8000'


@pytest.fixture(scope='session')
def service():
    from fgclip2_det import OpenVocabInferencer
    from fgclip2_det.web.limits import Limits
    from fgclip2_det.web.service import Service

    return Service(OpenVocabInferencer(), Limits(**LIMITS))


@pytest.fixture(scope='module')
def client(service):
    from starlette.testclient import TestClient

    from fgclip2_det.web.app import web_app

    about = {'system': 'embedded', 'shapes_only': True}
    with TestClient(web_app(service, about), base_url=ADDRESS) as client:
        yield client


@pytest.fixture(scope='session')
def drawn() -> Callable[..., bytes]:
    """Function: (x, format) -> file of a red circle at x and a blue square."""

    def make(x: int = 60, kind: str = 'PNG', size=(256, 256), **options) -> bytes:
        image = Image.new('RGB', size, 'gray')
        canvas = ImageDraw.Draw(image)
        canvas.ellipse((x, 80, x + 80, 160), fill='red')
        canvas.rectangle((160, 20, 220, 80), fill='blue')
        file = BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return make
