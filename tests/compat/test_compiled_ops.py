"""Detectors on compiled ops, PyTorch ops and torchvision's: the same numbers.

``FGCLIP2_COMPILED_PYTHON`` names a Python whose mmcv has compiled ops; a Python that
has them itself needs none. Each kind of ops runs ``ops_cases.py`` in a process.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

CASES = Path(__file__).with_name('ops_cases.py')
ATOL = 1e-4  # of boxes, scores and losses; of gradients relative to the largest
COLUMNS = ('bboxes', 'scores', 'labels', 'masks', 'losses', 'gradients')

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


def compiled_python() -> str:
    """A Python with compiled ops: this one, or the one that was named."""
    import mmcv._ext

    from fgclip2_det.compat import mmcv_ext

    if mmcv._ext.__file__ != mmcv_ext.__file__:
        return sys.executable
    named = os.environ.get('FGCLIP2_COMPILED_PYTHON')
    if not named:
        pytest.skip(
            'this mmcv has no compiled ops; set FGCLIP2_COMPILED_PYTHON to a Python '
            'whose mmcv has them'
        )
    return named


def start(python: str, kind: str, out: Path) -> subprocess.Popen:
    command = [python, '-W', 'ignore', str(CASES), kind, str(out)]
    return subprocess.Popen(
        command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


@pytest.fixture(scope='module')
def results(tmp_path_factory) -> dict[str, dict]:
    """Kind of ops -> MMDetection's version, and case -> name -> numbers; torchvision's
    where it imports."""
    folder, actual = tmp_path_factory.mktemp('ops'), {}
    pythons = dict.fromkeys(('fallback', 'torchvision'), sys.executable)
    pythons['compiled'] = compiled_python()
    running = {
        kind: start(python, kind, folder / f'{kind}.pt')
        for kind, python in pythons.items()
    }
    for kind, process in running.items():
        errors = process.communicate()[1]
        if process.returncode == 0:
            actual[kind] = torch.load(folder / f'{kind}.pt', weights_only=True)
        elif kind != 'torchvision' or 'absent' not in errors:
            pytest.fail(f'{kind} ops in {pythons[kind]}: {errors[-2000:]}')
    return actual


def difference(name: str, first: Tensor, second: Tensor) -> float:
    """The largest; of gradients by the largest gradient, of masks in grey levels."""
    assert first.shape == second.shape, name
    if not first.numel():
        return 0.0
    first, second = first.double(), second.double()
    assert first.isfinite().all() and second.isfinite().all(), name
    scale = max(float(first.abs().max()), 1.0) if 'gradient' in name else 1.0
    return float((first - second).abs().max()) / scale


def within(name: str, first: Tensor, second: Tensor) -> bool:
    if not name.startswith('masks'):
        return difference(name, first, second) <= ATOL
    if first.dtype == torch.bool:  # a pixel may lie on the threshold
        return float((first != second).double().mean()) <= ATOL
    return difference(name, first, second) <= 1  # of 255


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['compiled', 'torchvision'])
def test_same_as_the_fallback(results, kind: str, capsys):
    if kind not in results:
        pytest.skip('torchvision does not import here')
    fallback, other = results['fallback']['cases'], results[kind]['cases']
    same_mmdet = results['fallback']['mmdet'] == results[kind]['mmdet']
    assert fallback.keys() == other.keys()
    lines, wrong = [f'largest difference, {kind} and PyTorch ops'], []
    lines.append(f'{"":52}' + ''.join(f'{name:>11}' for name in COLUMNS))
    for case, numbers in fallback.items():
        assert numbers.keys() == other[case].keys(), case
        pairs = {name: (x, other[case][name]) for name, x in numbers.items()}
        if not same_mmdet and any(a.shape != b.shape for a, b in pairs.values()):
            lines.append(f'{case:52}  another model in the other MMDetection')
            continue
        wrong += [(case, name) for name, pair in pairs.items()
                  if not within(name, *pair)]  # fmt: skip
        lines.append(f'{case:52}' + row(pairs))
    with capsys.disabled():
        print('\n' + '\n'.join(lines))
    assert not wrong


def row(pairs: dict[str, tuple[Tensor, Tensor]]) -> str:
    """Differences by column, or those of all numbers in the last one."""
    cells = dict.fromkeys(COLUMNS, '')
    for name, pair in pairs.items():
        column = name.split()[0] if name.split()[0] in COLUMNS else COLUMNS[-1]
        value = difference(name, *pair)
        cells[column] = f'{max(float(cells[column] or 0), value):.1e}'
    return ''.join(f'{cell:>11}' for cell in cells.values())
