#!/usr/bin/env bash
# pycocotools 2.0.11 sorts params.catIds under the caller's hands; hotcoco 1.3.0, used in its place, keeps their order.
#
# Class figures are read from eval['precision'], whose third axis is the classes. With params.catIds = [2, 1], as a file's
# categories may lie, one would guess that it is in that order, and that init_as_pycocotools() changes no figure. Seen:
# pycocotools replaces the list by a sorted one, so its first class is 1; hotcoco's is 2. Their mean is the same, so only
# the names beside the figures tell, and code that is right with one exchanges classes with the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pycocotools==2.0.11 hotcoco==1.3.0 numpy==2.2.6
cd "$folder"
cat > figures.py <<'PYTHON'
import contextlib, io, json, sys

if sys.argv[1] == 'hotcoco':
    from hotcoco import init_as_pycocotools
    init_as_pycocotools()
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

box, elsewhere = [10, 10, 40, 40], [100, 100, 40, 40]
truth = dict(images=[dict(id=1, file_name='1.jpg', width=200, height=200)],
             categories=[dict(id=2, name='missed'), dict(id=1, name='found')],
             annotations=[dict(id=n, image_id=1, category_id=n, bbox=box, area=1600, iscrowd=0) for n in (1, 2)])
detections = [dict(image_id=1, category_id=1, bbox=box, score=0.9), dict(image_id=1, category_id=2, bbox=elsewhere, score=0.8)]
asked = [category['id'] for category in truth['categories']]
for name, content in (('truth.json', truth), ('detections.json', detections)):
    with open(name, 'w') as file:
        json.dump(content, file)
with contextlib.redirect_stdout(io.StringIO()):
    truths = COCO('truth.json')
    evaluator = COCOeval(truths, truths.loadRes('detections.json'), 'bbox')
    evaluator.params.catIds = asked
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
classes = evaluator.eval['precision'][:, :, :, 0, -1].mean((0, 1))
print([round(float(n), 3) for n in classes], 'mean', round(float(evaluator.stats[0]), 3))
PYTHON
for tool in pycocotools hotcoco; do
  seen=$("$folder/env/bin/python" -W ignore figures.py $tool)
  "$folder/env/bin/pip" list 2> /dev/null | grep "^$tool "
  echo "AP of catIds [2, 1], of which 1 is found and 2 is missed: $seen"
  case $tool in
    pycocotools) expected='[1.0, 0.0] mean 0.5' ;;
    hotcoco) expected='[0.0, 1.0] mean 0.5' ;;
  esac
  if [[ $seen != "$expected" ]]; then echo 'the order is another one now'; exit 1; fi
done
