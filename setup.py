"""Packaging: ``pip install -c constraints.txt -e '.[mm]'``."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
README = ROOT / 'README.md'
FINDER = 'fgclip2_det/compat/ops_finder.py'

MM = [
    'onedl-mmengine>=0.10.12,<0.11',
    'onedl-mmcv>=2.3.6,<2.4',
    'onedl-mmdetection>=3.5.1,<3.6',
    'faster-coco-eval>=1.6',
]
FINETUNE = ['peft>=0.21,<1']  # LoRA
TEST = [
    *FINETUNE,
    'pytest>=8',
    'pytest-xdist>=3',
    'ruff>=0.9',
    'transformers>=4.57',
    'protobuf>=4',
    'pycocotools',
    'lvis>=0.5.3',
]


class BuildWithConfigs(build_py):
    """Put ``configs/`` and ``tools/`` into a wheel, where MMEngine looks for them.

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
        # MMEngine reads this index first, then falls back to the path
        (target / 'model-index.yml').write_text('Import: []\n')


setup(
    name='fgclip2_det',
    version='0.1.0',
    description='Open-vocabulary object detection for MMDetection with FG-CLIP 2',
    long_description=README.read_text(encoding='utf-8') if README.is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['fgclip2_det*', 'pretrain*']),
    package_data={'fgclip2_det': ['assets/**/*', 'vocabulary/lists/*']},
    cmdclass={'build_py': BuildWithConfigs},
    install_requires=[
        'torch>=2.6',
        'numpy',
        'pillow>=10.1',
        'safetensors>=0.4',
        'tokenizers>=0.19',
        'sentencepiece>=0.2',
        'tqdm',
    ],
    extras_require={'mm': MM, 'finetune': FINETUNE, 'test': TEST, 'all': MM + TEST},
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
