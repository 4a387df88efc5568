"""``configs/`` and ``tools/`` travel in a wheel; pyproject.toml has the rest."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithConfigs(build_py):
    """Put ``configs/`` and ``tools/`` where MMEngine and MIM look for them.

    ``fgclip2_det::ov_coco/....py`` then names a config of an installed package. An
    editable install has the checkout's own folders instead.
    """

    def run(self) -> None:
        super().run()
        if getattr(self, 'editable_mode', False):
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
