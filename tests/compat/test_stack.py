"""Sentences about the installed packages, each in a Python of its own."""

import subprocess
import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import pytest

from fgclip2_det.compat import mm_packages, stack

ROOT = Path(__file__).resolve().parents[2]


def set_stack(monkeypatch, distributions: set[str], folders: set[str]) -> None:
    monkeypatch.setattr(stack, 'is_installed', lambda name: name in distributions)
    monkeypatch.setattr(
        stack, 'find_spec', lambda name: name if name in folders else None
    )


ONEDL = {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection'}
ORIGINAL = {'mmengine', 'mmcv-lite', 'mmdet'}
FOLDERS = {'mmengine', 'mmcv', 'mmdet'}


@pytest.mark.parametrize('distributions', [ONEDL, ORIGINAL, set()])
def test_complete_stacks_pass(monkeypatch, distributions: set[str]):
    """The last one: source checkouts on the path, not installed by pip."""
    set_stack(monkeypatch, distributions, FOLDERS)
    assert stack.has_mm_packages()


def test_no_mm_package_is_one_warning(monkeypatch):
    set_stack(monkeypatch, set(), set())
    with pytest.warns(UserWarning, match=r'only the encoder.*fgclip2_det\[mm\]') as log:
        assert stack.has_mm_packages() is False
    assert len(log) == 1


@pytest.mark.parametrize(
    ('distributions', 'folders', 'message'),
    [
        (ONEDL | {'mmdet'}, FOLDERS, 'pip uninstall onedl-mmdetection mmdet`'),
        (ONEDL | {'mmcv-lite'}, FOLDERS, 'pip uninstall onedl-mmcv mmcv-lite`'),
        (ONEDL | {'mmengine'}, FOLDERS, 'pip uninstall onedl-mmengine mmengine`'),
        (
            ONEDL - {'onedl-mmcv'},
            FOLDERS - {'mmcv'},
            'mmcv is miss.*`pip install onedl-',
        ),
        ({'mmengine'}, {'mmengine'}, 'mmcv, mmdet is miss.*`pip install mmcv-lite=='),
        (ONEDL, FOLDERS - {'mmdet'}, 'files are gone.*--no-deps onedl-mmdetection`'),
    ],
)
def test_broken_stacks_are_one_sentence(
    monkeypatch, distributions: set[str], folders: set[str], message: str
):
    set_stack(monkeypatch, distributions, folders)
    with pytest.raises(ImportError, match=message) as error:
        stack.has_mm_packages()
    assert '\n' not in str(error.value)


needs_mm = pytest.mark.skipif(
    find_spec('mmdet') is None, reason='needs the mm packages'
)


def run_python(code: str, path: Path) -> subprocess.CompletedProcess:
    """Runs ``code`` with ``compat`` alone and modules of ``path`` before others."""
    start = f"""
import sys, types
sys.path[:0] = [{str(path)!r}]
package = types.ModuleType('fgclip2_det')  # without its __init__
package.__path__ = [{str(ROOT / 'fgclip2_det')!r}]
sys.modules['fgclip2_det'] = package
from fgclip2_det.compat import prepare
"""
    return subprocess.run(
        [sys.executable, '-c', start + code],
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_mm
def test_cv2_without_libgl(tmp_path: Path):
    message = 'libGL.so.1: cannot open shared object file'
    (tmp_path / 'cv2.py').write_text(f'raise ImportError({message!r})')
    result = run_python('prepare()', tmp_path)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f'ImportError: OpenCV cannot be imported ({message})')
    assert 'pip install --force-reinstall --no-deps opencv-python-headless' in last


@needs_mm
def test_prepare_twice_and_the_real_ops_win(tmp_path: Path):
    """A finder stands in for an mmcv with compiled ops, and our file for none."""
    (tmp_path / 'real.py').write_text(
        'nms = "compiled"\ndef __getattr__(name): return name'  # any other op
    )
    code = """
from importlib.util import spec_from_file_location
class Finder:
    def find_spec(name, path=None, target=None):
        if name == 'mmcv._ext':
            return spec_from_file_location(name, {path!r})
sys.meta_path.insert(0, Finder)
assert prepare() and prepare()
import mmcv._ext
assert mmcv._ext.nms == 'compiled'
"""
    result = run_python(code.format(path=str(tmp_path / 'real.py')), tmp_path)
    assert result.returncode == 0, result.stderr


@needs_mm
def test_ops_of_another_torch_are_replaced_with_a_warning(tmp_path: Path):
    (tmp_path / 'broken.py').write_text(
        'raise ImportError("undefined symbol: _ZN3c10")'
    )
    code = """
from importlib.util import spec_from_file_location
class Finder:
    def find_spec(name, path=None, target=None):
        if name == 'mmcv._ext':
            return spec_from_file_location(name, {path!r})
sys.meta_path.insert(0, Finder)
assert prepare()
import mmcv._ext
assert mmcv._ext.__file__.endswith('mmcv_ext.py')
"""
    result = run_python(code.format(path=str(tmp_path / 'broken.py')), tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'cannot be loaded (undefined symbol: _ZN3c10)' in result.stderr


def test_the_pkg_resources_stand_in_answers_mmengine():
    """mmengine 0.10.7 asks for location and top_level.txt, and catches one error."""
    finder = mm_packages.StandIns(
        {'pkg_resources': mm_packages.FOLDER / 'pkg_resources_stand_in.py'}
    )
    module = module_from_spec(finder.find_spec('pkg_resources'))
    module.__spec__.loader.exec_module(module)
    found = module.get_distribution('pytest')
    assert (Path(found.location) / 'pytest').is_dir()
    assert found.has_metadata('METADATA')
    with pytest.raises(module.DistributionNotFound):
        module.get_distribution('no-such-distribution')


@needs_mm
def test_masks_imported_before_the_package(tmp_path):
    """MMDetection's own tools import its structures first."""
    code = (
        'import numpy as np, torch\n'
        'from mmdet.structures.mask import BitmapMasks\n'
        'prepare()\n'
        'masks = BitmapMasks(np.ones((1, 8, 8), np.uint8), 8, 8)\n'
        'box = np.array([[0, 0, 8, 8]], np.float32)\n'
        'cut = masks.crop_and_resize(box, (4, 4), np.array([0]))\n'
        'print(cut.masks.sum())\n'
    )
    result = run_python(code, tmp_path)
    if stack.is_installed('mmdet') and "No module named 'mmcv._ext'" in result.stderr:
        pytest.skip("OpenMMLab's own mmdet.structures cannot be imported without ops")
    assert result.stdout.split()[-1:] == ['16'], result.stderr
