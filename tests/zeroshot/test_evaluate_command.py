"""``fgclip2-det zeroshot`` and ``python -m pretrain.evaluate`` as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import cli
from fgclip2_det.cli.zeroshot import parser
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary import TEMPLATE_SETS
from fgclip2_det.zeroshot.ovshapes import DEFAULT_SEED
from fgclip2_det.zeroshot.report import Report, format_table, write_json

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> None:
    cli.main(['zeroshot', *map(str, words)])


def test_help_names_the_defaults():
    """Written out, so that ``--help`` loads no PyTorch."""
    options = {a.dest: a for a in parser()._actions}
    assert set(options['templates'].choices) == set(TEMPLATE_SETS)
    assert f'default {DEFAULT_SEED}' in options['seed'].help


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    return encoder.save_pretrained(tmp_path_factory.mktemp('model'))


def test_ovshapes_is_the_default(checkpoint, tmp_path, capsys):
    out = tmp_path / 'new' / 'm.json'
    words = ['--checkpoint', checkpoint, '--data-root', tmp_path, '--out', out]
    words += ['--num-images', 8, '--seed', 3, '--device', 'cpu']
    run(*words)
    actual = json.loads(out.read_text(encoding='utf-8'))
    assert actual['seed'] == 3 and actual['data'] == 'ovshapes'
    assert actual['checkpoint'] == str(checkpoint)
    assert actual['versions']['torch'] == torch.__version__
    assert actual['counts']['images'] == 8
    assert [path.name for path in out.parent.iterdir()] == ['m.json']
    printed = capsys.readouterr().out
    share = actual['denominators']['box_top1/base/zh']
    percent = actual['metrics']['box_top1/base/zh']
    line = next(x for x in printed.splitlines() if x.startswith('box_top1/base/zh'))
    assert line.split()[1:] == [f'{percent:.2f}', str(share)]


def test_real_data_options(checkpoint, tmp_path, capsys):
    Image.new('RGB', (96, 64), 'red').save(tmp_path / 'a.png')
    (tmp_path / 'c.tsv').write_text('a.png\ta red picture\n', encoding='utf-8')
    start = ['--checkpoint', str(checkpoint), '--images', str(tmp_path)]
    start += ['--out', str(tmp_path / 'm.json'), '--ann']
    options = ['--data', 'retrieval', '--mode', 'long', '--max-num-patches', '16']
    run(*start, tmp_path / 'c.tsv', *options)
    actual = json.loads((tmp_path / 'm.json').read_text())
    assert actual['metrics']['retrieval/long/i2t'] == 100  # the only caption
    assert actual['max_num_patches'] == 16
    coco = {
        'images': [{'id': 1, 'file_name': 'a.png', 'width': 96, 'height': 64}],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [3, 4, 50, 40]}
        ],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }
    (tmp_path / 'coco.json').write_text(json.dumps(coco))
    (tmp_path / 'novel.txt').write_text('cat\n')
    options = ['--data', 'coco', '--novel', str(tmp_path / 'novel.txt')]
    run(*start, tmp_path / 'coco.json', *options)
    actual = json.loads((tmp_path / 'm.json').read_text())
    shares = actual['denominators']
    assert shares['box_top1/novel/en'] == 1 and shares['box_top1/base/en'] == 0
    assert 'box_top1/base/en' not in actual['metrics']
    lines = map(str.split, capsys.readouterr().out.splitlines())
    assert ['box_top1/base/en', '-', '0'] in list(lines)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--data coco', '--data coco needs --ann'),
        ('--data coco --ann x', '--data coco needs --images'),
        ('--ann x', '--ann is not an option of --data ovshapes'),
        ('--data fgovd --seed 1', '--seed is not an option of --data fgovd'),
        ('--data retrieval --images x --ann a b', 'takes one --ann, got 2'),
        ('--num-images 0', '--num-images must be positive'),
        ('--seed -1', 'seed must be an integer of at least 0'),
        ('--device foo', '--device foo cannot be used'),
        ('--checkpoint /no/such', 'expected a folder with config.json'),
        ('--out {tmp}', 'is a folder; name a JSON file'),
        ('--out {tmp}/file/m.json', 'cannot be written'),
        (
            '--data coco --images x --ann x --vocabulary v --language zh',
            'give --vocabulary or --language, not both',
        ),
    ],
)
def test_mistakes_are_one_sentence(checkpoint, tmp_path, capsys, words, message):
    (tmp_path / 'file').write_text('')
    words = words.format(tmp=tmp_path).split()
    base = ['--checkpoint', str(checkpoint), '--out', str(tmp_path / 'm.json')]
    with pytest.raises(SystemExit) as stop:
        run(*base, *words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    assert message in error
    assert not (tmp_path / 'm.json').exists()


def test_as_a_module(tmp_path):
    """An exit code, and no traceback."""
    words = ['--checkpoint', str(tmp_path), '--out', str(tmp_path / 'm.json')]
    command = [sys.executable, '-m', 'pretrain.evaluate', *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: ')
    assert 'Traceback' not in done.stderr


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / 'm.json'
    write_json(path, {'name': '红'})
    with pytest.raises(ValueError):
        write_json(path, {'percent': float('nan')})
    assert json.loads(path.read_text(encoding='utf-8')) == {'name': '红'}
    assert list(tmp_path.iterdir()) == [path]


def test_table_of_nothing_and_its_order():
    assert format_table(Report().to_dict()).split() == ['metric', '%', 'of']
    report = Report()
    for k in (1, 5, 10):
        report.add(f'r/t2i@{k}' if k > 1 else 'r/t2i', torch.tensor([1, 7]), k)
    lines = format_table(report.to_dict()).splitlines()[1:]
    assert [line.split() for line in lines] == [
        ['r/t2i', '50.00', '2'],
        ['r/t2i@5', '50.00', '2'],
        ['r/t2i@10', '100.00', '2'],
    ]
