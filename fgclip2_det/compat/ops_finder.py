"""Provides ``mmcv._ext`` to programs that import this package late or not at all.

MMDetection's own tools import ``mmcv.ops`` before they read a config, and so before
``custom_imports`` can add the PyTorch ops. ``setup.py`` installs a copy of this file
next to the package, with a ``.pth`` file that every Python process of the environment
reads at startup. Nothing is imported here until ``mmcv._ext`` is.
"""

import sys

PACKAGE = 'fgclip2_det'


class OpsFinder:
    """Last finder on ``sys.meta_path``, so that compiled ops take precedence."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Spec of the PyTorch ops; None for every other module."""
        if name != 'mmcv._ext':
            return None
        from importlib.util import find_spec, spec_from_file_location
        from pathlib import Path

        imported = sys.modules.get(PACKAGE)
        if imported is not None:
            file = Path(imported.__path__[0]) / 'compat' / 'mmcv_ext.py'
            return spec_from_file_location(name, file)
        package = find_spec(PACKAGE)
        if package is None or package.origin is None:
            return None
        file = Path(package.origin).parent / 'compat' / 'mmcv_ext.py'
        spec = spec_from_file_location(name, file)
        if spec is not None:
            _run_without_the_package(spec.loader, package)
        return spec


def _run_without_the_package(loader, package):
    """Make ``loader.exec_module`` import modules of ``fgclip2_det`` without its
    ``__init__``, which imports mmdet and thus ``mmcv._ext`` again."""
    run = loader.exec_module

    def exec_module(module):
        from importlib.util import module_from_spec

        if PACKAGE in sys.modules:
            return run(module)
        sys.modules[PACKAGE] = module_from_spec(package)
        try:
            return run(module)
        finally:
            del sys.modules[PACKAGE]

    loader.exec_module = exec_module


sys.meta_path.append(OpsFinder)
