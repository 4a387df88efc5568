#!/usr/bin/env bash
# autodistill 0.1.29: an installation of it alone cannot be imported, a class with two prompts is two classes of its data.yaml, and
# label(record_confidence=True) always fails.
#
# One would guess that `pip install autodistill` is enough for `import autodistill.detection`. Seen: it imports scikit-learn and
# roboflow, which its metadata does not require. One would guess that prompts of one class are that class in data.yaml. Seen: the class
# stands there once for each prompt. One would guess that record_confidence writes a file of scores beside each label file.
# Seen: it looks the detections up by the file's name, while they are kept by its path, and raises KeyError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q autodistill==0.1.29 supervision==0.31.2 numpy==2.2.6 pillow==13.0.0
cd "$folder"
last() { ("$folder/env/bin/python" -W ignore -c 'import autodistill.detection' 2>&1 || true) | tail -1; }
alone=$(last)
echo "installed alone: $alone"
[[ "$alone" == "ModuleNotFoundError: No module named 'sklearn'" ]]
"$folder/env/bin/pip" install -q scikit-learn==1.9.1
still=$(last)
echo "with scikit-learn: $still"
[[ "$still" == "ModuleNotFoundError: No module named 'roboflow'" ]]
"$folder/env/bin/pip" install -q roboflow==1.7.3
"$folder/env/bin/pip" uninstall -q -y opencv-python opencv-python-headless
"$folder/env/bin/pip" install -q --force-reinstall --no-deps opencv-python-headless==4.12.0.88
"$folder/env/bin/python" -W ignore - <<'PYTHON' 2> /dev/null
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision as sv
import yaml
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image


class Finds(DetectionBaseModel):
    """A cup in every image."""

    def __init__(self, ontology):
        self.ontology = ontology

    def predict(self, input):
        return sv.Detections(np.array([[5.0, 5, 30, 30]]), confidence=np.array([0.9]), class_id=np.array([0]))


Path('photos').mkdir()
for name in 'ab':
    Image.new('RGB', (64, 48)).save(f'photos/{name}.jpg')
model = Finds(CaptionOntology({'a mug': 'cup', '杯子': 'cup', 'a cat': 'cat'}))
try:
    model.label('photos', output_folder='scores', record_confidence=True)
    failed = None
except KeyError as error:
    failed = str(error)
model.label('photos', output_folder='labels')
names = yaml.safe_load(Path('labels/data.yaml').read_text())['names']
print('autodistill', version('autodistill'), 'names of data.yaml:', names, ', record_confidence: KeyError', failed)
assert names == ['cup', 'cup', 'cat'], 'a class is there once now'
assert failed in ("'a.jpg'", "'b.jpg'"), 'record_confidence works now'
PYTHON
