"""OpenVocabInferencer on every kind of detector, against tools/test.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary
from tests.tools.test_wrapped_detectors import detr, mm_grounding_dino, owlv2

NAMES = ['black cat', '白色杯子']
ENCODER = dict(size='tiny', seed=3)
JOINT = dict(
    mode='joint', merge_iou=0.7, nms_iou=0.7, labels_per_box=3, max_per_image=1000
)


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    return {
        build.__name__: build(tmp_path_factory.mktemp(build.__name__))
        for build in (owlv2, mm_grounding_dino, detr)
    }


@pytest.fixture(scope='module')
def retinanet(tmp_path_factory):
    """Function: config -> checkpoint of random weights."""

    def save(path: Path) -> Path:
        init_default_scope('mmdet')
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(path).model)
        model.init_weights()
        torch.nn.init.normal_(model.bbox_head.retina_cls.weight, std=0.3)
        out = tmp_path_factory.mktemp('retinanet') / 'retinanet.pth'
        meta = dict(dataset_meta=dict(classes=tuple(NAMES)))
        save_checkpoint(dict(state_dict=model.state_dict(), meta=meta), str(out))
        return out

    return save


def wrapped(path: Path, detector: dict | None, **options) -> Path:
    """The config with its model, or another, in a re-scorer."""
    config = Config.fromfile(path)
    config.model = dict(
        type='FGCLIP2Rescorer', detector=detector or config.model, encoder=ENCODER,
        **options,
    )  # fmt: skip
    config.custom_hooks = [dict(type='OpenVocabVocabularyHook')]
    config.test_evaluator.outfile_prefix = f'{path.parent}/results'
    out = path.with_name('rescore.py')
    config.dump(out)
    return out


def rows_of(path: Path, image_id: int) -> list[dict]:
    """What tools/test.py wrote of an image, the best first."""
    rows = json.loads(path.with_name('results.bbox.json').read_text())
    rows = [row for row in rows if row['image_id'] == image_id]
    return sorted(rows, key=lambda row: -row['score'])


def check_equal(found, rows: list[dict], image_id: int) -> None:
    own = found.to_coco(image_id, [0, 1])
    assert len(own) == len(rows) > 5
    for key in ('bbox', 'score'):
        np.testing.assert_allclose(
            [row[key] for row in own], [row[key] for row in rows], atol=1e-5, rtol=1e-6
        )
    assert [r['category_id'] for r in own] == [r['category_id'] for r in rows]


def test_transformers_detector(folders, write_config, run_tool, coco_data):
    """An MM Grounding DINO, re-scored: boxes of tools/test.py on the same images."""
    folder = str(folders['mm_grounding_dino'])
    hub = dict(type='HuggingFaceDetector', pretrained=folder, chunk_size=1)
    config = wrapped(write_config(), dict(hub, max_per_image=300), **JOINT)
    code, _, err = run_tool('test', config)
    assert code == 0, err
    files = [coco_data / f'{i}.png' for i in range(4)]
    inferencer = OpenVocabInferencer(
        detector=folder, encoder=ENCODER, chunk_size=1,
        competitors=False,  # as the classes of a data set
    )  # fmt: skip
    for batch_size in (1, 3):
        results = inferencer(files, NAMES, batch_size=batch_size)
        for i, found in enumerate(results):
            check_equal(found, rows_of(config, i), i)
            assert found.image == str(files[i])
    array = np.asarray(Image.open(files[1]))[..., ::-1]
    for image in (array, Image.open(files[1])):
        (found,) = inferencer(image, NAMES)
        check_equal(found, rows_of(config, 1), 1)
        assert found.image == ''


def test_names_a_pass_of_a_config(folders, write_config, retinanet, coco_data):
    """As of the detector itself; a detector with its own classes reads no names."""
    folder = str(folders['mm_grounding_dino'])
    hub = dict(type='HuggingFaceDetector', pretrained=folder, max_per_image=300)
    config = wrapped(write_config(), hub, **JOINT)
    for chunk_size, used in ((None, None), (1, 1), (2, 2)):
        inferencer = OpenVocabInferencer(detector=config, chunk_size=chunk_size)
        assert inferencer.model.detector.chunk_size == used
    plain = write_config()
    with pytest.raises(ValueError, match=r'RetinaNet\) has classes of its own; leave'):
        OpenVocabInferencer(detector=plain, weights=retinanet(plain), chunk_size=1)


def test_kinds_of_transformers(folders, coco_data):
    """Alone and re-scored; only those that score every name are fused jointly."""
    file = coco_data / '0.png'
    for kind, mode in (('owlv2', 'keep'), ('detr', 'keep'),
                       ('mm_grounding_dino', 'joint')):  # fmt: skip
        alone = OpenVocabInferencer(detector=folders[kind])
        (found,) = alone(file, ['black cat', '白色杯子'])
        assert found.classes == tuple(NAMES) and (found.scores.diff() <= 0).all()
        rescored = OpenVocabInferencer(
            detector=folders[kind], encoder=ENCODER, fusion='arithmetic'
        )
        assert rescored.model._options['mode'] == mode
        assert 'Arithmetic' in type(rescored.model._options['fusion']).__name__
        (again,) = rescored(file, NAMES)
        if mode == 'keep':
            assert len(again) == len(found)


def test_detector_of_mmdetection(write_config, retinanet, run_tool, coco_data):
    """Its config and checkpoint; the config of a re-scorer; in part of its classes."""
    plain = write_config()
    weights = retinanet(plain)
    config = wrapped(plain, None)
    code, _, err = run_tool('test', config, weights)
    assert code == 0, err
    files = [coco_data / f'{i}.png' for i in range(4)]
    for options in (dict(detector=plain, encoder=ENCODER), dict(detector=config)):
        inferencer = OpenVocabInferencer(weights=weights, **options)
        for i, found in enumerate(inferencer(files, batch_size=2)):
            check_equal(found, rows_of(config, i), i)
    (whole,) = inferencer(files[0])
    (part,) = inferencer(files[0], ['白色杯子'])
    assert part.classes == ('白色杯子',) and set(part.labels.tolist()) == {0}
    assert torch.equal(part.scores, whole.scores[whole.labels == 1])
    (other,) = inferencer(files[0], [['white cup', '白色杯子'], 'Black_Cat'])
    assert set(other.names) == {'white cup', 'Black_Cat'}
    with pytest.raises(ValueError, match=r"no class 'dog' \(1 of 2 names\).* 2: black"):
        inferencer(files[0], 'dog; black cat')


def test_without_a_rescorer(write_config, retinanet, coco_data):
    plain = write_config()
    weights = retinanet(plain)
    file = str(coco_data / '2.png')
    (found,) = OpenVocabInferencer(weights, detector=plain)(file)
    model = init_detector(str(plain), str(weights), device='cpu')
    expected = inference_detector(model, file).pred_instances
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.bboxes, expected.bboxes)
    assert found.classes == tuple(NAMES)


def test_saved_results(coco_data, tmp_path, shaken):
    """Found by file name; sqrt(score x p) of each row; names in part."""
    rng = np.random.default_rng(0)
    rows = [
        dict(image_id=i, category_id=int(rng.integers(2)), score=float(rng.random()),
             bbox=[*rng.uniform(0, 60, 2).tolist(), *rng.uniform(10, 30, 2).tolist()])
        for i in range(3) for _ in range(8)
    ]  # fmt: skip
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    inferencer = OpenVocabInferencer(
        detector=tmp_path / 'rows.json', ann_file=coco_data / 'ann.json',
        encoder=ENCODER,
    )  # fmt: skip
    file = coco_data / '1.png'
    results = inferencer([file, coco_data / '3.png'])
    assert len(results[1]) == 0
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))
    encoder.eval()
    names = Vocabulary(NAMES).embed(encoder)
    expected = []
    for row in rows[8:16]:
        x, y, w, h = row['bbox']
        with torch.no_grad():
            batch = encoder.preprocess([file])
            (region,) = encoder.region_features(batch, [[[x, y, x + w, y + h]]], True)
        p = (region @ names.T / 0.01).softmax(-1)[0, row['category_id']]
        expected.append((row['score'] * float(p)) ** 0.5)
    np.testing.assert_allclose(results[0].scores, sorted(expected)[::-1], atol=1e-4)
    image = tmp_path / 'other.png'
    Image.new('RGB', (160, 96)).save(image)
    with pytest.warns(
        UserWarning, match=r'1 of 2 images .* no images for .*other\.png'
    ):
        assert len(inferencer([file, image])) == 1


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(encoder='x'), 'belong to a detector that is wrapped'),
        (dict(detector='a.json'), r'need ann_file=FILE \(--ann\)'),
        (dict(detector='hub/id', weights='a.pth'), 'hub/id has its own'),
        (dict(detector='hub/id', ann_file='a.json'), 'belongs to saved results'),
        (dict(detector='hub/id', fusion='geometric'), 'without an encoder'),
        (dict(detector='hub/id', mode='keep'), '^mode: nothing is re-scored without'),
        (dict(detector='a', encoder='x', fusion='best'), 'fusion must be one of geom'),
        (dict(detector='a', config='b.py'), 'give a config of MMDetection as detector'),
        (dict(dtype='int4'), "dtype must be one of .* got 'int4'"),
        (dict(cache_size=-1), 'cache_size must be 0 or more'),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        OpenVocabInferencer(**options)


def test_bad_configs(write_config, retinanet, folders, coco_data):
    plain = write_config()
    with pytest.raises(ValueError, match='names no weights; pass weights=CHECKPOINT'):
        OpenVocabInferencer(detector=plain)
    with pytest.raises(FileNotFoundError, match=r'no config absent\.py'):
        OpenVocabInferencer(detector='absent.py')
    with pytest.raises(ValueError, match='is a re-scorer already; leave encoder out'):
        OpenVocabInferencer(
            retinanet(plain), detector=wrapped(plain, None), encoder=ENCODER
        )
    with pytest.raises(ValueError, match='is not an open-vocabulary detector'):
        OpenVocabInferencer(retinanet(plain), config=plain)
    inferencer = OpenVocabInferencer(detector=folders['mm_grounding_dino'])
    with pytest.raises(ValueError, match='expected names of objects to detect'):
        inferencer(coco_data / '0.png')
    with pytest.raises(ValueError, match='cannot read 1 of 1 names'):
        inferencer(coco_data / '0.png', '黑猫')
