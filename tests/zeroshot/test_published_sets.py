"""The table of the paper's tasks and sets: whole, and of commands that exist."""

import re
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.cli.evaluate import PROTOCOLS
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot.published_sets import (
    NUM_SETS,
    NUM_TASKS,
    PUBLISHED_SETS,
    sets_table,
)
from fgclip2_det.zeroshot.suite import BENCHMARKS

ROOT = Path(__file__).resolve().parents[2]
# sets of each task, by the tables of the paper's results (arXiv:2510.10921)
COUNTS = {
    'fine-grained understanding': 1,
    'bounding box classification': 3,
    'open-vocabulary detection': 2,
    'English retrieval': 4,
    'Chinese retrieval': 5,
    'image classification': 2,
    'open-vocabulary segmentation': 6,
    'large multimodal models': 6,
}


def test_all_tasks_and_sets_are_there():
    assert Counter(each.task for each in PUBLISHED_SETS) == COUNTS
    assert (len(COUNTS), sum(COUNTS.values())) == (NUM_TASKS, NUM_SETS) == (8, 29)
    names = [(each.task, each.name) for each in PUBLISHED_SETS]
    assert len(set(names)) == len(names)


def test_they_are_the_specification_s(shared):
    """Its section E counts them in one sentence: '(1)', '(3)', ..., '(= 29; ...'."""
    path = shared / 'fgclip2-spec.md'
    if not path.is_file():
        pytest.skip(f'needs {path}')
    text = path.read_text(encoding='utf-8')
    sentence = re.search(r'^8 tasks / 29 datasets.*$', text, re.MULTILINE)
    assert sentence
    counts = [int(n) for n in re.findall(r'\((\d+)\)', sentence.group())]
    retrieval = COUNTS['English retrieval'] + COUNTS['Chinese retrieval']
    others = [n for task, n in COUNTS.items() if 'retrieval' not in task]
    assert counts == [*others[:3], retrieval, *others[3:]]


@pytest.mark.parametrize('each', PUBLISHED_SETS, ids=lambda each: each.name)
def test_commands_exist(each):
    """Every script is a file, every benchmark and protocol is known; a set without a
    command has its reason, and what it names is there."""
    assert each.verified and '|' not in each.verified + each.command
    if not each.command:
        assert each.verified.startswith(('not built', 'as GQA'))
        return
    for command in each.command.split(', '):
        script, *words = command.split()
        assert (ROOT / script).is_file(), script
        if script == 'tools/benchmark.py':
            [name] = words
            assert name in BENCHMARKS
        if '--protocol' in words:
            assert words[words.index('--protocol') + 1] in PROTOCOLS


def test_a_set_like_another_names_one_of_its_task():
    firsts = {each.name: each for each in PUBLISHED_SETS}
    for each in PUBLISHED_SETS:
        if each.verified.startswith('as '):
            like = firsts[each.verified.removeprefix('as ')]
            assert like.task == each.task and not like.verified.startswith('as ')
    assert hasattr(FGCLIP2, 'llm_tokens')  # the reason of the last task names it


def test_every_set_is_a_row_of_the_page():
    page = (ROOT / 'docs/benchmarks.md').read_text(encoding='utf-8')
    assert '\n'.join(sets_table()) in page
    for each in PUBLISHED_SETS:
        assert f'| {each.task} | {each.name} | ' in page
    assert '8 tasks and 29 sets' in page
