"""What is missing is named, with where to get it; what a run costs."""

import json
import re

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.reproduce.benchmarks import BENCHMARKS
from fgclip2_det.reproduce.checklist import check, table
from fgclip2_det.reproduce.costs import text_flops
from fgclip2_det.reproduce.dry_run_data import write_data
from fgclip2_det.reproduce.releases import ENCODERS


@pytest.mark.parametrize('benchmark', BENCHMARKS)
def test_nothing_is_there(benchmark, reproduce, tmp_path):
    code, printed, errors = reproduce(
        benchmark, 'llmdet-tiny', 'fgclip2-base', '--data-root', tmp_path,
        '--weights', tmp_path, '--out', tmp_path,
    )  # fmt: skip
    assert code == 2 and errors.count('\n') == 1
    lines = [line for line in printed.splitlines() if line.startswith('--')]
    assert f'{len(lines)} of {len(lines)} things' in errors
    for part in ('https://huggingface.co/iSEE-Laboratory/llmdet_tiny, 0.69 GB',
                 'https://huggingface.co/qihoo360/fg-clip2-base, 1.54 GB, Apache-2.0',
                 BENCHMARKS[benchmark].images[0].url):  # fmt: skip
        assert part in printed
    for file in BENCHMARKS[benchmark].annotations.values():
        assert file.path in printed and file.url in printed


def test_what_is_there_in_part(tmp_path):
    """Fewer images than published, and one that is not there."""
    write_data(tmp_path)
    (tmp_path / 'coco' / 'val2017' / f'{3:012d}.jpg').unlink()
    releases = [('fgclip2-base', ENCODERS['fgclip2-base'])]
    found = check(
        BENCHMARKS['coco'], releases, None, tmp_path, tmp_path, tmp_path / 'work'
    )
    states = [need.state for need in found.needs]
    assert states == ['wrong: 5 images, expected 5,000', 'missing: 1 of 5', 'missing']
    assert found.sentence().startswith('3 of 3 things that the run needs are not there')
    assert f'{3:012d}.jpg, for example' in table(found.needs)
    path = tmp_path / 'coco' / 'annotations' / 'instances_val2017.json'
    path.write_text(path.read_text()[:-5])
    found = check(
        BENCHMARKS['coco'], releases, None, tmp_path, tmp_path, tmp_path / 'work'
    )
    assert found.needs[0].state.startswith('wrong: ') and found.questions is None


@pytest.mark.parametrize(
    ('args', 'match'),
    [
        (('lvis', 'llmdet-tiny', 'fgclip2-base'), 'benchmark must be one of lvis-mini'),
        (('coco', 'llmdet', 'fgclip2-base'), 'detector must be one of llmdet-tiny'),
        (('coco', 'sam3', 'fgclip3-base'), 'encoder must be one of fgclip2-base'),
        (('coco', 'sam3', 'fgclip2-base', '--limit', 0), '--limit must be at least 1'),
        (('coco', 'sam3', 'fgclip2-base', '--shard-size', 0), '--shard-size must be'),
        (('coco', 'sam3', 'fgclip2-base', '--shards', '2/1'), 'I from 1 to N'),
        (('coco', 'sam3', 'fgclip2-base', '--dry-run'), 'no small sam3'),
        (('coco', 'sam3', 'fgclip2-base', '--cost', '--efficiency', 2), 'in (0, 1]'),
        (('coco', 'sam3', 'fgclip2-base', '--json', 'x.json'), 'add --cost'),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else '',
)
def test_words_that_cannot_be_meant(args, match, reproduce, tmp_path):
    code, _, errors = reproduce(*args, '--out', tmp_path)
    assert code == 2 and match in errors and errors.count('\n') == 1


def test_cost(reproduce):
    """31 passes of 0.754 TFLOP for each of 4,809 images, at 20.1 TFLOP/s."""
    code, printed, _ = reproduce(
        'lvis-minival', 'llmdet-tiny', 'fgclip2-base', '--cost'
    )
    assert code == 0 and '4,809 images, 31 passes' in printed
    seconds = 31 * 4_809 * 753_911_700_480 / (67e12 * 0.3)
    line = next(row for row in printed.splitlines() if row.startswith('detector'))
    assert f'{seconds / 3600:.2f}' in line and '112.4' in line
    assert f'at most {4_809 * 9_300:,} boxes' in printed
    code, printed, _ = reproduce('lvis-val', 'x=y.json', 'fgclip2-base', '--cost')
    assert code == 0 and '19,809 images, 0 passes' in printed


def test_cost_on_file(reproduce, tmp_path):
    """The figures of the table, with more digits."""
    path = tmp_path / 'cost.json'
    code, printed, _ = reproduce(
        'lvis-minival', 'llmdet-tiny', 'fgclip2-base', '--cost', '--json', path
    )
    cost = json.loads(path.read_text())
    rows = {line[:18].strip(): line[18:].split() for line in printed.splitlines()}
    assert code == 0 and (cost['images'], cost['passes']) == (4_809, 31)
    titles = dict(detector='detector', encoder='encoder, images', text='encoder, names')
    for key, title in titles.items():
        pflop, hours, _ = rows[title]
        assert pflop == f'{cost[key + "_pflop"]:.1f}'
        assert float(hours) == pytest.approx(
            cost[f'{key}_pflop'] / (67e-3 * 0.3) / 3600, abs=0.006
        )
    assert f'{cost["hours"]:.2f}' == rows['all'][-1]
    assert f'{cost["gpu_gb"]:.1f}' == rows['detector'][2]
    shards, listed = re.findall(r'([\d.]+) GB', printed)
    assert cost['disk_gb'] == pytest.approx(float(shards) + float(listed), abs=0.1)


def test_flops_of_a_text():
    encoder = FGCLIP2.from_size('tiny')
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encoder.encode_text(torch.zeros(1, 64, dtype=torch.long))
    assert text_flops(encoder.config.text) == counter.get_total_flops()
