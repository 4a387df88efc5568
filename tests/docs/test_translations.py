"""Pages in Chinese have the code, the images and the sections of the English ones."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / 'docs').glob('*_zh.md'))
CODE = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r'!\[[^\]]*\]\(([^)]+)\)')
FIGURE = re.compile(r'\d+\.\d+')

pytestmark = pytest.mark.skipif(not PAGES, reason='no documentation beside these tests')


def english(page: Path) -> str:
    name = page.name.replace('_zh.md', '.md')
    return page.with_name(name).read_text(encoding='utf-8')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_pages_agree(page):
    if page.name == 'index_zh.md':
        pytest.skip('its example has other names')
    own, other = page.read_text(encoding='utf-8'), english(page)
    assert CODE.findall(own) == CODE.findall(other)
    assert IMAGE.findall(own) == IMAGE.findall(other)
    own, other = CODE.sub('', own), CODE.sub('', other)
    levels = [re.findall(r'^#+ ', text, re.MULTILINE) for text in (own, other)]
    assert levels[0] == levels[1]
    tables = [re.findall(r'^\|(?:-+\|)+$', text, re.MULTILINE) for text in (own, other)]
    assert tables[0] == tables[1]  # columns too
    assert sorted(FIGURE.findall(own)) == sorted(FIGURE.findall(other))


def test_main_pages_are_there():
    names = {page.name.replace('_zh.md', '') for page in PAGES}
    assert names >= {
        'detect',
        'annotate',
        'serve',
        'rescoring',
        'integrations',
        'install',
    }
