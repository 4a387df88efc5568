"""The whole round: images -> annotate -> tools/train.py on the labels -> detect."""

import json

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.apis import annotate
from fgclip2_det.apis.annotating.labelled import LabelledPart, answers_on
from fgclip2_det.apis.annotating.lines import NAME, read_lines
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from fgclip2_det.vocabulary.ontology_file import as_ontology
from tests.tools.conftest import BY_EPOCH, CONFIG


def test_images_to_labels_to_a_detector(run_tool, tmp_path):
    """On four images of OVShapes, with a detector of a few channels and one epoch: its
    classes are the ontology's, in their order, and it answers to their names."""
    data = generate_ovshapes(tmp_path, num_train=4, num_val=1, image_size=128)
    truth = json.loads((data / 'train.json').read_text('utf-8'))
    used = {each['category_id'] for each in truth['annotations']}
    classes = {
        each['name']: {'prompts': [each['name'], each['name_zh']]}
        for each in truth['categories']
        if each['id'] in used
    }
    out = tmp_path / 'labels'
    done = annotate(data / 'train', {'classes': classes}, out, accept=0.3)
    lines = {line.image: line for line in read_lines(out / NAME)}
    ontology = as_ontology({'classes': classes})
    part = LabelledPart.read(data / 'train.json', ontology, lines)
    answers = answers_on(part, lines, len(classes))
    right = np.concatenate([own[scores >= 0.3] for scores, own in answers])
    assert len(right) == sum(row['accept'] for row in done.rows) > 6
    assert right.mean() > 0.8

    text = CONFIG.replace('{data}/ann.json', str(out / 'coco.json'))
    text = text.replace("('black cat', '白色杯子')", repr(tuple(classes)))
    text = text.replace('num_classes=2', f'num_classes={len(classes)}')
    values = BY_EPOCH | {
        'data': data / 'train', 'workers': 0, 'name': 'round',
        'train_cfg': "dict(type='EpochBasedTrainLoop', max_epochs=1)",
    }  # fmt: skip
    for key, value in values.items():
        text = text.replace(f'{{{key}}}', str(value))
    config = tmp_path / 'round.py'
    config.write_text(text, encoding='utf-8')
    code, _, err = run_tool('train', config, '--work-dir', tmp_path / 'work')
    assert code == 0, err
    inferencer = OpenVocabInferencer(tmp_path / 'work/epoch_1.pth', detector=config)
    name = list(classes)[-1]
    (found,) = inferencer(str(data / 'train/000000.jpg'), [name])
    assert set(found.names) <= {name}
    assert inferencer.system.own_classes == tuple(classes)
