"""What a device computes against the CPU.

On machines without CUDA the same comparisons run cpu against cpu, so that they are
known to work the day there is a device: ``pytest tests/gpu -m gpu``.
"""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.structures import InstanceData

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # benchmarks/ is no part of what is installed
gpu_checks = vars(import_module('benchmarks.gpu_checks'))
DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == 'cuda' and not torch.cuda.is_available():
        pytest.skip('needs a CUDA device: torch.cuda.is_available() is False')
    return request.param


@pytest.mark.parametrize('name', gpu_checks['CHECKS'])
def test_the_device_agrees_with_the_cpu(name: str, device: str):
    differences = gpu_checks['run_check'](name, device)
    assert differences
    assert all(d.passed for d in differences), [d for d in differences if not d.passed]


def test_the_comparison_notices_what_differs():
    """A box moved by 2 of 60 pixels, a score by 0.01, another label, a missing row."""
    check, limit = gpu_checks['without_partner'], gpu_checks['SCORE']
    boxes = torch.tensor([[0.0, 0, 60, 60], [10, 20, 90, 70]])
    scores, labels = torch.tensor([0.5, 0.25]), torch.tensor([0, 2])
    rows = InstanceData(bboxes=boxes, scores=scores, labels=labels)
    assert check(rows[[1, 0]], rows) == (0.0, 0.0)
    for change in (
        dict(bboxes=boxes + torch.tensor([[2.0, 0, 2, 0], [0, 0, 0, 0]])),
        dict(scores=scores + torch.tensor([0.0, 10 * limit])),
        dict(labels=torch.tensor([1, 2])),
    ):
        other = InstanceData(**{**rows.to_dict(), **change})
        assert check(other, rows) == (0.5, 0.0)
    assert check(rows[:1], rows) == (0.5, 0.0)
    largest = gpu_checks['largest']
    assert largest(torch.tensor([1.0, 2.2]), torch.tensor([1.0, 2.0])) == pytest.approx(
        0.1
    )


def test_a_missing_device_is_named():
    if torch.cuda.is_available():
        pytest.skip('there is a CUDA device')
    with pytest.raises(ValueError, match='no CUDA device'):
        gpu_checks['run_check']('encoder', 'cuda')


def test_every_line_of_the_benchmark_runs(capsys):
    """Tiny models on the CPU, each once; compiling is left to the script."""
    gpu = vars(import_module('benchmarks.gpu'))
    gpu['measure'].__globals__.update(MIN_SECONDS=0.0, MAX_RUNS=1)
    rows = gpu['measure_all'](gpu['Bench']('cpu', True), False, float('inf'))
    assert len(rows) == 8
    assert all(row['images_per_second'] > 0 for row in rows), rows
    rows = gpu['measure_all'](gpu['Bench']('cpu', True), False, 0.0)
    assert all(row['left_out'] for row in rows)
    assert '| region features, float32 | no time left |' in capsys.readouterr().out
