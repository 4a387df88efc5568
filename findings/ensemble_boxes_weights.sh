#!/usr/bin/env bash
# ensemble-boxes 1.0.9: nms and soft_nms with weights put the weighted scores into the caller's lists.
#
# One would guess that only the returned scores are weighted, as weighted_boxes_fusion does. Seen: nms replaces the entries of the
# list of scores. Whoever tries several thresholds, or NMS and then fusion, on the same detections weights them each time again:
# scores of two models with weights [1, 1] are halved at every call, and boxes fall below thresholds that they had passed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q ensemble-boxes==1.0.9 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

from ensemble_boxes import nms, soft_nms, weighted_boxes_fusion

print('ensemble-boxes', version('ensemble-boxes'), 'weights [1, 1]')
boxes, labels = [[[0.1, 0.1, 0.4, 0.4]], [[0.5, 0.5, 0.9, 0.9]]], [[0], [0]]
seen = {}
for method in (nms, soft_nms, weighted_boxes_fusion):
    scores = [[0.8], [0.4]]
    seen[method.__name__] = [sorted(method(boxes, scores, labels, weights=[1, 1])[1].round(3).tolist(), reverse=True)
                             for _ in range(3)]
    print(f'{method.__name__}: three calls', seen[method.__name__], 'the list of 0.8 and 0.4 is',
          [round(float(one[0]), 3) for one in scores])
assert seen['weighted_boxes_fusion'] == [[0.4, 0.2]] * 3, seen
for name in ('nms', 'soft_nms'):
    assert seen[name] == [[0.4, 0.2], [0.2, 0.1], [0.1, 0.05]], 'scores stay as they are now'
PYTHON
