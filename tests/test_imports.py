"""Who imports whom, and what the front doors load."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# from the ground up; a folder imports its own layer and those before it. '' is the
# package itself, whose names stand for those of other folders
LAYERS = (
    ('version', 'lazy', 'compat', 'io', 'fgclip2', 'fgclip1', 'visualization'),
    ('vocabulary', 'coco', 'ranker'),
    ('evaluation', 'models', 'datasets', 'prepare'),
    ('rescoring', 'zeroshot', 'engine'),
    ('apis', 'pretrain', 'reproduce'),
    ('onnx',),
    ('web',),
    ('', 'registration', 'cli'),
)
LAYER = {folder: n for n, folders in enumerate(LAYERS) for folder in folders}
WITHOUT_MM = (
    'io',
    'coco',
    'fgclip1',
    'fgclip2',
    'vocabulary',
    'evaluation',
    'zeroshot',
    'prepare',
    'ranker',
)
MM = {'mmengine', 'mmcv', 'mmdet'}
# a training's command line, kept where docs and scripts look for it
ENTRY_POINTS = {'pretrain.evaluate'}


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of both packages."""
    files = {}
    for package in ('fgclip2_det', 'pretrain'):
        for path in sorted((ROOT / package).rglob('*.py')):
            parts = path.relative_to(ROOT).with_suffix('').parts
            files['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return files


def folder_of(name: str) -> str:
    """'fgclip2_det.models.fusion' -> 'models'; '' for the package itself."""
    parts = name.split('.')
    return 'pretrain' if parts[0] == 'pretrain' else ''.join(parts[1:2])


def imports_of(name: str) -> Iterator[tuple[str, int]]:
    """Modules that a file imports, in functions too, and the line."""
    path = modules()[name]
    package = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
    for node in _runtime(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            head = package[: len(package) - node.level + 1] if node.level else []
            base = '.'.join([*head, *filter(None, [node.module])])
            for alias in node.names:
                full = f'{base}.{alias.name}'
                yield (full if full in modules() else base), node.lineno


def _runtime(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that type checkers alone read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING':
            continue
        yield node
        yield from _runtime(node)


@cache
def arrows() -> list[tuple[str, str, int]]:
    """(importing module, imported module, line) within the packages."""
    return [
        (name, target, line)
        for name in modules()
        if name not in ENTRY_POINTS
        for target, line in imports_of(name)
        if target in modules()
    ]


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Nodes of a circle in their order; none where there is no circle."""
    done: set[str] = set()
    path: list[str] = []

    def visit(node: str) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        path.append(node)
        for target in sorted(graph.get(node, ())):
            if circle := visit(target):
                return circle
        done.add(path.pop())
        return []

    for node in sorted(graph):
        if circle := visit(node):
            return circle
    return []


def test_circles_are_found():
    assert find_circle({'a': {'b'}, 'b': {'c'}, 'c': {'b'}}) == ['b', 'c']
    assert find_circle({'a': {'b', 'c'}, 'b': {'c'}}) == []


def test_every_folder_has_a_layer():
    assert {folder_of(name) for name in modules()} == set(LAYER)


def test_imports_point_down():
    upwards = [
        f'{name}:{line} imports {target}'
        for name, target, line in arrows()
        if name != 'fgclip2_det'  # the door leads everywhere
        and LAYER[folder_of(target)] > LAYER[folder_of(name)]
    ]
    assert upwards == []


def test_no_circles_between_folders():
    graph: dict[str, set[str]] = {}
    for name, target, _ in arrows():
        start, end = folder_of(name), folder_of(target)
        if start and start != end:
            graph.setdefault(start, set()).add(end)
    assert find_circle(graph) == []


def test_no_circles_between_files():
    graph: dict[str, set[str]] = {}
    for name, target, _ in arrows():
        if target != name:
            graph.setdefault(name, set()).add(target)
    graph.pop('fgclip2_det')
    assert find_circle(graph) == []


@pytest.mark.parametrize('folder', WITHOUT_MM)
def test_no_mm_package(folder: str):
    actual = [
        f'{name}:{line} imports {target}'
        for name in modules()
        if folder_of(name) == folder
        for target, line in imports_of(name)
        if target.split('.')[0] in MM
    ]
    assert actual == []


# ------------------------------------------------------------------ front doors
HEAVY = MM | {
    'cv2', 'faster_coco_eval', 'matplotlib', 'pandas', 'peft', 'pycocotools', 'scipy',
    'starlette', 'torchvision', 'transformers', 'uvicorn',
}  # fmt: skip


def loaded(code: str) -> set[str]:
    """Modules in memory after ``code``, in a Python of its own."""
    code += '\nimport json, sys; print(json.dumps(list(sys.modules)))'
    out = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(json.loads(out.splitlines()[-1]))


def test_the_encoder_and_the_benchmarks_load_little_but_torch():
    names = loaded(
        'import torch\nfrom fgclip2_det import FGCLIP2, Vocabulary\n'
        'import fgclip2_det.zeroshot.suite, pretrain.evaluate\n'
        'from fgclip2_det.evaluation import language_protocols, comparison'
    )
    assert HEAVY & names == set()
    own = {name for name in names if name.startswith(('fgclip2_det', 'pretrain'))}
    assert len(own) < 110 and len(names - own) <= 1.25 * len(loaded('import torch'))


def test_metrics_and_command_lines_load_no_torch():
    names = loaded(
        'import fgclip2_det\n'
        'from fgclip2_det.evaluation import language_protocols, comparison, protocols\n'
        'from fgclip2_det import cli\n'
        'import pretrain.evaluate\n'
        'from importlib import import_module\n'
        'for name in cli.commands().values():\n'
        "    import_module(f'fgclip2_det.cli.{name}').parser().format_help()"
    )
    assert (HEAVY | {'torch', 'safetensors', 'tokenizers'}) & names == set()


@pytest.mark.skipif(find_spec('mmdet') is None, reason='needs the mm packages')
def test_configs_that_name_the_packages_alone():
    """As MMEngine imports them: it is in memory, and asks importlib."""
    names = loaded(
        'import sys, warnings, mmengine, importlib\n'
        "sys.modules['faster_coco_eval'] = None  # an extra of mmdet's own\n"
        "warnings.filterwarnings('error', 'faster_coco_eval')\n"
        "fgclip2_det = importlib.import_module('fgclip2_det')\n"
        "importlib.import_module('pretrain')\n"
        'from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS\n'
        "assert 'FGCLIP2ViT' in MODELS and 'SavedPredictions' in MODELS\n"
        "assert 'OVShapesDataset' in DATASETS and 'OpenVocabLVISMetric' in METRICS\n"
        "assert 'OpenVocabCheckpointHook' in HOOKS\n"
        'assert fgclip2_det.HAS_MM'
    )
    assert {'fgclip2_det.registration', 'pretrain.registration'} <= names
