"""The documentation builds, and says nothing that is not there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path for path in (ROOT / 'docs').glob('*.md') if not path.name.startswith('_')
)
LINK = re.compile(r'\]\(([^)#\s]+)(?:#[\w-]+)?\)')

pytestmark = pytest.mark.skipif(
    not (ROOT / 'mkdocs.yml').is_file(), reason='no documentation beside these tests'
)


def test_site_builds_without_a_warning(tmp_path):
    """Dead links, anchors and names of the interface are warnings."""
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict']
    run = subprocess.run(
        [*command, '--site-dir', str(tmp_path / 'site')],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    front = (tmp_path / 'site' / 'index.html').read_text(encoding='utf-8')
    assert 'OpenVocabInferencer' in front
    assert (tmp_path / 'site' / 'index_zh' / 'index.html').is_file()


@pytest.mark.parametrize('name', ['README.md', 'README_zh.md'])
def test_links_of_the_readme_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding='utf-8')
    for target in LINK.findall(text):
        if '://' not in target:
            assert (ROOT / target).exists(), target


def test_readme_is_one_page():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 150


def test_both_readmes_have_the_same_commands():
    blocks = [
        re.findall(r'^```bash\n(.*?)^```', text, re.MULTILINE | re.DOTALL)[:2]
        for text in (
            (ROOT / 'README.md').read_text(encoding='utf-8'),
            (ROOT / 'README_zh.md').read_text(encoding='utf-8'),
        )
    ]
    assert blocks[0] == blocks[1]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_pages_name_files_that_exist(page):
    text = page.read_text(encoding='utf-8')
    for path in re.findall(r'(?:tools|configs|benchmarks)/[\w/.-]+\.py\b', text):
        if '...' not in path:
            assert (ROOT / path).is_file(), path
