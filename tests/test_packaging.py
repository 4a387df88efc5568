"""What a maintainer's files say agrees with the code."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / 'pyproject.toml').is_file(), reason='these tests lie alone'
)

# import name -> distribution, where they differ
DISTRIBUTIONS = dict(
    PIL='pillow',
    yaml='pyyaml',
    mmengine='onedl-mmengine',
    mmcv='onedl-mmcv',
    mmdet='onedl-mmdetection',
    huggingface_hub='huggingface-hub',
    cv2='onedl-mmcv',  # brings one of OpenCV's four distributions
    torchvision=None,  # used where it is there, never needed
    setuptools=None,
    typing_extensions=None,  # for type checkers alone
    # require opencv-python, beside the one that is there: docs/detect.md says how
    sahi=None,
    trackers=None,
)


@pytest.fixture(scope='module')
def settings() -> dict:
    return tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def project(settings) -> dict:
    return settings['project']


def requirements(project: dict) -> set[str]:
    groups = [project['dependencies'], *project['optional-dependencies'].values()]
    names = {re.match(r'[\w.-]+', item)[0] for group in groups for item in group}
    return {name.lower() for name in names} - {project['name']}


def imported_packages() -> set[str]:
    """Top-level packages that the installed code imports, anywhere in a file."""
    names = set()
    for folder in ('fgclip2_det', 'pretrain', 'tools'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split('.')[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(node.module.split('.')[0])
    own = {'fgclip2_det', 'pretrain', 'benchmarks', '_cli'}
    return names - own - set(sys.stdlib_module_names) - {'pkg_resources'}


def test_every_imported_package_is_declared(project):
    declared = requirements(project)
    for name in sorted(imported_packages()):
        distribution = DISTRIBUTIONS.get(name, name.replace('_', '-'))
        assert distribution is None or distribution in declared, name


def test_every_requirement_is_pinned(project):
    text = (ROOT / 'constraints.txt').read_text(encoding='utf-8')
    pins = {line.split('==')[0].lower() for line in text.splitlines() if '==' in line}
    names = {name.split('[')[0] for name in requirements(project)}
    assert names <= pins


def test_the_citation_has_the_version():
    import fgclip2_det

    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == fgclip2_det.__version__


def test_metafile_names_configs_that_exist():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    models = [
        model
        for path in index['Import']
        for model in yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))['Models']
    ]
    assert len(models) >= 3
    for model in models:
        assert (ROOT / model['Config']).is_file(), model['Config']
        assert Path(model['Config']).stem == model['Name']


@pytest.mark.parametrize('package', ['fgclip2_det', 'pretrain'])
def test_data_files_are_package_data(settings, package):
    """setuptools copies every file that is no Python code."""
    patterns = settings['tool']['setuptools']['package-data'].get(package, [])
    copied = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {path for path in (ROOT / package).rglob('*') if path.is_file()}
    files = {path for path in files if path.suffix not in ('.py', '.pyc')}
    assert files <= copied and (files or package == 'pretrain')


def test_every_file_passes_the_linter():
    """Benchmarks as well, which no test runs."""
    pytest.importorskip('ruff')
    ruff = [sys.executable, '-m', 'ruff', 'check', '--no-cache', '.']
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
