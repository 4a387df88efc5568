"""README's two install-and-run commands, which .ci/run executes."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r'^```bash\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.fixture
def commands() -> list[str]:
    readme = ROOT / 'README.md'
    if not readme.is_file():
        pytest.skip('there is no README.md here')
    return BLOCK.findall(readme.read_text(encoding='utf-8'))[:2]


def test_first_two_blocks_are_one_valid_line_each(commands):
    assert len(commands) == 2
    for command in commands:
        assert len(command.strip().splitlines()) == 1, command
        checked = subprocess.run(['bash', '-n'], input=command, text=True, check=False)
        assert checked.returncode == 0, command


def test_every_install_is_pinned(commands):
    for command in commands:
        for install in re.findall(r'pip install [^&|;]*', command):
            assert '-c constraints.txt' in install


def test_commands_do_what_they_are_for(commands):
    train, tests = commands
    assert 'tools/train.py configs/ovd_fgclip2.py' in train
    assert 'pytest' in tests


def test_ci_runs_the_second_block(tmp_path):
    """With a README of its own, .ci/run executes the second line and no other."""
    script = tmp_path / '.ci' / 'run'
    script.parent.mkdir()
    script.write_text((ROOT / '.ci' / 'run').read_text())
    (tmp_path / 'README.md').write_text(
        '```bash\ntouch first\n```\nwords\n```bash\ntouch second; cat\n```\n'
        '```bash\ntouch third\n```\n'
    )
    (tmp_path / '.venv-test').mkdir()
    subprocess.run(['bash', str(script)], check=True, input=b'x', timeout=1800)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'.ci', 'README.md', 'second'}


@pytest.mark.parametrize(
    'page, found',
    [
        ('README.md', {'red circle', '黑色正方形'}),
        ('README_zh.md', {'红色圆形', 'black square'}),
    ],
)
def test_quick_start_runs(page: str, found: set[str], capsys):
    """The first lines of Python, as a reader would paste them: boxes, no training; of
    the three names two are in the image."""
    readme = (ROOT / page).read_text(encoding='utf-8')
    blocks = re.findall(r'^```python\n(.*?)^```', readme, re.MULTILINE | re.DOTALL)
    for block in blocks:
        compile(block, page, 'exec')
    names = {}
    exec(blocks[0], names)
    assert sorted(names['detections'].names) == sorted(found)
    printed = capsys.readouterr().out
    assert all(name in printed for name in found)


def test_files_that_the_readme_names_exist():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    for path in re.findall(r'(?:tools|configs|benchmarks)/[\w/.-]+\.py', readme):
        assert (ROOT / path).is_file(), path
