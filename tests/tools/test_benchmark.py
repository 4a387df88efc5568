"""tools/benchmark.py: from a data root to result files and the results page."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.zeroshot.results_page import read_folder, results_page
from fgclip2_det.zeroshot.suite import BENCHMARKS, find_benchmarks, make_embedder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data_root(tmp_path) -> Path:
    """COCO's layout with two images and three names."""
    folder = tmp_path / 'data/coco'
    (folder / 'val2017').mkdir(parents=True)
    (folder / 'annotations').mkdir()
    for name in ('a', 'b'):
        pixels = np.full((48, 64, 3), ord(name), np.uint8)
        Image.fromarray(pixels).save(folder / f'val2017/{name}.png')
    content = {
        'images': [
            {'id': i, 'file_name': f'{n}.png', 'width': 64, 'height': 48}
            for i, n in enumerate('ab')
        ],
        'annotations': [
            {'id': i, 'image_id': i % 2, 'category_id': i % 3, 'bbox': [3, i, 20, 30]}
            for i in range(6)
        ],
        'categories': [{'id': i, 'name': n} for i, n in enumerate('xyz')],
    }
    path = folder / 'annotations/instances_val2017.json'
    path.write_text(json.dumps(content))
    return tmp_path / 'data'


def words(data_root: Path, *more: object) -> list:
    out = data_root.parent / 'out'
    return [*(more or ['coco-box']), '--data-root', data_root, '--out-dir', out]


def test_a_result_says_what_it_was_measured_on(run_tool, data_root):
    code, text, err = run_tool(
        'benchmark', *words(data_root, 'coco-box', '--encoder', 'oracle', '--subset')
    )
    assert code == 0, err
    assert 'box_top1/all/en  100.00        6' in text
    assert 'published: box_top1/all/en base 74.9, large 74.0, so400m 77.4' in text
    result = json.loads((data_root.parent / 'out/coco-box.json').read_text())
    assert result['metrics']['box_top1/all/en'] == 100
    protocol = result['protocol']
    assert (protocol['complete'], protocol['control']) == (False, 'oracle')
    assert protocol['data']['count'] == 2
    assert len(protocol['data']['files']['ann']['sha256']) == 64
    assert protocol['encoder'] is None


def test_parts_must_be_meant(run_tool, data_root):
    code, _, err = run_tool(
        'benchmark', *words(data_root, 'coco-box', '--encoder', 'noise')
    )
    assert code == 2
    assert '3 names instead of 80' in err and 'say --subset' in err


def test_random_weights_and_why_two_results_differ(run_tool, data_root, tmp_path):
    options = ['--encoder', 'random-tiny', '--max-num-patches', 16]
    files = {}
    for number in (1, 2):
        code, _, err = run_tool(
            'benchmark', *words(data_root, 'coco-box', *options, '--num-images', number)
        )
        assert code == 0, err
        files[number] = tmp_path / f'{number}.json'
        (tmp_path / 'out/coco-box.json').rename(files[number])
    code, text, _ = run_tool('compare_results', files[1], files[2])
    assert code == 1
    assert 'NOT comparable' in text and 'another part of them' in text
    code, text, _ = run_tool('compare_results', files[1], files[1])
    assert 'NOT comparable' not in text
    first, second = (json.loads(path.read_text()) for path in files.values())
    assert first['protocol']['encoder'] == second['protocol']['encoder'] is not None


@pytest.mark.parametrize(
    'more, message',
    [
        (['coco-box', '--encoder', 'noise', '--boxes', 'b.json'], 'takes no boxes'),
        (['coco-box', '--encoder', 'random-huge', '--subset'], 'size must be one of'),
        (['coco-box'], '--encoder is needed'),
        (['nothing', '--encoder', 'noise'], "no benchmark 'nothing'"),
        (['boxclass-cn', '--encoder', 'noise', '--subset'], 'huggingface.co/datasets'),
    ],
)
def test_wrong_words(run_tool, data_root, more, message):
    code, _, err = run_tool('benchmark', *words(data_root, *more))
    assert code == 2 and message in err
    assert not (data_root.parent / 'out').exists()


def test_the_list_names_what_is_missing(run_tool, data_root):
    code, text, _ = run_tool('benchmark', '--list', '--data-root', data_root)
    assert code == 0
    assert 'coco/annotations/instances_val2017.json: present' in text
    assert 'coco/annotations/lvis_v1_val.json: missing; published at' in text
    assert all(name in text for name in BENCHMARKS)


def test_benchmarks_have_one_name_and_numbers_of_three_sizes():
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert all(len(numbers) == 3 for numbers in benchmark.paper.values())
        assert all(file.url.startswith('http') for file in benchmark.files.values())
    assert [b.name for b in find_benchmarks(['fgovd', 'fgovd'])] == ['fgovd']


def test_random_weights_depend_on_the_seed_alone():
    from fgclip2_det.io.model_digests import encoder_digest

    digests = [
        encoder_digest(make_embedder('random-tiny', seed=seed).encoder)
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_page_is_what_the_results_say():
    page = (ROOT / 'docs/benchmarks.md').read_text(encoding='utf-8')
    assert page == results_page(read_folder(ROOT / 'docs/benchmarks'))
    for benchmark in BENCHMARKS.values():
        assert f'`{benchmark.name}`' in page
        for numbers in benchmark.paper.values():
            shown = ' / '.join('-' if n is None else f'{n:.1f}' for n in numbers)
            assert shown in page


def test_the_page_keeps_parts_and_controls_apart(tmp_path):
    result = {
        'metrics': {'box_top1/all/en': 70.0},
        'counts': {'images': 5},
        'protocol': {
            'name': 'coco-box', 'complete': True, 'control': None,
            'encoder_name': 'mine',
        },
    }  # fmt: skip
    page = results_page({'mine': result})
    assert '| mine: 70.0 |' in page and 'Parts that were measured' not in page
    result['protocol']['complete'] = False
    page = results_page({'mine': result})
    assert '| `coco-box` | mine | 5 images | box_top1/all/en 70.0 |' in page
    (tmp_path / 'wrong.json').write_text('{}')
    with pytest.raises(ValueError, match='is not a result'):
        read_folder(tmp_path)
