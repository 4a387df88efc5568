"""Imports mmcv and mmdet, with replacements for modules that they lack."""

import contextlib
import importlib
import importlib.abc
import io
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from fgclip2_det.compat import compiled_ops
from fgclip2_det.compat.stack import is_installed

FOLDER = Path(__file__).parent
NEWEST_MMCV = '2.1.0'  # that mmdet 3.3.0 accepts; 2.2.0 has the same functions


class StandIns(importlib.abc.MetaPathFinder):
    """Finder that loads this package's files as modules that nothing else provides.

    It is last on ``sys.meta_path``, so that a real module always takes precedence.

    Args:
        files: module name -> file.
    """

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in self.files:
            return None
        return spec_from_file_location(fullname, self.files[fullname])


def prepare_imports() -> None:
    """Make ``import mmcv._ext`` and ``import mmdet`` succeed."""
    files = {'mmcv._ext': FOLDER / 'mmcv_ext.py'}
    # removed in setuptools 81; the original mmengine locates mmdet with it
    if find_spec('pkg_resources') is None and not is_installed('onedl-mmengine'):
        files['pkg_resources'] = FOLDER / 'pkg_resources_stand_in.py'
    sys.meta_path.append(StandIns(files))
    try:
        importlib.import_module('mmcv._ext')
    except ImportError as error:
        if 'mmcv' not in sys.modules:  # another import has failed
            raise
        warnings.warn(
            f'the compiled ops of mmcv cannot be loaded ({error}), so slower PyTorch '
            f'ops are used; install an mmcv built for this torch',
            stacklevel=4,
        )
        sys.meta_path.insert(0, StandIns({'mmcv._ext': files['mmcv._ext']}))
        importlib.import_module('mmcv._ext')
    compiled_ops.install(sys.modules['mmcv._ext'])
    # warning of mmdet's FasterCocoMetric; nothing here needs the package
    warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
    _import_mmdet()
    _repair_masks()


def _repair_masks() -> None:
    """Repeat the import of roi_align in mmdet's masks, if it failed before."""
    masks = sys.modules.get('mmdet.structures.mask.structures')
    if masks is not None:
        from mmcv.ops.roi_align import roi_align

        vars(masks)['roi_align'] = roi_align


def _import_mmdet() -> None:
    """Import mmdet, which asserts mmcv < 2.2.0 in 3.3.0 although 2.2.0 works."""
    import mmcv

    version = mmcv.__version__
    try:
        if version.startswith('2.2.'):
            mmcv.__version__ = NEWEST_MMCV
        importlib.import_module('mmdet')
        # onedl's mmdet prints twice that an optional package is missing
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module('mmdet.datasets')
    except AssertionError as error:
        raise ImportError(
            f'the installed mm packages are incompatible: {error}'
        ) from error
    finally:
        mmcv.__version__ = version
