"""The command in this process, and one dry run that several tests look at."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

from fgclip2_det import cli
from fgclip2_det.coco.annotation_file import read_coco


@pytest.fixture
def reproduce(capfd: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """reproduce('coco', ...) -> (exit status, stdout, stderr)."""

    def run(*args: object) -> tuple[int, str, str]:
        code = 0
        capfd.readouterr()
        try:
            cli.run('reproduce', [str(arg) for arg in args])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope='session')
def out(tmp_path_factory) -> Path:
    """``--out`` of the dry runs, which share data and weights."""
    return tmp_path_factory.mktemp('reproduce')


@pytest.fixture
def oracle() -> Callable[..., Path]:
    """Function: (COCO file, result list to write, image ids or None for all) -> that
    list, with its objects."""

    def write(ann: Path, path: Path, images: set | None = None) -> Path:
        rows = [
            dict(image_id=a['image_id'], category_id=a['category_id'], bbox=a['bbox'],
                 score=0.5)
            for a in read_coco(ann).annotations
            if images is None or a['image_id'] in images
        ]  # fmt: skip
        path.write_text(json.dumps(rows))
        return path

    return write
