"""The fallback ops, and the compiled ones to hold them against."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fgclip2_det.compat import mmcv_ext, prepare
from fgclip2_det.compat.ops.contracts import SWITCH

if not prepare():  # these import mmcv or mmengine
    names = ('checkpoints', 'contracts', 'nms', 'ops', 'roi_align')
    collect_ignore = [f'test_{name}.py' for name in names]
BENCHMARK = Path(__file__).parents[2] / 'benchmarks' / 'ops.py'


@pytest.fixture(scope='session')
def compiled(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """mmcv's compiled ops, straight from a wheel; this environment stays as it is."""
    load_compiled = runpy.run_path(str(BENCHMARK))['load_compiled']
    folder, reason = tmp_path_factory.mktemp('compiled'), 'no wheel in shared/wheels'
    for wheel in sorted((shared / 'wheels').glob('*mmcv*.whl')):
        try:
            return load_compiled(wheel, folder)
        except (ValueError, ImportError) as error:
            reason = error
    pytest.skip(f'needs compiled mmcv ops for this Python and torch: {reason}')


@pytest.fixture
def ext() -> ModuleType:
    """The fallback."""
    return mmcv_ext


@pytest.fixture
def any_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test give types that compiled ops refuse."""
    monkeypatch.delenv(SWITCH)


@pytest.fixture(autouse=True)
def use_ops(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Exchanges the ops beneath mmcv's own functions, for one test.

    Every test begins with the fallback, even where mmcv has compiled ops.
    """

    def use(ops: ModuleType) -> None:
        for name in (
            'nms',
            'roi_align',
            'focal_loss',
            'bbox',
            'multi_scale_deform_attn',
        ):
            module = sys.modules.get(f'mmcv.ops.{name}')  # the attribute is a function
            if module is not None:
                monkeypatch.setattr(module, 'ext_module', ops)

    use(mmcv_ext)
    return use
