"""Numbers of README and docs are those of the files in ``docs/results``."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import make_results, pages, records
from benchmarks.records import Recipe, ResultError

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = {
    'open_vocab/base': 0.93804,
    'n': 1203,
    'runs': [{'x': 1.0}, {'x': 2.0}, {'x': 6.0}],
    'text': 'fast',
    'rows': [
        {'rule': 'logit', 'nms': None, 'ap': 0.125},
        {'rule': 'logit', 'nms': 0.5, 'ap': 0.25},
        {'rule': 'geometric', 'nms': None, 'ap': 0.5},
    ],
    'two words, one key': {'n': 7},
}

pytestmark = pytest.mark.skipif(
    not (ROOT / 'docs/results').is_dir(), reason='no documentation beside these tests'
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout with one page and one result."""
    folder = tmp_path / 'docs/results'
    folder.mkdir(parents=True)
    (tmp_path / 'README.md').write_text(
        '0.938<!--= run/open_vocab/base --> of `0.05`\n'
    )
    record = {'sha256': records.json_digest(OUTPUT), 'output': OUTPUT}
    (folder / 'run.json').write_text(json.dumps(record))
    return tmp_path


def test_every_number_is_that_of_its_file():
    assert list(pages.check(ROOT)) == []


def test_every_result_has_its_recipe_and_state():
    recipes = records.read_recipes()
    files = {path.stem for path in (ROOT / 'docs/results').glob('*.json')}
    for name in files - {'commands'}:
        record = records.read_record(name)
        assert record['commands'] == list(recipes[name].commands), name
        assert record['commit'] and record['machine']['cpu'] and record['versions']


@pytest.mark.parametrize(
    ('path', 'number'),
    [
        ('open_vocab/base', 0.93804),
        ('runs/0/x', 1.0),
        ('runs/-1/x', 6.0),
        ('runs/*/x:mean', 3.0),
        ('runs/*/x:median', 2.0),
        ('runs/*/x:std', 7**0.5),
        ('rows/[rule=geometric;nms=None]/ap', 0.5),
        ('rows/[rule=logit;nms=0.5]/ap', 0.25),
    ],
)
def test_a_number_is_found(path, number):
    assert records.value_at(OUTPUT, path) == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize(
    'path',
    [
        'absent',
        'runs',
        'runs/3/x',
        'text',
        'runs/*/x',
        'runs/*/x:sum',
        'n/0',
        'rows/[rule=logit]/ap',
        'rows/[rule=other]/ap',
        'rows/[logit]/ap',
        'rows/[typo=None]/ap',
        'rows/[]/ap',
        'text/[a=1]',
    ],
)
def test_no_number_is_an_error(path):
    with pytest.raises(ResultError, match=re.escape(path.partition(':')[0])):
        records.value_at(OUTPUT, path)


def test_numbers_keep_their_digits(root):
    page = root / 'README.md'
    page.write_text(
        '0.1<!--= run/open_vocab/base -->, 1.0000<!--= run/open_vocab/base -->, '
        '9,999<!--= run/n -->, 7<!--= run/runs/*/x:mean -->, '
        '5<!--= run/two words, one key/n -->\n'
    )
    assert pages.write(root) == [page]
    assert page.read_text() == (
        '0.9<!--= run/open_vocab/base -->, 0.9380<!--= run/open_vocab/base -->, '
        '1,203<!--= run/n -->, 3<!--= run/runs/*/x:mean -->, '
        '7<!--= run/two words, one key/n -->\n'
    )
    assert pages.write(root) == []


def test_a_row_has_one_place_for_its_numbers(root):
    page = root / 'README.md'
    place = 'run/runs/{*,0}/x:{mean,max}'
    page.write_text(
        f'0.9380<!--= run/open_vocab/base -->\n| 0.5<!--=row {place} --> |\n'
    )
    assert list(pages.check(root)) == [
        f'README.md: {place}: 4 places for the 1 numbers with a decimal '
        'point before it in its line: 0.5'
    ]
    with pytest.raises(ResultError, match='4 places for the 1 numbers'):
        pages.write(root)
    row = '| way 2 | 9.0 ± 9.00 | 9.0 / 9.00 |'
    page.write_text(f'{row}<!--=row {place} -->\n0.44\n')
    assert pages.write(root) == [page]
    wanted = '| way 2 | 3.0 ± 6.00 | 1.0 / 1.00 |'
    assert page.read_text() == f'{wanted}<!--=row {place} -->\n0.44\n'
    (only,) = pages.check(root)
    assert '0.44 has no file' in only


def test_what_a_row_passes_over(root):
    """Code, links, versions, whole numbers and numbers with a comment of their own."""
    page = root / 'README.md'
    row = (
        '| 12 of `x=0.65`, [1.2](a/0.25.png), v1.5, 1.2.3 | '
        '0.9<!--= run/open_vocab/base --> | -0.5 | 9,999.00 |<!--=row run/{low,n} -->'
        ' 0.1<!--=row run/runs/0/x -->\n'
    )
    page.write_text(row.replace('[1.2]', '[a]'))
    output = {**OUTPUT, 'low': -0.26}
    record = {'sha256': records.json_digest(output), 'output': output}
    (root / 'docs/results/run.json').write_text(json.dumps(record))
    assert pages.write(root) == [page]
    assert page.read_text() == (
        '| 12 of `x=0.65`, [a](a/0.25.png), v1.5, 1.2.3 | '
        '0.9<!--= run/open_vocab/base --> | -0.3 | 1,203.00 |<!--=row run/{low,n} -->'
        ' 1.0<!--=row run/runs/0/x -->\n'
    )
    assert list(pages.check(root)) == pages.write(root) == []


def test_no_page_is_written_where_a_number_is_not_there(root):
    (root / 'README.md').write_text('0.1<!--= run/open_vocab/base -->')
    (root / 'docs/page.md').write_text('0.1<!--= run/absent -->')
    with pytest.raises(ResultError, match=r'docs/page\.md: .*absent'):
        pages.write(root)
    assert (root / 'README.md').read_text().startswith('0.1<')


def test_places_of_a_row():
    assert pages.expanded('a/{b,c}/d:{e,f}') == [
        'a/b/d:e', 'a/b/d:f', 'a/c/d:e', 'a/c/d:f',
    ]  # fmt: skip
    assert pages.expanded('{{a,b}}/{c,d}/{{e,f}}:x') == [
        'a/c/e:x', 'a/c/f:x', 'b/c/e:x', 'b/c/f:x',
        'a/d/e:x', 'a/d/f:x', 'b/d/e:x', 'b/d/f:x',
    ]  # fmt: skip
    assert pages.expanded('two words, one key/n') == ['two words, one key/n']


def test_what_a_check_finds(root):
    page = root / 'README.md'
    assert list(pages.check(root)) == []
    page.write_text(
        '0.937<!--= run/open_vocab/base -->, 0.5<!--= other/ap -->, 0.44, `0.45`, 0.44'
    )
    wrong, absent, *new = pages.check(root)
    assert '0.937 stands where run/open_vocab/base is 0.938' in wrong
    assert 'other.json' in absent
    assert [fault[:26] for fault in new] == ['README.md: 0.44 has no fil'] * 2


def test_figures_are_no_versions_settings_or_links():
    text = (
        'Python 3.11, 1.13.12, torch==2.13.0, 2510.10921, `0.05`, [a](x0.25.png), v1.25'
    )
    assert pages.figures_without_file(text) == []
    assert pages.figures_without_file('0.938, 0.92 ± 0.01 | 12.50%') == [
        '0.938',
        '0.92',
        '0.01',
        '12.50',
    ]


def test_an_edited_output_is_refused(root):
    path = root / 'docs/results/run.json'
    path.write_text(path.read_text().replace('0.93804', '0.99'))
    with pytest.raises(ResultError, match='another digest'):
        records.read_record('run', path.parent)


def test_a_result_is_recorded(root, monkeypatch):
    monkeypatch.setattr(records, '_changed_files', lambda: [])
    code = 'import json, sys; json.dump({"ap": 0.5}, open(sys.argv[1], "w"))'
    command = (
        f"python -c '{code.replace('{', '{{').replace('}', '}}')}' {{work}}/a.json"
    )
    recipe = Recipe((command,), {'one': '{work}/a.json'}, ('README.md',), 1)
    folder = root / 'docs/results'
    record = records.make('new', recipe, folder)
    assert records.read_record('new', folder) == record
    assert record['output'] == {'one': {'ap': 0.5}} and record['machine']['cores'] >= 1
    assert len(record['inputs']['README.md']) == 64
    with pytest.raises(ResultError, match='exit status 3'):
        records.make('bad', Recipe(("python -c 'raise SystemExit(3)'",), ''), folder)
    monkeypatch.setattr(records, '_changed_files', lambda: ['a.py'])
    with pytest.raises(ResultError, match=r'a\.py: 1 files differ'):
        records.make('new', recipe, folder)


def test_a_result_is_recorded_in_parts(root, monkeypatch):
    """Commands that ended well are not run again; the state must be the same."""
    monkeypatch.setattr(records, '_changed_files', lambda: [])
    code = 'import json, sys; json.dump(dict(n=len(open(sys.argv[2], "a").name)), '
    code += 'open(sys.argv[1], "w")); open(sys.argv[2], "a").write("x")'
    commands = tuple(
        f"python -c '{code}' {{work}}/{i}.json {{work}}/runs_{i}" for i in range(2)
    )
    recipe = Recipe(commands, {str(i): f'{{work}}/{i}.json' for i in range(2)})
    folder, work = root / 'docs/results', root / 'a/work'  # made where it is not
    assert records.make('new', recipe, folder, work, only=[1]) is None
    assert not (folder / 'new.json').exists() and not (work / 'runs_0').exists()
    record = records.make('new', recipe, folder, work)
    assert set(record['output']) == {'0', '1'} and record['seconds'] >= 0
    assert records.make('new', recipe, folder, work)['output'] == record['output']
    assert (work / 'runs_0').read_text() == (work / 'runs_1').read_text() == 'x'
    with pytest.raises(ResultError, match='there is no command 2 of 2'):
        records.make('new', recipe, folder, work, only=[2])
    monkeypatch.setattr(records, 'commit', lambda: 'another')
    with pytest.raises(ResultError, match=r'commit was \w+ and is another'):
        records.make('new', recipe, folder, work)


def test_the_command(capsys):
    assert make_results.main(['--check']) == 0
    assert 'every number is that of its file' in capsys.readouterr().out
    assert make_results.main(['--record', 'absent']) == 2
    assert "no result 'absent'" in capsys.readouterr().err
    assert make_results.main(['--record', 'prompts', '--only', '0']) == 2
    assert '--only needs --work DIR' in capsys.readouterr().err
    assert make_results.main(['--check', '--work', 'x']) == 2
    assert 'need --record NAME' in capsys.readouterr().err
    assert make_results.main(['--list']) == 0
    assert 'tools/train.py configs/ovd_fgclip2.py' in capsys.readouterr().out
