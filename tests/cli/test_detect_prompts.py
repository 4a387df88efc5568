"""Options that say what to find: which belong together, and what comes of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.cli import detect as command
from fgclip2_det.cli.detect_prompts import read_names, vocabulary
from fgclip2_det.vocabulary.negatives import find_negatives


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> dict[str, Path]:
    """A red circle as an image and as a video."""
    folder = tmp_path_factory.mktemp('files')
    image = Image.new('RGB', (256, 192), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80, 140, 160), fill='red')
    image.save(folder / 'a.png')
    code = cv2.VideoWriter.fourcc(*'MJPG')
    video = cv2.VideoWriter(str(folder / 'a.avi'), code, 10, image.size)
    video.write(np.asarray(image)[..., ::-1])
    video.release()
    return {'images': folder / 'a.png', '--video': folder / 'a.avi'}


def asked(inferencer, *words: object):
    """The vocabulary of a command line."""
    args = command.parser().parse_args(['a.png', *map(str, words)])
    return vocabulary(args, read_names(args) or [], inferencer)


@pytest.mark.parametrize('source', ['images', '--video'])
@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--not', 'shadow'], '--not belongs to --names; give the names as well'),
        (['--attributes', '4'], '--attributes belongs to --names; give the names'),
        (['--words', 'noun=cup|plate'], '--words belongs to --names'),
        (['--unlike', 'a.png:1,2,3,4=cup', '--names', 'cup'],
         '--unlike belongs to --like; give boxes that show the class as well'),
        (['--save-prompts', 'x.safetensors', '--names', 'cup'],
         '--save-prompts belongs to --like'),
        (['--prompt-free', '--attributes', '4'], '--attributes belongs to --names'),
        (['--language', 'zh'], '--language belongs to --prompt-free; give that'),
        (['--names', 'cup', '--top', '7'], '--top belongs to --prompt-free'),
        (['--text-cache', 'texts'], '--text-cache belongs to --prompt-free'),
        (['--slice-overlap', '0'], '--slice-overlap belongs to --slices; give that'),
        (['--slice-whole'], '--slice-whole belongs to --slices'),
    ],
)  # fmt: skip
def test_options_of_others(files, source, words, message, capsys, tmp_path):
    where = [files[source]] if source == 'images' else [source, files[source]]
    with pytest.raises(SystemExit) as stop:
        cli.main(['detect', *map(str, [*where, '--out', tmp_path / 'out', *words])])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.startswith(f'error: {message}')
    assert err.count('\n') == 1 and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('words', [['--every', '1'], ['--track']])
def test_options_of_a_video(files, words, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        cli.main(['detect', str(files['images']), '--out', str(tmp_path / 'o'), *words])
    assert stop.value.code == 2
    assert f'{words[0]} belongs to --video; give that' in capsys.readouterr().err


def test_braces_of_a_file_have_negatives(inferencer, tmp_path):
    (tmp_path / 'names.txt').write_text('red {circle|square}\nblue star\n', 'utf-8')
    wanted = find_negatives([['red circle'], ['red square']])
    for names in 'red {circle|square}; blue star', tmp_path / 'names.txt':
        assert asked(inferencer, '--names', names).given_negatives == wanted
        more = '--names', names, '--not', 'shadow', '--attributes'
        both = asked(inferencer, *more[:-1]).given_negatives
        assert both == {'*': ['shadow'], **wanted}
        assert asked(inferencer, *more, 0).given_negatives == {'*': ['shadow']}
        assert 'blue star' in asked(inferencer, *more, 3).given_negatives


def test_aliases_of_a_class_that_is_shown(inferencer, files):
    like = f'{files["images"]}:60,80,140,160=red circle'
    found = asked(
        inferencer, '--names', 'Red circle|红色圆形|red disk; blue star', '--like', like
    )
    assert found.aliases == [['blue star'], ['red circle', '红色圆形', 'red disk']]
    assert found.prompts()[1] == ['red circle', '红色圆形', 'red disk']
    alone = asked(inferencer, '--names', 'blue star', '--like', like)
    assert alone.images.texts == (None,) and len(alone) == 2


def test_a_file_of_a_class_without_a_text(inferencer, files, tmp_path):
    saved = tmp_path / 'mine.safetensors'
    like = f'{files["images"]}:60,80,140,160=mine'
    asked(inferencer, '--like', like, '--save-prompts', saved)
    found = asked(inferencer, '--names', 'mine; blue star', '--like', saved)
    assert found.names == ['blue star', 'mine'] and found.images.texts == (None,)
