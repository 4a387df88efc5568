"""The commands of docs/coming_from.md run, on shapes in the place of photographs."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.cli import main, prepare_data

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'coming_from.md'
OF_A_SYSTEM = ('--detector', '--weights', '--encoder')  # that nobody has here

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason='no documentation here')


def commands(start: str) -> list[list[str]]:
    """Words of the page's commands that start so, without options of a system."""
    text = PAGE.read_text(encoding='utf-8').replace('\\\n', ' ')
    found = []
    for line in re.findall(rf'^{start}.*$', text, re.MULTILINE):
        words = shlex.split(line)
        for option in OF_A_SYSTEM:
            while option in words:
                del words[words.index(option) : words.index(option) + 2]
        found.append(words)
    return found


@pytest.fixture
def photographs(tmp_path, monkeypatch) -> Path:
    """The files that the page's commands name, of shapes."""
    image = Image.new('RGB', (256, 200), 'gray')
    ImageDraw.Draw(image).ellipse((45, 65, 115, 145), fill='red')
    for name in ('photos/a.png', 'images/animals.png', 'desk.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
    text = PAGE.read_text(encoding='utf-8')
    (block,) = re.findall(r'```yaml\n(.*?)```', text, re.DOTALL)
    (tmp_path / 'classes.yaml').write_text(block, encoding='utf-8')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_detect_and_annotate(photographs):
    rows = commands('fgclip2-det ')
    assert len(rows) == 7
    for words in rows:
        main(words[1:])
    assert (photographs / 'found' / 'detections.json').is_file()
    assert (photographs / 'mine.safetensors').is_file()
    assert (photographs / 'labels' / 'yolo' / 'data.yaml').is_file()


def test_other_commands_are_those_of_this_project():
    (prepare,) = commands('python tools/prepare_data.py')
    parsed = prepare_data.parser().parse_args(prepare[2:])
    assert parsed.out_dir is not None
    (train,) = commands('python tools/train.py')
    assert (ROOT / train[2]).is_file()
