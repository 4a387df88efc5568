"""Files that other tools have written, see tests/data/exports/make_exports.py."""

from pathlib import Path

import pytest

from fgclip2_det.io import InputError
from fgclip2_det.prepare.own_data import Look, look

ROOT = Path(__file__).resolve().parents[3]
EXPORTS = ROOT / 'tests' / 'data' / 'exports'
PAGE = ROOT / 'docs' / 'own_data.md'
# what the scene has, clipped: stem -> (class, x, y, width, height)
SCENE = {
    'one': [('red cup', 4, 6, 16, 20), ('黑猫', 22, 2, 24, 28)],
    'two 2': [('黑猫', 10, 8, 22, 22)],
    '三': [('red cup', 2, 2, 10, 12), ('red cup', 20.5, 20.25, 13, 17.75)],
}
TURNED = [('red cup', 0, 2, 2, 10), SCENE['三'][1]]  # about its corner, and clipped
WHOLE = [SCENE['三'][0], ('red cup', 20, 20, 14, 18)]  # rounded to whole pixels
DRAWN = [*SCENE['三'], ('red cup', 1, 20, 14, 14), ('bus', 25, 3, 10, 10)]
SMALL = {'few', 'no_val', 'made_val', 'crossing'}  # of a scene so small
EXPECTED = {
    'supervision-0.31.2/coco': ('COCO', {'never'}, {}),
    'supervision-0.31.2/yolo': ('YOLO', {'never'}, {}),
    # whole pixels: 20.5 to 33.5 is written as 22 to 34, counted from 1
    'supervision-0.31.2/voc': (
        'PASCAL VOC', set(), {'三': [SCENE['三'][0], ('red cup', 21, 20, 13, 18)]},
    ),
    'supervision-0.31.2/labelme': ('labelme', set(), {}),
    'datumaro-1.13.12/coco_instances': ('COCO', {'box_id', 'never'}, {}),
    'datumaro-1.13.12/yolo': ('YOLO', {'never'}, {}),
    'datumaro-1.13.12/yolo_ultralytics': ('YOLO', {'never'}, {}),
    'datumaro-1.13.12/voc_detection': ('PASCAL VOC', {'never', 'origin'}, {}),
    'datumaro-1.13.12/cvat': ('CVAT for images', {'never'}, {}),
    'label-studio-sdk-2.1.2/json': (
        'Label Studio', {'annotators', 'turned_box'}, {'三': TURNED},
    ),
    'label-studio-sdk-2.1.2/json_min': (
        'Label Studio', {'annotators', 'turned_box'}, {'三': TURNED},
    ),
    'label-studio-sdk-2.1.2/coco': ('COCO', {'never', 'twice'}, {'三': TURNED}),
    'label-studio-sdk-2.1.2/yolo': ('YOLO', {'never'}, {}),
    'label-studio-sdk-2.1.2/yolo_obb': ('YOLO', {'never'}, {'三': TURNED}),
    'label-studio-sdk-2.1.2/voc': (
        'PASCAL VOC', {'origin'},
        {'三': [SCENE['三'][0], ('red cup', 20, 20, 13, 17)]},
    ),
    'labelme-6.3.1': ('labelme', {'polygon', 'shape'}, {'三': DRAWN}),
    'labelme2coco-0.2.6': ('COCO', set(), {'三': DRAWN}),
    'fiftyone-1.22.1/samples': ('FiftyOne', {'never'}, {}),
    'fiftyone-1.22.1/coco': ('COCO', {'never'}, {}),
    'fiftyone-1.22.1/yolo': ('YOLO', {'never'}, {}),
    'fiftyone-1.22.1/voc': (
        'PASCAL VOC', {'origin'},
        {'三': [SCENE['三'][0], ('red cup', 20, 20, 13, 18)]},
    ),
    'fiftyone-1.22.1/cvat': ('CVAT for images', set(), {'三': WHOLE}),
}  # fmt: skip


def boxes_of(own: Look) -> dict[str, list[tuple]]:
    """Stem -> boxes, without the letters that Label Studio puts before an upload."""
    found: dict[str, list[tuple]] = {}
    for image in own.data.images:
        stem = Path(image.path or '').stem.removeprefix('0a1b2c3d-')
        found[stem] = [
            (box.name, *(round(float(side), 3) for side in box.bbox))
            for box in image.boxes
        ]
    return found


@pytest.mark.parametrize('name', EXPECTED)
def test_boxes_and_findings(name):
    layout, kinds, other = EXPECTED[name]
    own = look(EXPORTS / name)
    assert own.data.layout == layout
    assert boxes_of(own) == {**SCENE, **other}
    assert set(own.findings.counts) - SMALL == kinds
    assert own.findings['crossing'] >= 1
    assert own.counts()['train']['images'] + own.counts()['val']['images'] == (
        4 if 'twice' in kinds else 3
    )
    assert own.findings.is_wrong == bool(kinds & {'box_id', 'twice'})


def test_every_export_is_looked_at():
    folders = {p.parent.relative_to(EXPORTS).parts[:2] for p in EXPORTS.rglob('*.png')}
    names = {'/'.join(parts) for parts in folders}
    flat = {name for name in EXPECTED if '/' not in name}
    expected = {name for name in EXPECTED if '/' in name} | flat
    assert {
        n for n in names if not n.startswith('datumaro-1.13.12/datumaro')
    } == expected


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('ultralytics-8.4.190', r'predictions\.json is what a detector found, not'),
        ('datumaro-1.13.12/datumaro', r"is Datumaro's own format; export COCO"),
    ],
)
def test_what_is_no_set_of_labels(name, message):
    with pytest.raises(InputError, match=message):
        look(EXPORTS / name)


def rows() -> list[str]:
    """The table of docs/own_data.md: a line an export."""
    lines = []
    for name in EXPECTED:
        own = look(EXPORTS / name)
        found = [
            f'{row["what"]}: {row["count"]}'
            for row in own.findings.rows()
            if row['kind'] not in SMALL
        ]
        tool, _, folder = name.partition('/')
        tool, _, version = tool.rpartition('-')
        said = '; '.join(found) or 'nothing'
        lines.append(
            f'| {tool} {version} | {folder or "."} | {own.data.layout} | {said} |'
        )
    return lines


def test_the_page_has_the_table():
    text = PAGE.read_text(encoding='utf-8')
    for line in rows():
        assert line in text, line
