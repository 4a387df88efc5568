"""MMDetection's own Grounding DINO inside FGCLIP2Rescorer, through tools/test.py."""

import copy
import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

import transformers as T
from mmdet.registry import DATASETS, HOOKS, MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary

PATH = (
    Path(__file__).resolve().parents[2] / 'configs' / 'rescore'
    / 'rescore-joint_mm-grounding-dino-t_fgclip2-b16_lvis-minival.py'
)  # fmt: skip
NAMES = ['black_cat', '白色杯子', 'red cup', 'traffic_light_(red)', 'bench']
# '. ' between names; Grounding DINO leaves out what is in parentheses
CHUNKS = (('black cat', '白色杯子'), ('red cup', 'traffic light '), ('bench',))
WORDS = (
    '[PAD] [UNK] [CLS] [SEP] [MASK] . black cat 白 色 杯 子 red cup light traffic bench'
)
SIZES = [(160, 96), (100, 128), (96, 160)]  # w, h
SMALL = dict(feedforward_channels=32, embed_dim=32, num_layers=2, num_queries=20)


@HOOKS.register_module()
class KeepResultsHook(Hook):
    """Results of tools/test.py with all their fields."""

    results: list[DetDataSample] = []  # noqa: RUF012
    sizes: list[int] = []  # noqa: RUF012

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.results += outputs
        self.sizes.append(len(outputs))


@pytest.fixture(autouse=True)
def unformatted(monkeypatch):
    """yapf would lay out MMDetection's long config five times, two seconds each."""
    plain = 'yapf.yapflib.yapf_api.FormatCode'
    monkeypatch.setattr(plain, lambda text, **options: (text, True))


def shrink(config: dict) -> None:
    for key, value in config.items():
        if isinstance(value, dict):
            shrink(value)
        elif key in SMALL:
            config[key] = SMALL[key]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A BERT of one layer, three images with five categories, and weights."""
    folder = tmp_path_factory.mktemp('grounding')
    torch.manual_seed(0)
    bert = T.BertConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, vocab_size=32,
    )  # fmt: skip
    T.BertModel(bert, add_pooling_layer=False).save_pretrained(folder / 'bert')
    (folder / 'bert/vocab.txt').write_text(WORDS.replace(' ', '\n'), encoding='utf-8')
    T.BertTokenizerFast(vocab=str(folder / 'bert/vocab.txt')).save_pretrained(
        folder / 'bert'
    )
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i, (w, h) in enumerate(SIZES):
        pixels = rng.integers(0, 256, (h, w, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.png')
        images.append(dict(id=i, file_name=f'{i}.png', width=w, height=h))
        box = dict(bbox=[8, 8, 40, 30], area=1200, iscrowd=0)
        annotations.append(dict(id=i + 1, image_id=i, category_id=i + 2, **box))
    content = dict(images=images, annotations=annotations)
    content['categories'] = [dict(id=i + 1, name=x) for i, x in enumerate(NAMES)]
    (folder / 'ann.json').write_text(json.dumps(content))

    init_default_scope('mmdet')
    detector = MODELS.build(load(folder).model.detector)
    detector.init_weights()
    for branch in detector.bbox_head.reg_branches:  # or all boxes are of one size
        torch.nn.init.normal_(branch[-1].weight, std=0.02)
    for branch in detector.bbox_head.cls_branches:  # or all scores are near 0.01
        torch.nn.init.zeros_(branch.bias)
    save_checkpoint(
        dict(
            state_dict=detector.state_dict(),
            meta=dict(dataset_meta=dict(classes=('person', 'car'))),  # of its training
        ),
        str(folder / 'detector.pth'),
    )
    return folder


@functools.cache
def released() -> Config:
    return Config.fromfile(PATH)


def load(folder: Path, **options) -> Config:
    """The config, smaller, on the three images; two names a pass."""
    cfg = copy.deepcopy(released())
    model, detector = cfg.model, cfg.model.detector
    shrink(detector)
    detector.backbone.update(
        embed_dims=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4,
        init_cfg=None,
    )  # fmt: skip
    detector.neck.in_channels = [32, 64, 128]
    detector.language_model.name = str(folder / 'bert')
    detector.test_cfg.update(chunked_size=2, max_per_img=20)
    model.update(encoder=dict(pretrained='fgclip2_tiny'), templates='raw')
    model.update(mode='keep', merge_iou=None, nms_iou=None, max_per_image=None)
    model.update(cache_dir=None, **options)
    cfg.custom_hooks.append(dict(type='KeepResultsHook'))
    cfg.test_dataloader.update(
        batch_size=2, num_workers=0, persistent_workers=False,
    )  # fmt: skip
    cfg.test_dataloader.dataset.update(
        type='CocoDataset', data_root=str(folder), ann_file='ann.json',
        metainfo=dict(classes=NAMES),
    )  # fmt: skip
    cfg.test_dataloader.dataset.pipeline[1].scale = (80, 120)
    ann_file = str(folder / 'ann.json')
    cfg.test_evaluator = dict(type='CocoMetric', ann_file=ann_file, metric='bbox')
    return cfg


def run_test(
    cfg: Config, folder: Path, run_tool, tmp_path: Path
) -> list[DetDataSample]:
    cfg.dump(tmp_path / 'config.py')
    KeepResultsHook.results.clear()
    KeepResultsHook.sizes.clear()
    code, out, err = run_tool('test', tmp_path / 'config.py', folder / 'detector.pth')
    assert code == 0, err
    assert 'coco/bbox_mAP_50' in out
    return list(KeepResultsHook.results)


def test_config_says_what_its_name_says():
    cfg = released()
    detector = cfg.model.detector
    assert detector.type == 'GroundingDINO' and detector.backbone.embed_dims == 96
    assert detector.test_cfg == dict(max_per_img=300, chunked_size=40)
    assert detector.encoder.num_cp == 0 and not detector.backbone.with_cp
    assert cfg.model.encoder.pretrained == 'qihoo360/fg-clip2-base'
    assert cfg.model.fusion.type == 'OpenVocabGeometricFusion'
    ann_file = cfg.test_dataloader.dataset.ann_file
    assert 'minival' in ann_file and cfg.test_evaluator.ann_file.endswith(ann_file)
    assert cfg.test_evaluator.type == 'LVISFixedAPMetric'


@functools.cache
@torch.no_grad()
def reference(
    folder: Path, chunks: tuple[tuple[str, ...], ...]
) -> list[tuple[Tensor, ...]]:
    """Boxes, scores and labels of each image: the bare detector on one sentence after
    the other, told where in it the names are; images padded two by two."""
    cfg = load(folder)
    detector = cfg.model.detector
    detector.test_cfg.pop('chunked_size')
    detector = MODELS.build(detector).eval()
    detector.load_state_dict(torch.load(folder / 'detector.pth')['state_dict'])
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    results = []
    for batch in ([0, 1], [2]):
        data = pseudo_collate([dataset[i] for i in batch])
        data = detector.data_preprocessor(data)
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            actual, first = [], 0
            for chunk in chunks:
                text = '. '.join(chunk)
                places = [
                    [[text.index(name), text.index(name) + len(name.strip())]]
                    for name in chunk
                ]
                reported = dict(
                    text=text, custom_entities=False, tokens_positive=places
                )
                sample.set_metainfo(reported)
                rows = detector.predict(image[None], [sample])[0].pred_instances
                actual.append((rows.bboxes, rows.scores, rows.labels + first))
                first += len(chunk)
            results.append(
                tuple(torch.cat(column) for column in zip(*actual, strict=True))
            )
    return results


@functools.cache
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@torch.no_grad()
def probabilities(folder: Path, image: int, boxes: Tensor) -> Tensor:
    """(k, C) softmax of cosines / 0.01."""
    w, h = SIZES[image]
    boxes = boxes.clamp(min=0).minimum(torch.tensor([w, h, w, h]))
    batch = encoder().preprocess([folder / f'{image}.png'])
    regions = encoder().region_features(batch, [boxes], True)[0]
    embeds = Vocabulary(NAMES, check=False).embed(encoder())
    return (regions @ embeds.T / 0.01).softmax(-1)


@pytest.mark.parametrize(
    ('chunked_size', 'chunks'),
    [(2, CHUNKS), (-1, ((*CHUNKS[0], *CHUNKS[1], 'bench'),))],
)
def test_keep(chunked_size, chunks, folder, run_tool, tmp_path):
    """Boxes, labels and their order are the detector's, scores sqrt(d p)."""
    cfg = load(folder, one_by_one=chunked_size > 0)
    cfg.model.detector.test_cfg.chunked_size = chunked_size
    actual = run_test(cfg, folder, run_tool, tmp_path)
    assert KeepResultsHook.sizes == [2, 1]
    for sample, (boxes, d, labels) in zip(
        actual, reference(folder, chunks), strict=True
    ):
        rows = sample.pred_instances
        torch.testing.assert_close(rows.bboxes, boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(rows.det_scores, d, atol=1e-6, rtol=0)
        assert rows.labels.tolist() == labels.tolist()
        assert rows.label_names == [NAMES[i] for i in labels]
        assert len(labels) == 20 * len(chunks) and d.max() - d.min() > 0.05
        p = probabilities(folder, sample.img_id, boxes)
        expected = (d * p[range(len(d)), labels]).sqrt()
        torch.testing.assert_close(rows.scores, expected, atol=1e-5, rtol=0)
    assert set(labels.tolist()) == set(range(5)) or chunked_size == -1


def test_inferencer(folder, run_tool, tmp_path):
    """Boxes of tools/test.py, whatever names came before; and the detector alone."""
    cfg = load(folder)
    cfg.model.competitors = False  # names of a user as the classes of a data set
    cfg.test_dataloader.batch_size = 1  # no padding, which the detector sees
    expected = run_test(cfg, folder, run_tool, tmp_path)
    weights, config = folder / 'detector.pth', tmp_path / 'config.py'
    inferencer = OpenVocabInferencer(weights, detector=config)
    files = [folder / f'{i}.png' for i in range(3)]
    inferencer(files, ['cat'])
    results = inferencer(files, NAMES, batch_size=2)
    for found, sample in zip(results, expected, strict=True):
        rows = sample.pred_instances
        order = rows.scores.argsort(descending=True, stable=True)
        for key in ('bboxes', 'scores'):
            actual, own = getattr(found, key), rows[key][order]
            torch.testing.assert_close(actual, own, atol=1e-5, rtol=1e-6)
        assert found.labels.tolist() == rows.labels[order].tolist()
    cfg.model = cfg.model.detector
    cfg.dump(tmp_path / 'plain.py')
    alone = OpenVocabInferencer(
        weights, detector=tmp_path / 'plain.py', chunk_size=2, cache_size=0
    )
    boxes, d, _ = reference(folder, CHUNKS)[2]  # in a batch of its own
    found, order = alone(files, NAMES)[2], d.argsort(descending=True, stable=True)
    torch.testing.assert_close(found.scores, d[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.bboxes, boxes[order], atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match=r"nothing of 1 of 3 names: '\(black\)'"):
        alone(files[0], ['red cup', '(black)', 'cat'])


def merged(
    boxes: Tensor, d: Tensor, labels: Tensor, iou: float
) -> tuple[Tensor, Tensor]:
    """(m, 4) boxes and (m, C) their scores, a loop over the rows by score."""
    chosen, scores = [], []
    for row in d.argsort(descending=True, stable=True):
        box = boxes[row]
        near = [bbox_overlaps(box[None], other[None]) > iou for other in chosen]
        if not any(near):
            near.append(True)
            chosen.append(box)
            scores.append(torch.zeros(len(NAMES)))
        own = scores[near.index(True)]
        own[labels[row]] = max(own[labels[row]], d[row])
    return torch.stack(chosen), torch.stack(scores)


def test_joint(folder, run_tool, tmp_path):
    """What the chunks find again is one box with the names of all."""
    options = dict(mode='joint', merge_iou=0.6, labels_per_box=2)
    actual = run_test(load(folder, **options), folder, run_tool, tmp_path)
    for sample, rows in zip(actual, reference(folder, CHUNKS), strict=True):
        boxes, d = merged(*rows, 0.6)
        assert len(boxes) < len(rows[0].unique(dim=0)) and (d > 0).sum(1).max() > 1
        fused = (d * probabilities(folder, sample.img_id, boxes)).sqrt()
        best = fused.topk(2)
        order = best.values.flatten().argsort(descending=True)
        actual = sample.pred_instances
        expected = best.values.flatten()[order]
        torch.testing.assert_close(actual.scores, expected, atol=1e-5, rtol=0)
        some = expected > 0  # two names without a score may change places
        for key, value in dict(
            labels=best.indices, det_scores=d.gather(1, best.indices)
        ).items():
            torch.testing.assert_close(actual[key][some], value.flatten()[order][some])
        assert actual.label_names == [NAMES[i] for i in actual.labels]


@torch.no_grad()
def test_names_are_the_vocabularys(folder):
    """Whatever the data set said, and whatever classes the checkpoint names."""
    cfg = load(folder, checkpoint=str(folder / 'detector.pth'))
    model = MODELS.build(cfg.model).eval()
    assert model.detector.dataset_meta['classes'] == ('person', 'car')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for names, chunks in (
        (NAMES, CHUNKS),
        (['bench', 'red_cup', 'cat'], (('bench', 'red cup'), ('cat',))),
    ):
        model.set_vocabulary(names)
        data = pseudo_collate([dataset[0], dataset[1]])
        reported = dict(text='a red cup.', custom_entities=False, tokens_positive=-1)
        for sample in data['data_samples']:
            sample.set_metainfo(reported)
        actual = model.test_step(data)
        expected = reference(folder, chunks)[:2]
        for sample, (_, d, labels) in zip(actual, expected, strict=True):
            rows = sample.pred_instances
            torch.testing.assert_close(rows.det_scores, d, atol=1e-6, rtol=0)
            assert rows.labels.tolist() == labels.tolist()


@torch.no_grad()
def test_names_without_tokens(folder):
    """One in parentheses, which Grounding DINO leaves out; and more than 256 tokens."""
    cfg = load(folder)
    model = MODELS.build(cfg.model).eval()
    data = pseudo_collate([DATASETS.build(cfg.test_dataloader.dataset)[0]])
    with pytest.raises(ValueError, match=r"nothing of 1 of 3 names: '\(black\)'"):
        model.set_vocabulary(['red cup', '(black)', 'cat'])
    model.detector.test_cfg.chunked_size = -1
    words = itertools.product(['black', 'cat', 'red', 'cup', 'bench'], repeat=3)
    names = [' '.join(name) for name in words][:99]
    model.set_vocabulary(Vocabulary(names, check=False))
    with pytest.raises(ValueError, match=r'no score for .* set a smaller test_cfg'):
        model.test_step(data)


def test_words_that_bert_does_not_know(folder):
    """[UNK] stands for all of them, so their scores would be the same."""
    model = MODELS.build(load(folder).model)
    with pytest.raises(
        ValueError, match=r"GroundingDINO cannot read 2 of 3 names: '黑猫', '白狗'"
    ):
        model.set_vocabulary(['黑猫', '白狗', 'red cup'])
    assert model.vocabulary is None
    model.set_vocabulary(Vocabulary([['黑猫', 'black_cat'], 'red cup'], check=False))
    assert model._names_to_give == ['black cat', 'red cup']
    assert model.vocabulary.names == ['黑猫', 'red cup']


@torch.no_grad()
def test_bert_reads_every_name_alone(folder):
    """A mask of pairs of tokens in transformers 5: [CLS] black cat . red cup . [SEP]"""
    model = MODELS.build(load(folder).model.detector.language_model).eval()
    actual = model(['black cat. red cup. '])['embedded'][0]
    plain = T.BertModel.from_pretrained(folder / 'bert', add_pooling_layer=False)
    ids = model.tokenizer('black cat. red cup. ', return_tensors='pt').input_ids
    parts = [ids[:, :1], ids[:, 1:4], ids[:, 4:7], ids[:, 7:]]
    expected = [plain(part).last_hidden_state[0] for part in parts]
    torch.testing.assert_close(actual, torch.cat(expected))


def test_boxes_are_encoded_as_released(folder):
    """Four coordinates, 64 sines and cosines each: released weights know no other
    numbers, whatever DINO's decoder makes of boxes."""
    from mmdet.models.layers.transformer.utils import coordinate_to_encoding

    boxes = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    angles = boxes[..., [1, 0, 2, 3], None] * 2 * torch.pi  # y, x, w, h
    angles = angles / 10000 ** (torch.arange(64) / 64)
    expected = torch.stack([angles.sin(), angles.cos()], -1).flatten(2)
    head = MODELS.build(load(folder).model.detector).decoder.ref_point_head
    assert head.layers[0].in_features == 512
    for count in (128, 256):
        actual = head(coordinate_to_encoding(boxes, count))
        torch.testing.assert_close(actual, head(expected))
