#!/usr/bin/env bash
# pylabel 0.1.55: a COCO file exported for YOLO names every box by the next class.
#
# YOLO's class numbers are places in the list of names, from 0, and one would guess that ExportToYoloV5 counts so: it writes that
# list itself. Seen: labels have COCO's category ids and the list counts from 0. Of ids 1, 2, 3 a rook is a bishop, a bishop a pawn,
# and a pawn has number 3 of 0 to 2, which readers leave out. With cat_id_index=0 the numbers fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pylabel==0.1.55 pandas==2.3.3 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import json
from importlib.metadata import version
from pathlib import Path

import yaml
from pylabel import importer

NAMES = ['rook', 'bishop', 'pawn']
content = {
    'images': [{'id': i, 'file_name': f'{name}.png', 'width': 100, 'height': 80} for i, name in enumerate(NAMES, 1)],
    'annotations': [
        {'id': i, 'image_id': i, 'category_id': i, 'bbox': [10, 20, 30, 40], 'area': 1200, 'iscrowd': 0} for i in (1, 2, 3)
    ],
    'categories': [{'id': i, 'name': name, 'supercategory': ''} for i, name in enumerate(NAMES, 1)],
}
Path('coco.json').write_text(json.dumps(content))
print('pylabel', version('pylabel'), 'pandas', version('pandas'))
seen = {}
for options in ({}, {'cat_id_index': 0}):
    data = importer.ImportCoco('coco.json', path_to_images='images')
    folder = Path('by_index' if options else 'plain') / 'labels'
    folder.mkdir(parents=True)
    data.export.ExportToYoloV5(output_path=str(folder), yaml_file='data.yaml', **options)
    listed = yaml.safe_load((folder.parent / 'data.yaml').read_text())['names']
    numbers = {path.stem: float(path.read_text().split()[0]) for path in folder.glob('*.txt')}
    seen[folder.parent.name] = {name: numbers[name] for name in NAMES}
    print(options or 'default', 'names', listed, 'numbers', seen[folder.parent.name])
    assert listed == NAMES, listed
assert seen['plain'] == {'rook': 1, 'bishop': 2, 'pawn': 3}, seen
assert seen['by_index'] == {'rook': 0, 'bishop': 1, 'pawn': 2}, seen
PYTHON
