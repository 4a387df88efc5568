"""The stacks: what is installed in each, and what is run there."""

from __future__ import annotations

import dataclasses

ENCODER_TESTS = (
    'tests/compat',
    'tests/fgclip2',
    'tests/vocabulary',
    'tests/evaluation',
)
TORCHVISION_TESTS = (  # also processors of transformers that need it
    'tests/compat',
    'tests/tools/test_wrapped_closed_sets.py',
    'tests/tools/test_wrapped_prompted.py',
    'tests/tools/test_wrapped_sam3.py',
)


def pip(*words: str, **variables: str) -> tuple[dict[str, str], list[str]]:
    """Environment variables and arguments of ``python -m pip install``."""
    return variables, ['-m', 'pip', 'install', '-q', '--no-compile', *words]


PINNED = ('-c', 'constraints.txt')
HEADLESS = pip(*PINNED, '--no-deps', '--force-reinstall', 'opencv-python-headless')
MM = (pip(*PINNED, '-e', '.[mm,test]'), HEADLESS)
OLD_SETUPTOOLS = 'BUILD_CONSTRAINT'  # becomes a file that says setuptools<81
OTHER_TORCH = 'CONSTRAINTS_BUT_TORCH'  # becomes constraints.txt without torch's line
OPENMMLAB = (
    pip(*PINNED, '-e', '.[test]'),
    pip(
        '--no-deps', 'mmengine==0.10.7', 'mmcv==2.1.0', 'mmdet==3.3.0',
        PIP_CONSTRAINT=OLD_SETUPTOOLS, PIP_BUILD_CONSTRAINT=OLD_SETUPTOOLS,
    ),
    pip(*PINNED, 'mmengine==0.10.7', 'mmcv==2.1.0', 'mmdet==3.3.0'),  # what they need
    HEADLESS,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stack:
    """One environment.

    Args:
        name: on the command line and in the table.
        about: a few words for the table.
        installs: commands of :func:`pip`, one after the other.
        python: '3.12'.
        tests: paths for pytest.
        detector: whether the main job and the comparison of ops apply.
    """

    name: str
    about: str
    installs: tuple = MM
    python: str = '3.11'
    tests: tuple[str, ...] = ('tests/compat',)
    detector: bool = True


STACKS = (
    Stack('compiled', 'pinned versions, mmcv with compiled ops'),
    Stack('pinned', 'pinned versions, ops in PyTorch'),
    Stack(
        'torchvision', 'newer torch, with torchvision',
        (
            pip('torch==2.14.1', 'torchvision==0.29.1'),
            pip('-c', OTHER_TORCH, '-e', '.[mm,test]'),
            HEADLESS,
        ),
        tests=TORCHVISION_TESTS,
    ),
    Stack('openmmlab', "OpenMMLab's own mm packages", OPENMMLAB),
    Stack('python3.10', 'pinned versions, Python 3.10', python='3.10'),
    Stack('python3.12', 'pinned versions, Python 3.12', python='3.12'),
    Stack('python3.13', 'pinned versions, Python 3.13', python='3.13'),
    Stack(
        'no-mm', 'no mm package: encoder, vocabulary, evaluation',
        (pip(*PINNED, '-e', '.[test]'),), tests=ENCODER_TESTS, detector=False,
    ),
    Stack(
        'no-mmdet', 'mmengine and mmcv, no mmdet: the same',
        (pip(*PINNED, '-e', '.[test]', 'onedl-mmengine', 'onedl-mmcv'), HEADLESS),
        tests=ENCODER_TESTS, detector=False,
    ),
)  # fmt: skip
