"""tools/benchmark.py --ranker, and tools/zeroshot.py --ranker."""

import json
from pathlib import Path

import pytest
import torch

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot.suite import make_embedder
from tests.ccmb_folders import SETS, TEXTS, write_set
from tests.random_rankers import vivid_ranker


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """An encoder and its ranker."""
    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP2.from_size('tiny', generator=generator).eval()
    encoder.save_pretrained(tmp_path / 'encoder')
    vivid_ranker(encoder).save_pretrained(tmp_path / 'ranker', encoder)
    vivid_ranker(encoder, reads='region').save_pretrained(tmp_path / 'region', encoder)
    return tmp_path / 'encoder', tmp_path / 'ranker'


def words(tmp_path: Path, *more: object) -> list:
    places = ['--data-root', tmp_path / 'data', '--out-dir', tmp_path / 'out']
    return ['benchmark', *more, *places]


def test_all_sets_with_a_ranker(run_tool, tmp_path, folders):
    for name in SETS:
        write_set(tmp_path / 'data', name)
    encoder, ranker = folders
    given = ['--encoder', encoder, '--subset', '--max-num-patches', 16]
    code, text, err = run_tool(*words(tmp_path, *SETS, *given, '--ranker', ranker))
    assert code == 0, err
    assert 'ICM, Chinese captions, matching' in text
    results = {
        name: json.loads((tmp_path / f'out/{name}.json').read_text()) for name in SETS
    }
    ks = [results[name]['protocol']['ranker_k'] for name in SETS]
    assert ks == [64, 64, None, None, 128]
    for result in results.values():
        protocol = result['protocol']
        assert len(protocol['ranker']) == 64 and protocol['control'] is None
        assert protocol['ranker_name'] == str(ranker) and not protocol['complete']
    assert 'retrieval_ranked/short/mean_recall' in results['icr']['metrics']
    assert 'matching_ranked/short/accuracy_at_half' in results['iqm']['metrics']
    # without the ranker, or with other candidates: the same cosines, and said so
    (tmp_path / 'out/icr.json').rename(tmp_path / 'first.json')
    assert run_tool(*words(tmp_path, 'icr', *given))[0] == 0
    plain = json.loads((tmp_path / 'out/icr.json').read_text())
    assert plain['metrics'].items() < results['icr']['metrics'].items()
    more = ['--ranker', ranker, '--ranker-k', 2]
    for options, expected in (([], 'another ranker'), (more, 'another number of cand')):
        assert run_tool(*words(tmp_path, 'icr', *given, *options))[0] == 0
        files = tmp_path / 'first.json', tmp_path / 'out/icr.json'
        assert expected in run_tool('compare_results', *files)[1]


def test_controls_need_no_model(run_tool, tmp_path):
    write_set(tmp_path / 'data', 'iqr')
    given = ['iqr', '--subset', '--encoder', 'oracle', '--ranker', 'oracle']
    code, _, err = run_tool(*words(tmp_path, *given, '--ranker-k', 3))
    assert code == 0, err
    result = json.loads((tmp_path / 'out/iqr.json').read_text())
    assert set(result['metrics'].values()) == {100}
    assert result['protocol']['control'] == result['protocol']['ranker'] == 'oracle'
    assert result['counts']['retrieval_ranked/short/candidates/i2t'] == 3


@pytest.mark.parametrize(
    'more, message',
    [
        (['--ranker', '{ranker}', '--encoder', 'random-tiny', '--seed', 5], 'another'),
        (['--ranker', '{region}', '--encoder', '{encoder}'], 'reads regions'),
        (['--ranker', '{none}', '--encoder', '{encoder}'], 'is no folder'),
        (['--ranker', '{encoder}', '--encoder', '{encoder}'], "expected 'fgclip2_rank"),
        (['--ranker', '{ranker}', '--encoder', 'noise'], 'a control has none'),
        (['--ranker-k', 5, '--encoder', 'noise'], 'give --ranker, too'),
        (['--ranker', 'oracle', '--ranker-k', 0, '--encoder', 'noise'], 'at least 1'),
        (
            ['--ranker', '{ranker}', '--encoder', '{encoder}', '--dtype', 'bfloat16'],
            'reads tokens in float32',
        ),
    ],
)
def test_wrong_rankers(run_tool, tmp_path, folders, more, message):
    write_set(tmp_path / 'data', 'icr')
    names = {n: tmp_path / n for n in ('encoder', 'ranker', 'region', 'none')}
    more = [str(word).format(**names) for word in more]
    code, _, err = run_tool(*words(tmp_path, 'icr', *more))
    assert code == 2 and message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_the_list_names_the_sets(run_tool, tmp_path):
    write_set(tmp_path / 'data', 'icm')
    code, text, _ = run_tool('benchmark', '--list', '--data-root', tmp_path / 'data')
    assert code == 0
    assert 'ccmb/ICM/val/long_itm_val.json: present' in text
    assert 'ccmb/IQR/val/short_itr_val.json: missing; published at http://zero' in text
    assert 'https://github.com/yuxie11/R2D2' in text


def test_a_ranker_belongs_to_the_weights_before_they_move(folders):
    encoder, ranker = folders
    embedder = make_embedder(str(encoder), device='cpu', ranker=str(ranker))
    assert embedder.pair_scorer.kind is None
    assert make_embedder(str(encoder), device='cpu').pair_scorer is None


def test_captions_of_ones_own(run_tool, tmp_path, folders):
    paths = write_set(tmp_path, 'icr')
    rows = zip(paths, TEXTS.values(), strict=True)
    lines = [f'{path.name}\t{text}' for path, texts in rows for text in texts]
    (tmp_path / 'captions.tsv').write_text('\n'.join(lines), encoding='utf-8')
    encoder, ranker = folders
    given = ['--checkpoint', encoder, '--out', tmp_path / 'm.json', '--data']
    files = ['--ann', tmp_path / 'captions.tsv', '--images', paths[0].parent]
    code, text, err = run_tool(
        'zeroshot', *given, 'retrieval', *files, '--ranker', ranker, '--ranker-k', 2
    )
    assert code == 0, err
    assert 'retrieval_ranked/short/i2t@10' in text
    result = json.loads((tmp_path / 'm.json').read_text())
    assert result['ranker'] == str(ranker) and result['ranker_k'] == 2
    for more, message in (
        (['retrieval', *files, '--ranker-k', 2], 'give --ranker, too'),
        (['retrieval', *files, '--ranker', tmp_path / 'region'], 'reads regions'),
        (['coco', *files, '--ranker', ranker], 'not an option of --data coco'),
    ):
        code, _, err = run_tool('zeroshot', *given, *more)
        assert code == 2 and message in err
