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
        (
            ONEDL - {'onedl-mmdetection'},
            FOLDERS - {'mmdet'},
            'mmdet is not installed, so only the enc.*`pip install onedl-mmdetection`',
        ),
        (
            ORIGINAL - {'mmdet'},
            FOLDERS - {'mmdet'},
            'mmdet is not installed, so only the enc.*`pip install mmdet`',
        ),
        (
            {'mmengine'},
            {'mmengine'},
            'mmcv and mmdet are not installed, .*`pip install mmcv-lite==2.1.0 mmdet`',
        ),
    ],
)
def test_without_mmdet_is_one_warning(
    monkeypatch, distributions: set[str], folders: set[str], message: str
):
    set_stack(monkeypatch, distributions, folders)
    with pytest.warns(UserWarning, match=message) as log:
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
        (ORIGINAL - {'mmengine'}, FOLDERS - {'mmengine'}, 'mmengine is miss.*`pip in'),
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
        timeout=1800,
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


WITHOUT_MMDET = """
import sys, warnings
from importlib import metadata
from importlib.machinery import PathFinder
find, distribution = PathFinder.find_spec, metadata.distribution
def find_others(name, *rest):
    return None if name == 'mmdet' else find(name, *rest)
PathFinder.find_spec = find_others
def known(name):
    if name in ('mmdet', 'onedl-mmdetection'):
        raise metadata.PackageNotFoundError(name)
    return distribution(name)
metadata.distribution = known
sys.path.insert(0, {root!r})
with warnings.catch_warnings(record=True) as log:
    warnings.simplefilter('always')
    import fgclip2_det, fgclip2_det.datasets, fgclip2_det.evaluation
    from fgclip2_det import FGCLIP2, HAS_MM, Vocabulary
warned = [str(x.message) for x in log if 'adds detection' in str(x.message)]
assert len(warned) == 1 and warned[0].startswith('mmdet is not installed'), warned
assert not HAS_MM and 'mmdet' not in sys.modules
encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
print(tuple(Vocabulary(['red circle', '蓝色星形']).embed(encoder).shape))
"""


def test_the_encoder_works_without_mmdet():
    """mmengine and mmcv are there, mmdet is hidden."""
    if find_spec('mmengine') is None or find_spec('mmcv') is None:
        pytest.skip('needs mmengine and mmcv')
    code = WITHOUT_MMDET.format(root=str(ROOT))
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=1800
    )
    assert result.stdout.strip() == '(2, 128)', result.stderr


LATE = """
import sys
sys.path.insert(0, {root!r})
before = set(sys.modules)
import ops_finder  # as a .pth file does, from a copy beside the packages
assert set(sys.modules) - before == {{'ops_finder'}}  # nothing else at Python's start
from mmcv.ops import RoIAlign, nms  # as MMDetection's tools do
import mmcv._ext
assert 'fgclip2_det' not in sys.modules and 'mmdet' not in sys.modules
from fgclip2_det import HAS_MM, compat
from fgclip2_det.compat import mmcv_ext
assert HAS_MM and compat.mmcv_ext is mmcv_ext
if mmcv._ext.__file__ == mmcv_ext.__file__:  # no compiled ops, they would have won
    assert mmcv._ext.nms.__wrapped__ is mmcv_ext.nms.__wrapped__
print('served')
"""


@needs_mm
@pytest.mark.weekly  # tests/models/test_mmdet_tools.py goes the same way
def test_ops_are_found_before_the_package(tmp_path: Path):
    finder = ROOT / 'fgclip2_det' / 'compat' / 'ops_finder.py'
    (tmp_path / 'ops_finder.py').write_text(finder.read_text())
    start = f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
    result = subprocess.run(
        [sys.executable, '-c', start + LATE.format(root=str(ROOT))],
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert result.stdout.split()[-1:] == ['served'], result.stderr


def test_the_pkg_resources_stand_in_answers_mmengine():
    """mmengine 0.10.7 asks for location and top_level.txt, and catches one error."""
    finder = mm_packages.StandIns(
        {'pkg_resources': mm_packages.FOLDER / 'pkg_resources_stand_in.py'}
    )
    module = module_from_spec(finder.find_spec('pkg_resources'))
    module.__spec__.loader.exec_module(module)
    actual = module.get_distribution('pytest')
    assert (Path(actual.location) / 'pytest').is_dir()
    assert actual.has_metadata('METADATA')
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
