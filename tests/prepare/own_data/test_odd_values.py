"""Any value of the files may be odd: what is left is a COCO file, or a sentence."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fgclip2_det.coco.annotation_file import parse_coco
from fgclip2_det.io import InputError
from fgclip2_det.prepare.own_data import as_coco, look

EXPORTS = Path(__file__).resolve().parents[2] / 'data' / 'exports'
ODD = [
    None, [], {}, 'x', '', -1, 0, float('inf'), float('nan'), True, 10**400, [None],
    {'a': 1}, '\ud800', [[1]], 1e200,
]  # fmt: skip
FILES = [
    ('label-studio-sdk-2.1.2/json', 'result.json'),
    ('label-studio-sdk-2.1.2/json_min', 'result.json'),
    ('labelme-6.3.1', '三.json'),
    ('fiftyone-1.22.1/samples', 'samples.json'),
    ('fiftyone-1.22.1/samples', 'metadata.json'),
    ('supervision-0.31.2/coco', 'annotations.json'),
]
STEP = 61  # every so many-th of 16 values at each place


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from places(inner, (*path, key))


def changed(value: Any, path: tuple, odd: Any) -> Any:
    if not path:
        return odd
    value = copy.deepcopy(value)
    part = value
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = odd
    return value


@pytest.mark.parametrize(('folder', 'file'), FILES)
def test_no_value_ends_otherwise(tmp_path, folder, file):
    own = tmp_path / 'own'
    shutil.copytree(EXPORTS / folder, own)
    content = json.loads((own / file).read_text('utf-8'))
    cases = [(path, odd) for path in places(content) for odd in ODD][::STEP]
    read = 0
    for path, odd in cases:
        text = json.dumps(changed(content, path, odd))
        (own / file).write_text(text, 'utf-8')
        try:
            found = look(own)
        except InputError as error:
            assert str(error)
        else:
            read += 1
            assert list(found.lines()) and json.dumps(found.to_dict())
            parse_coco(as_coco(found.data, found.data.images), file)
    assert read > 0 and len(cases) > 1
