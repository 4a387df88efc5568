"""The reference's random model of version 1."""

from pathlib import Path

import pytest

from tests.golden_folders import write_fgclip1


@pytest.fixture(scope='session')
def fgclip1_golden(tmp_path_factory) -> Path:
    """Folder with the model, inputs, and the reference's outputs."""
    return write_fgclip1(tmp_path_factory.mktemp('golden') / 'fgclip1_tiny')
