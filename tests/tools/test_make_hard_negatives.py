"""tools/make_hard_negatives.py as a user calls it."""

import json
from pathlib import Path

import pytest

from pretrain.hard_negatives import HardNegativeWriter, find_overlap

TOOL = 'make_hard_negatives'
RECORDS = [
    {
        'f_path': 'a.jpg',
        'caption': '长 caption',
        'bbox_info': [
            {'bbox': [0, 0, 1, 1], 'short_expr': 'a red cup on a wooden table'},
            {'bbox': [0, 0, 1, 1], 'short_expr': 'a person'},
            {
                'bbox': [0, 0, 1, 1],
                'short_expr': 'a red dog',
                'flag_short_neg': 1,
                'short_expr_negs': {'0': 'a black dog'},
            },
        ],
    },
    {'f_path': 'b.jpg', 'is_cn': True, 'bbox_info': [{'short_expr': '两只红色的狗'}]},
    {'f_path': 'c.jpg', 'short_caption': 'no boxes'},
]


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(RECORDS), encoding='utf-8')
    return path


def read(path: Path) -> list[dict]:
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.jsonl':
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def expect_error(done: tuple[int, str, str], *messages: str):
    code, _, err = done
    assert code == 2, err
    assert all(message in err for message in messages), err
    assert err.count('error: ') == 1 and 'Traceback' not in err


def test_json(ann, run_tool, tmp_path):
    out = tmp_path / 'new' / 'out.json'
    code, shown, err = run_tool(TOOL, ann, '--out', out)
    assert code == 0, err
    first, second, third = read(out)
    cup, person, dog = first['bbox_info']
    expected = HardNegativeWriter().write('a red cup on a wooden table')
    assert cup['short_expr_negs'] == {str(i): text for i, text in enumerate(expected)}
    assert cup['flag_short_neg'] == 1 and cup['bbox'] == [0, 0, 1, 1]
    assert person == RECORDS[0]['bbox_info'][1] | {'flag_short_neg': 0}
    assert dog == RECORDS[0]['bbox_info'][2]
    (chinese,) = second['bbox_info']
    assert len(chinese['short_expr_negs']) == 10
    assert all('只' in text for text in chinese['short_expr_negs'].values())
    assert third == RECORDS[2] and first['caption'] == '长 caption'
    assert '两只' in out.read_text(encoding='utf-8')  # not escaped
    assert '3 records, 4 phrases' in shown and '1 kept their existing' in shown
    assert '2 got 10 negatives' in shown and '1 got none' in shown
    assert [path.name for path in out.parent.iterdir()] == ['out.json']


@pytest.mark.parametrize('workers', [0, 2])
def test_jsonl_and_workers_give_the_same(ann, run_tool, tmp_path, workers):
    lines = '\n\n'.join(map(json.dumps, RECORDS))
    source, out = tmp_path / 'ann.jsonl', tmp_path / 'out.jsonl'
    source.write_text(lines, encoding='utf-8')
    assert run_tool(TOOL, source, '--out', out, '--workers', workers)[0] == 0
    assert run_tool(TOOL, ann, '--out', tmp_path / 'out.json')[0] == 0
    assert read(out) == read(tmp_path / 'out.json')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'gb18030'])
def test_encodings(ann, run_tool, tmp_path, encoding):
    for name in ('ann.json', 'ann.jsonl'):
        lines = [json.dumps(record, ensure_ascii=False) for record in RECORDS]
        text = '\n'.join(lines) if name[-1] == 'l' else f'[{",".join(lines)}]'
        (tmp_path / name).write_text(text, encoding=encoding)
        assert run_tool(TOOL, tmp_path / name, '--out', tmp_path / f'o.{name}')[0] == 0
    assert read(tmp_path / 'o.ann.json') == read(tmp_path / 'o.ann.jsonl')
    assert read(tmp_path / 'o.ann.json')[0]['caption'] == '长 caption'


def test_folder(ann, run_tool, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    ann.rename(folder / 'x.json')
    (folder / 'y.jsonl').write_text(json.dumps(RECORDS[1]) + '\n', encoding='utf-8')
    (folder / 'notes.txt').write_text('no annotations')
    assert run_tool(TOOL, folder, '--out', tmp_path / 'out')[0] == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'x.json', 'y.jsonl'}
    assert read(tmp_path / 'out' / 'y.jsonl') == read(tmp_path / 'out' / 'x.json')[1:2]


def test_in_place_twice_changes_nothing(ann, run_tool):
    before = ann.read_bytes()
    for out in (ann, ann.parent / '.' / ann.name):
        code, _, err = run_tool(TOOL, ann, '--out', out)
        assert code == 2 and 'or add --in-place' in err and ann.read_bytes() == before
    code, _, err = run_tool(TOOL, ann.parent, '--out', ann.parent)
    assert code == 2 and 'or add --in-place' in err and ann.read_bytes() == before
    words = [ann, '--out', ann, '--in-place']
    assert run_tool(TOOL, *words)[0] == 0
    once = ann.read_bytes()
    assert once != before and run_tool(TOOL, *words, '--seed', 5)[0] == 0
    assert ann.read_bytes() == once
    assert run_tool(TOOL, *words, '--seed', 5, '--overwrite')[0] == 0
    assert ann.read_bytes() != once


def test_options(ann, run_tool, tmp_path):
    names, words = tmp_path / 'names.txt', tmp_path / 'words.json'
    names.write_text('black dog\n\n蓝色狗\n', encoding='utf-8')
    axis = {'rule': 'free', 'entries': ['person', 'robot', 'statue']}
    content = {'en': {'families': {'being': {'being': axis}}}}
    words.write_text(json.dumps(content), encoding='utf-8')
    out = tmp_path / 'out.json'
    options = ['--forbidden', names, '--lexicon', words, '--num', 3, '--expr', 'both']
    code, shown, err = run_tool(TOOL, ann, '--out', out, *options)
    assert code == 0, err
    assert 'warning: 1 of those kept contain forbidden names' in shown
    records = read(out)
    cup, person, _ = records[0]['bbox_info']
    assert len(cup['short_expr_negs']) == 3
    assert set(person['short_expr_negs'].values()) == {'a robot', 'a statue'}
    assert cup['flag_long_neg'] == 0

    options = ['--forbidden', names, '--overwrite', '--num', 40, '--min-num', 15]
    code, shown, err = run_tool(TOOL, ann, '--out', out, *options)
    assert code == 0 and 'warning' not in shown, err
    records = read(out)
    assert find_overlap(records, ['black dog', '蓝色狗']) == {}
    assert len(records[0]['bbox_info'][2]['short_expr_negs']) >= 15
    assert records[0]['bbox_info'][1]['flag_short_neg'] == 0


@pytest.mark.parametrize(
    ('content', 'options', 'messages'),
    [
        ('[', [], ['ann.json, record 0 is not valid JSON']),
        ('{}', [], ['must be a JSON list of records']),
        ('[{}, 3]', [], ['record 1 must be an object, got int']),
        (
            '[{"bbox_info": [{"short_expr": 3}]}]',
            ['--workers', '2'],
            ['record 0: box 0: short_expr must be a text, got 3'],
        ),
        ('[]', ['--num', '0'], ['--min-num 1 is more than --num 0']),
        ('[]', ['--workers', '-1'], ['--workers must be at least 0, got -1']),
        ('[]', ['--min-num', '11'], ['--min-num 11 is more than --num 10']),
        ('[]', ['--forbidden', 'none.txt'], ['none.txt']),
        ('[]', ['--lexicon', 'none.json'], ['none.json']),
        ('[]', ['--lexicon', 'ann.json'], ['ann.json', 'must be an object']),
        ('[]', ['--out', 'out.txt'], ['out.txt must end in .json or .jsonl']),
    ],
)
def test_errors(ann, run_tool, tmp_path, content, options, messages):
    """One sentence, and nothing is left behind."""
    ann.write_text(content)
    out = [] if '--out' in options else ['--out', 'out.json']
    expect_error(run_tool(TOOL, ann, *out, *options), *messages)
    assert [path.name for path in tmp_path.iterdir()] == ['ann.json']


def test_wrong_paths(ann, run_tool, tmp_path):
    expect_error(run_tool(TOOL, 'no.json', '--out', 'out.json'), 'does not exist')
    (tmp_path / 'empty').mkdir()
    done = run_tool(TOOL, tmp_path / 'empty', '--out', 'out')
    expect_error(done, 'holds no .json or .jsonl files')
    done = run_tool(TOOL, tmp_path, '--out', ann)
    expect_error(done, 'is a file, but', 'is a folder')
    lines = tmp_path / 'ann.jsonl'
    lines.write_text('{}\n{"bbox_info"\n')
    done = run_tool(TOOL, lines, '--out', 'out.jsonl')
    expect_error(done, 'ann.jsonl, record 1 is not valid JSON')
