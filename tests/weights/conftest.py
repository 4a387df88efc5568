"""Released weights, where there are some: ``FGCLIP2_WEIGHTS=FOLDER``."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fgclip2_det.reproduce.releases import Release

CATS = 'val2017/000000039769.jpg'


@pytest.fixture
def released() -> Callable[..., Path]:
    """Function: (release, other reasons to skip) -> its folder; skips the test where it
    is not there."""

    def find(release: Release, *others: str) -> Path:
        root = os.environ.get('FGCLIP2_WEIGHTS')
        folder = release.folder(Path(root or 'weights'))
        reasons = [reason for reason in others if reason]
        if root is None or not folder.is_dir():
            where = '' if root is None else f' (now {root})'
            how = f'FGCLIP2_WEIGHTS=FOLDER{where} with {release.how_to_get()}'
            reasons.insert(0, how)
        if reasons:
            pytest.skip(f'needs {"; and ".join(reasons)}')
        return folder

    return find


@pytest.fixture
def cats() -> tuple[Path, str]:
    """The photograph of two cats that transformers' tests use, and how to get it where
    it is not there."""
    path = Path(os.environ.get('COCO_ROOT', 'data/coco')) / CATS
    if path.is_file():
        return path, ''
    return path, (
        f'COCO_ROOT=FOLDER (now {path.parents[1]}) with {CATS} of COCO val2017 '
        '(https://cocodataset.org/#download, 1 GB; the picture alone, 0.2 MB: '
        f'http://images.cocodataset.org/{CATS})'
    )
