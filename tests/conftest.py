"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

if 'PYTEST_XDIST_WORKER' in os.environ:  # tests run side by side: a core for each
    os.environ.setdefault('OMP_NUM_THREADS', '1')
# mmcv's ops get what compiled ones assume, in the tools that tests start, too
os.environ.setdefault('FGCLIP2_CHECK_OPS', '1')

import fgclip2_det  # fills in missing ops before mmdet is imported

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def default_scope():
    """Names resolve as in MMDetection, whatever a runner of another test has set."""
    if not fgclip2_det.HAS_MM:
        yield
        return
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def fgclip2_tiny() -> Path:
    """Folder with a random model and the reference's outputs (README beside it)."""
    return ROOT / 'tests' / 'data' / 'golden' / 'fgclip2_tiny'


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder with real data and compiled ops kept beside the project.

    ``FGCLIP2_SHARED`` names it; ``../shared`` of the repository by default.
    """
    folder = Path(os.environ.get('FGCLIP2_SHARED', ROOT.parent / 'shared'))
    if not folder.is_dir():
        pytest.skip(f'needs the reference data in {folder} (set FGCLIP2_SHARED)')
    return folder
