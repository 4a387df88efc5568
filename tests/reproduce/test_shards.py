"""Stopped runs, shares of a run, folders of other runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from fgclip2_det.coco.results import Results
from fgclip2_det.evaluation.lvis_ap import within_limit
from fgclip2_det.reproduce import merging
from fgclip2_det.reproduce.benchmarks import BENCHMARKS
from fgclip2_det.reproduce.detecting import parse_detector
from fgclip2_det.reproduce.questions import Ask, Item, Questions
from fgclip2_det.reproduce.run import parse_share
from fgclip2_det.reproduce.shards import (
    Rows,
    ShardFolder,
    join_rows,
    make_rows,
    without_repetition,
)


def random_rows(count: int, items: int, labels: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 50, (count, 2))
    rows = make_rows(
        0,
        0,
        rng.integers(0, labels, count),
        np.concatenate([start, start + rng.uniform(1, 40, (count, 2))], 1),
        rng.random(count),
    )
    item = np.sort(rng.integers(0, items, count)).astype(np.int32)
    return Rows(item, rows.ask, rows.label, rows.boxes, rows.scores)


def test_shards_come_back(tmp_path):
    shards = ShardFolder(tmp_path, {'what': 'a'}, 5, 2)
    assert shards.missing() == [0, 1, 2] and list(shards.items_of(2)) == [4]
    rows = random_rows(30, 2, 7)
    shards.write(1, rows)
    shards.write(2, make_rows(0, 0, [], [], []))
    again = ShardFolder(tmp_path, {'what': 'a'}, 5, 2)
    assert again.missing() == [0] and len(again.read(2)) == 0
    for name, column in vars(again.read(1)).items():
        np.testing.assert_array_equal(column, getattr(rows, name))
    np.testing.assert_array_equal(
        join_rows([rows.of(0), rows.of(1)]).scores, rows.scores
    )


@pytest.mark.parametrize(
    ('header', 'num_items', 'size', 'match'),
    [
        ({'what': 'b'}, 5, 2, "what is 'a' there and 'b' now"),
        ({'what': 'a', 'more': 1}, 5, 2, 'more is None there and 1 now'),
        ({'what': 'a'}, 5, 3, 'shard_size is 2 there and 3 now'),
        ({'what': 'a'}, 6, 2, 'num_images is 5 there and 6 now'),
    ],
)
def test_folders_of_other_runs(header, num_items, size, match, tmp_path):
    ShardFolder(tmp_path, {'what': 'a'}, 5, 2)
    with pytest.raises(ValueError, match=match):
        ShardFolder(tmp_path, header, num_items, size)


def test_files_of_other_runs(tmp_path):
    """From another machine with other weights, from another place, cut off."""
    ours = ShardFolder(tmp_path / 'ours', {'weights': 'a'}, 4, 2)
    theirs = ShardFolder(tmp_path / 'theirs', {'weights': 'b'}, 4, 2)
    for folder in (ours, theirs):
        folder.write(0, random_rows(9, 2, 3))
    ours.file(1).write_bytes(theirs.file(0).read_bytes())
    with pytest.raises(ValueError, match='of another run, or of another place'):
        ours.read(1)
    ours.file(1).write_bytes(ours.file(0).read_bytes())
    with pytest.raises(ValueError, match='of another run, or of another place'):
        ours.read(1)
    ours.file(1).write_bytes(ours.file(0).read_bytes()[:-3])
    with pytest.raises(ValueError, match='cut off or no shard'):
        ours.read(1)
    ours.write(1, random_rows(9, 3, 3))  # three images, two in a shard
    with pytest.raises(ValueError, match='values that cannot be'):
        ours.read(1)
    (tmp_path / 'ours' / 'run.json').unlink()
    with pytest.raises(ValueError, match=r'has shards but no run\.json'):
        ShardFolder(tmp_path / 'ours', {'weights': 'a'}, 4, 2)


def test_equal_rows_are_one():
    rows = random_rows(20, 2, 5)
    twice = join_rows([rows.of(0), rows.of(0), rows.of(1)])
    once = without_repetition(twice)
    np.testing.assert_array_equal(once.scores, rows.scores)
    assert without_repetition(rows) is rows


def test_rows_are_pruned_in_pieces(tmp_path, monkeypatch):
    """As all at once: 300 of an image or 10,000 of a class may count."""
    monkeypatch.setattr(merging, '_PRUNE_ROWS', 2_000)
    ask = Ask((0, 1), (1, 2))
    items = tuple(Item(i, Path('x'), (ask,)) for i in range(4))
    questions = Questions(('a', 'b'), ('a', 'b'), items, {'': Path('x')})
    shards = ShardFolder(tmp_path, {}, 4, 1)
    parts = [random_rows(8_000, 1, 2, seed) for seed in range(4)]
    for number, rows in enumerate(parts):
        shards.write(number, rows)
    benchmark = BENCHMARKS['lvis-minival']
    paths = merging.write_result_lists(shards, benchmark, questions, tmp_path / 'all')
    actual = [row['score'] for row in json.loads(paths[''].read_text())]
    scores = np.concatenate([rows.scores for rows in parts])
    image = np.repeat(np.arange(4, dtype=np.int32), 8_000)
    label = np.concatenate([rows.label for rows in parts])
    everything = Results(image, label, np.zeros((32_000, 4)), scores.astype(float))
    kept = within_limit(everything, 'lvis') | within_limit(everything, 'lvis-fixed')
    assert 20_000 <= kept.sum() < 21_200
    np.testing.assert_array_equal(np.array(actual, np.float32), scores[kept])


class Stop(Exception):
    """Of the run, at some place."""


def test_a_stopped_run_and_shares(reproduce, out, oracle, tmp_path, monkeypatch):
    """Stopped between shards, continued by two shares: the bytes of one run."""
    reproduce('coco', 'llmdet-tiny', 'fgclip2-base', '--dry-run', '--check',
              '--out', out)  # fmt: skip
    data, weights = (out / 'dry-run' / name for name in ('data', 'weights'))
    ann = data / 'coco' / 'annotations' / 'instances_val2017.json'
    found = oracle(ann, tmp_path / 'list.json')
    monkeypatch.setattr(
        'fgclip2_det.reproduce.command.check_plan', small_counts(), raising=True
    )
    args = ('coco', f'mine={found}', 'fgclip2-base', '--data-root', data,
            '--weights', weights, '--shard-size', 1, '--device', 'cpu',
            '--out')  # fmt: skip
    code, printed, errors = reproduce(*args, tmp_path / 'whole')
    assert code == 0, errors
    write, written = ShardFolder.write, []

    def write_some(self, number, rows):
        if len(written) == 7:
            raise Stop
        written.append(number)
        write(self, number, rows)

    monkeypatch.setattr(ShardFolder, 'write', write_some)
    code, _, _ = reproduce(*args, tmp_path / 'parts')
    assert code == 2 and written == [0, 1, 2, 3, 4, 0, 1]
    monkeypatch.setattr(ShardFolder, 'write', write)
    code, printed, _ = reproduce(*args, tmp_path / 'parts', '--shards', '2/2')
    assert code == 0 and '2 of 5 shards are for other shares' in printed
    assert 'detects' not in printed and '1 images in 1 of 5 shards' in printed
    code, printed, _ = reproduce(*args, tmp_path / 'parts', '--shards', '1/2')
    assert code == 0 and 'COCO val2017, 5 of 5 images' in printed
    contents = [
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob('*')
            if path.is_file() and 'text_cache' not in path.parts
        }
        for folder in (tmp_path / 'whole', tmp_path / 'parts')
    ]
    assert contents[0].keys() == contents[1].keys() and len(contents[0]) == 19
    assert contents[0] == contents[1]
    code, _, errors = reproduce(*args, tmp_path / 'parts', '--shard-size', 2)
    assert code == 2 and 'shard_size is 1 there and 2 now' in errors


def small_counts():
    """``check_plan`` that expects the dry run's counts."""
    from dataclasses import replace

    from fgclip2_det.reproduce.run import check_plan

    def check(plan):
        release = replace(plan.encoder_release, num_tensors=None, num_parameters=None)
        benchmark = replace(plan.benchmark, num_images=5, num_names=6)
        return check_plan(replace(plan, encoder_release=release, benchmark=benchmark))

    return check


def test_words():
    assert parse_share('3/8') == (3, 8)
    for text in ('0/2', '3/2', '1', '1/', 'a/b', '-1/2'):
        with pytest.raises(ValueError, match='I/N with I from 1 to N'):
            parse_share(text)
    assert parse_detector('a', {'a': 1}) == ('a', None)
    assert parse_detector('b=x/y=z.json', {}) == ('b', Path('x/y=z.json'))
    for word in ('b', 'b=', '=x', 'a/b=x', ''):
        with pytest.raises(ValueError, match='or NAME=FILE with a result list'):
            parse_detector(word, {'a': 1})
