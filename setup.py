"""What pyproject.toml cannot say: files that travel in a wheel beside the packages."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
FINDER = 'fgclip2_det/compat/ops_finder.py'


class BuildWithConfigs(build_py):
    """Put ``configs/`` and ``tools/`` where MMEngine and MIM look for them.

    ``fgclip2_det::ov_coco/....py`` then names a config of an installed package. An
    editable install has the checkout's own folders instead. Beside the package, in
    both, lies the finder of mmcv's ops, which its ``.pth`` starts with Python.
    """

    def run(self) -> None:
        super().run()
        editable = getattr(self, 'editable_mode', False)
        install = self.distribution.get_command_obj('install')
        root = Path(install.install_lib if editable else self.build_lib)
        shutil.copy(ROOT / FINDER, root / '_fgclip2_det_ops.py')
        (root / 'fgclip2_det_ops.pth').write_text('import _fgclip2_det_ops\n')
        if editable:
            return
        target = Path(self.build_lib) / 'fgclip2_det' / '.mim'
        ignore = shutil.ignore_patterns('__pycache__')
        for name in ('configs', 'tools'):
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, target / name, ignore=ignore, dirs_exist_ok=True
                )
        shutil.copy(ROOT / 'model-index.yml', target)


setup(cmdclass={'build_py': BuildWithConfigs})
