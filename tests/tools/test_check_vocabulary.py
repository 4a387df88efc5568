"""tools/check_vocabulary.py: its table and its exit code."""

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


def test_table_and_strict(run_tool):
    words = ['skis|滑雪板', 'snowboard|滑雪板', 'cats', 'cat']
    code, text, err = run_tool('check_vocabulary', *words)
    assert code == 0, err
    rows = text.splitlines()
    assert rows[0].startswith('shared       ') and "0 ('skis'), 1 ('snow" in rows[0]
    assert rows[1].startswith('plural       ') and "'cats' is the plural" in rows[1]
    assert rows[2] == '4 classes: 1 shared, 1 plural'
    assert run_tool('check_vocabulary', *words, '--strict')[:2] == (1, text)
    code, text, _ = run_tool('check_vocabulary', '--list', 'coco', '--strict')
    assert (code, text) == (0, '80 classes: no findings\n')


def test_encoder_and_files(run_tool, tmp_path):
    path = tmp_path / 'names.txt'
    names = [
        f'{colour} star'
        for colour in ['red', 'green', 'blue', 'black', 'white', 'pink']
    ]
    path.write_text('\n'.join([*names, 'a_b']), encoding='utf-8')
    words = ['--file', path, '--encoder', 'fgclip2_tiny', '--threshold', -1]
    code, text, err = run_tool('check_vocabulary', *words, '--cache-dir', tmp_path)
    assert code == 0, err
    assert '... and 1 more (--all shows them)' in text
    assert text.endswith('7 classes: 1 underscore, 21 near-synonym\n')
    assert len(list(tmp_path.glob('*.safetensors'))) == 1
    code, text, _ = run_tool('check_vocabulary', *words, '--all')
    assert code == 0 and len(text.splitlines()) == 1 + 21 + 1


def test_what_is_wrong_is_one_sentence(run_tool, tmp_path):
    for words, message in (
        ([], 'give either names, --list, --file or --coco'),
        (['cat', '--list', 'coco'], 'give either names'),
        (['--list', 'imagenet'], "got 'imagenet'"),
        (['--file', tmp_path / 'nowhere.txt'], 'cannot be read'),
        (['cat', ''], 'expected names such as'),
        (['a|x', 'b|x', '--encoder', 'fgclip2_tiny'], 'names both class 0'),
        (['cat', '--templates', 'nonsense'], 'templates must be one of'),
        (['cat', '--threshold', '2'], '--threshold is a cosine, got 2.0'),
    ):
        code, _, err = run_tool('check_vocabulary', *words)
        assert code == 2, words
        assert err.startswith('error: ') and message in err
        assert 'Traceback' not in err
    code, text, _ = run_tool('check_vocabulary', '--help')
    assert code == 0 and 'python tools/check_vocabulary.py --list lvis' in text


def test_names_in_one_string(run_tool):
    code, out, _ = run_tool('check_vocabulary', 'cat. cats. 白色杯子', '--strict')
    assert code == 1 and '3 classes: 1 plural' in out
