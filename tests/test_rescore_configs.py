"""configs/rescore/llmdet: all build; two chunks of names against a loop."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

import transformers as T
from mmdet.datasets import LVISV1Dataset
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

import fgclip2_det.registration
from fgclip2_det import Vocabulary
from fgclip2_det.models.encoders import build_encoder

FOLDER = Path(__file__).resolve().parents[1] / 'configs' / 'rescore' / 'llmdet'
CONFIGS = sorted(FOLDER.glob('*.py'))
NAMES = LVISV1Dataset.METAINFO['classes'][:45]


def load(path: Path, folder: Path, **options) -> Config:
    """The config with random weights of the same architectures, small."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(path)
    cfg.model.update(templates='raw', cache_dir=None)
    cfg.model.encoder = dict(size='tiny')
    cfg.model.detector.pretrained = str(folder / 'llmdet')
    cfg.merge_from_dict(options)
    return cfg


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A two-layer LLMDet that knows the words of NAMES, and two images with 45
    categories in the layout of LVIS."""
    root = tmp_path_factory.mktemp('lvis')
    torch.manual_seed(0)
    layers = dict(layers=2, ffn_dim=32, attention_heads=2)
    layers = {f'{p}_{k}': v for p in ('encoder', 'decoder') for k, v in layers.items()}
    config = T.MMGroundingDinoConfig(
        backbone_config=T.SwinConfig(
            embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4,
            image_size=96, out_features=['stage2', 'stage3', 'stage4'],
        ),
        text_config=T.BertConfig(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, vocab_size=256,
        ),
        d_model=32, num_queries=20, **layers,
    )  # fmt: skip
    target = root / 'llmdet'
    T.MMGroundingDinoForObjectDetection(config).save_pretrained(target)
    words = sorted(set(re.findall('[a-z]+', ' '.join(NAMES).replace('_', ' '))))
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *".?()-'", *words]
    (target / 'vocab.txt').write_text('\n'.join(words))
    tokenizer = T.BertTokenizerFast(vocab=str(target / 'vocab.txt'))
    size = dict(shortest_edge=96, longest_edge=160)
    images = T.GroundingDinoImageProcessorPil(size=size)
    T.GroundingDinoProcessor(images, tokenizer).save_pretrained(target)

    (root / 'val2017').mkdir()
    rng = np.random.default_rng(0)
    content = dict(
        images=[], annotations=[],
        categories=[dict(id=i + 1, name=n, frequency='f') for i, n in enumerate(NAMES)],
    )  # fmt: skip
    for i in (1, 2):
        name = f'val2017/{i}.png'
        Image.fromarray(rng.integers(0, 256, (96, 160, 3), np.uint8)).save(root / name)
        content['images'].append(
            dict(id=i, width=160, height=96, neg_category_ids=[2],
                 not_exhaustive_category_ids=[],
                 coco_url=f'http://images.cocodataset.org/{name}')
        )  # fmt: skip
        content['annotations'].append(
            dict(id=i, image_id=i, category_id=40 + i, bbox=[8, 8, 40, 30], area=1200)
        )
    (root / 'ann.json').write_text(json.dumps(content))
    return root


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds(path, folder):
    cfg = load(path, folder)
    model = MODELS.build(cfg.model)
    assert model.detector.chunk_size == (80 if path.stem.endswith('coco') else 40)
    assert any(hook.type == 'OpenVocabVocabularyHook' for hook in cfg.custom_hooks)


def test_there_is_one_of_each():
    assert {path.stem for path in CONFIGS} == {
        f'rescore-joint_llmdet-{detector}_fgclip2-{encoder}_{data}'
        for detector in 'tbl'
        for encoder in ('b16', 'l16', 'so16')
        for data in ('lvis-minival', 'lvis', 'coco')
    }


@pytest.mark.parametrize('data', ['lvis-minival', 'lvis'])
def test_lvis_annotations(data, folder):
    """Images are found by coco_url, labels count from 0, names are LVIS's."""
    pytest.importorskip('lvis', reason='needs the package lvis')
    path = FOLDER / f'rescore-joint_llmdet-t_fgclip2-b16_{data}.py'
    cfg = load(path, folder).test_dataloader.dataset
    cfg.update(data_root=str(folder), ann_file='ann.json')
    dataset = DATASETS.build(cfg)
    assert len(dataset) == 2 and len(dataset.metainfo['classes']) == 1203
    sample = dataset[1]['data_samples']
    assert Path(sample.img_path) == folder / 'val2017' / '2.png'
    assert sample.ori_shape == (96, 160)
    [instance] = dataset.get_data_info(1)['instances']
    assert instance['bbox_label'] == 41 and instance['bbox'] == [8, 8, 48, 38]


def test_two_chunks_of_names(folder):
    """45 names: 40 and 5, one pass each; scores of the whole vocabulary.

    Every score is sqrt(d p), p of all 45 names; d is the greatest the detector gave
    that name among the boxes merged into this one.
    """
    path = FOLDER / 'rescore-joint_llmdet-l_fgclip2-so16_lvis-minival.py'
    cfg = load(path, folder).model
    model = MODELS.build(cfg)
    model.set_vocabulary(Vocabulary(NAMES, base_classes=NAMES))  # of a data set
    asked, ask = [], model.detector._ask
    model.detector._ask = lambda detector, image, names: (
        asked.append(names) or ask(detector, image, names)
    )
    image = folder / 'val2017' / '1.png'
    boxes, scores, labels = model.detector.detect(image)
    assert [len(names) for names in asked] == [40, 5]
    assert asked[0] + asked[1] == [name.replace('_', ' ') for name in NAMES]
    assert len(labels) == 300 + 20 * 5  # the best 300 of 20 x 40, all of 20 x 5

    sample = DetDataSample(metainfo=dict(img_path=str(image), ori_shape=(96, 160)))
    [sample] = model.predict(None, [sample])
    actual = sample.pred_instances
    assert 0 < len(actual) <= cfg.max_per_image
    assert actual.labels.max() >= 40 > actual.labels.min()
    encoder = build_encoder(cfg.encoder)
    with torch.no_grad():
        batch = encoder.preprocess([image], cfg.max_num_patches)
        regions = encoder.region_features(batch, [actual.bboxes], True)[0]
        p = (regions @ Vocabulary(NAMES).embed(encoder).T / 0.01).softmax(-1)
    p = p[range(len(actual)), actual.labels]
    expected = (actual.det_scores * p).sqrt()
    torch.testing.assert_close(actual.scores, expected, atol=1e-5, rtol=0)
    boxes = boxes.clamp(min=0).minimum(torch.tensor([160.0, 96, 160, 96]))
    for box, label, d in zip(
        actual.bboxes, actual.labels, actual.det_scores, strict=True
    ):
        assert (boxes - box).abs().amax(1).min() < 1e-3  # one of the detector's
        given = scores[labels == label]
        assert d == 0 or (given == d).any()  # 0: not of the best 300
    assert len(actual.bboxes.unique(dim=0)) * cfg.labels_per_box >= len(actual)


@torch.no_grad()
def test_an_image_is_resized_once(folder):
    """For all chunks of names; each image anew, and as with image and text at once."""
    path = FOLDER / 'rescore-joint_llmdet-t_fgclip2-b16_lvis-minival.py'
    detector = MODELS.build(load(path, folder).model.detector)
    detector.set_vocabulary(NAMES)
    given, process = [], detector.process
    detector.process = lambda **inputs: given.append([*inputs]) or process(**inputs)
    first, second = (
        detector.detect(folder / 'val2017' / f'{i}.png')[0] for i in (1, 2)
    )
    assert given == [['images'], ['text'], ['text']] * 2
    assert detector.seen == {} and not torch.equal(first, second)
    image = Image.open(folder / 'val2017' / '1.png')
    texts = dict(text='aerosol can. air conditioner.')
    whole = process(images=image, **texts)
    apart = process(images=image) | process(**texts)
    assert whole.keys() == apart.keys()
    for name, value in whole.items():
        assert torch.equal(value, apart[name]), name
