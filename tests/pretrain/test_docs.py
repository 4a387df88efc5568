"""docs/pretrain.md: its commands, files and example record."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.cli.zeroshot import parser
from pretrain.data.records import to_sample

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'pretrain.md'
CONFIGS = ROOT / 'configs' / 'pretrain'


@pytest.fixture(scope='module')
def page() -> str:
    if not PAGE.is_file():
        pytest.skip('there is no docs/pretrain.md here')
    return PAGE.read_text(encoding='utf-8')


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf'^```{language}\n(.*?)^```', page, re.MULTILINE | re.DOTALL)


def test_files_exist(page):
    paths = re.findall(r'(?:tools|configs)/[\w/.-]+\.py', page)
    named = re.findall(r'`(fgclip2_[^`]+\.py)`', page)
    paths += [f'configs/pretrain/{name}' for name in named]
    names = [path for path in paths if '{' not in path]
    assert len(names) > 15
    assert [name for name in names if not (ROOT / name).is_file()] == []
    suffixes = re.findall(r'`\.\.\.(-\w+-1e_finehard\.py)`', page)
    assert len(suffixes) == 2
    for suffix in suffixes:
        assert len(list(CONFIGS.glob(f'*{suffix}'))) == 3  # b16, l16, so16


def test_commands_are_valid(page):
    """For bash; and what pretrain.evaluate takes is what is written."""
    evaluations = 0
    for block in blocks(page, 'bash'):
        checked = subprocess.run(['bash', '-n'], input=block, text=True, check=False)
        assert checked.returncode == 0, block
        for line in block.replace('\\\n', ' ').splitlines():
            words = shlex.split(line, comments=True)
            if 'pretrain.evaluate' in words:
                parser().parse_args(words[words.index('pretrain.evaluate') + 1 :])
                evaluations += 1
    assert evaluations == 4


def test_example_record_is_one(page):
    [text] = blocks(page, 'json')
    image = Image.new('RGB', (40, 30))
    sample = to_sample(json.loads(text), image, np.random.default_rng(0), expr='long')
    assert sample.phrases == ['a black cat on a red sofa']
    assert sample.hard_positives == ['a black cat']
    assert sample.hard_negatives == [['a white cat', 'a black dog']]
    np.testing.assert_allclose(sample.bboxes, [[4, 6, 20, 27]], rtol=1e-5)
