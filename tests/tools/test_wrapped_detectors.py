"""Detectors of other kinds inside FGCLIP2Rescorer, through tools/test.py."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

import transformers as T
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from tokenizers import pre_tokenizers

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.models.detectors import HuggingFaceDetector

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['black cat', '白色杯子']
TINY = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2)  # fmt: skip


def owlv2(folder: Path) -> Path:
    text = dict(TINY, vocab_size=600, max_position_embeddings=32, pad_token_id=0,
                bos_token_id=1, eos_token_id=2)  # fmt: skip
    config = T.Owlv2Config(
        vision_config=dict(TINY, image_size=96, patch_size=16), text_config=text,
        projection_dim=32,
    )  # fmt: skip
    T.Owlv2ForObjectDetection(config).save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [
        *letters,
        *(x + '</w>' for x in letters),
        '<|startoftext|>',
        '<|endoftext|>',
    ]
    (folder / 'vocab.json').write_text(json.dumps({x: i for i, x in enumerate(tokens)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    files = str(folder / 'vocab.json'), str(folder / 'merges.txt')
    tokenizer = T.CLIPTokenizer(*files, model_max_length=32)
    images = T.Owlv2ImageProcessorPil(size=dict(height=96, width=96))
    T.Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return folder


def mm_grounding_dino(folder: Path) -> Path:
    layers = {f'{part}_{name}': value for part in ('encoder', 'decoder') for name, value
              in dict(layers=2, ffn_dim=32, attention_heads=2).items()}  # fmt: skip
    swin = T.SwinConfig(
        embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4,
        image_size=96, out_features=['stage2', 'stage3', 'stage4'],
    )  # fmt: skip
    config = T.MMGroundingDinoConfig(
        backbone_config=swin, text_config=T.BertConfig(**TINY, vocab_size=64),
        d_model=32, num_queries=20, max_text_len=16, **layers,
    )  # fmt: skip
    T.MMGroundingDinoForObjectDetection(config).save_pretrained(folder)
    words = '[PAD] [UNK] [CLS] [SEP] [MASK] . ? black cat 白 色 杯 子 red cup'
    (folder / 'vocab.txt').write_text(words.replace(' ', '\n'), encoding='utf-8')
    tokenizer = T.BertTokenizerFast(vocab=str(folder / 'vocab.txt'))
    images = T.GroundingDinoImageProcessorPil(
        size=dict(shortest_edge=96, longest_edge=160)
    )
    T.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def detr(folder: Path) -> Path:
    names = {0: 'N/A', 1: '白色杯子', 2: 'Black  cat'}
    resnet = T.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1] * 4,
        layer_type='basic', out_features=['stage4'],
    )  # fmt: skip
    config = T.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=resnet, d_model=32, num_queries=20, encoder_layers=1,
        decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, id2label=names,
        label2id={name: label for label, name in names.items()},
    )  # fmt: skip
    model = T.DetrForObjectDetection(config)
    torch.nn.init.normal_(model.class_labels_classifier.weight, std=2.0)
    model.save_pretrained(folder)
    size = dict(shortest_edge=96, longest_edge=160)
    T.DetrImageProcessorPil(size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    return {
        build.__name__: build(tmp_path_factory.mktemp(build.__name__))
        for build in (owlv2, mm_grounding_dino, detr)
    }


@pytest.fixture(scope='module')
def image() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    return Image.fromarray(pixels)


def rescorer_config(write_config, detector: dict | None, **options) -> Path:
    """The tiny detection config with its model wrapped, or another detector."""
    config = Config.fromfile(write_config())
    config.model = dict(
        type='FGCLIP2Rescorer', detector=detector or config.model,
        encoder=dict(pretrained='fgclip2_tiny'), **options,
    )  # fmt: skip
    config.custom_hooks = [dict(type='OpenVocabVocabularyHook')]
    config.test_dataloader.batch_size = 3
    prefix = f'{write_config().parent}/results'
    config.test_evaluator.outfile_prefix = prefix
    path = write_config().with_name('rescore.py')
    config.dump(path)
    return path


def results(path: Path) -> list[dict]:
    return json.loads(path.with_name('results.bbox.json').read_text())


def expected_keep(rows: list[dict], data: Path) -> np.ndarray:
    """sqrt(score x softmax of cosines), one row after the other."""
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    names = Vocabulary(NAMES).embed(encoder)
    scores = []
    for row in rows:
        batch = encoder.preprocess([data / f'{row["image_id"]}.png'])
        x, y, w, h = row['bbox']
        with torch.no_grad():
            region = encoder.region_features(batch, [[[x, y, x + w, y + h]]], True)[0]
        p = ((region @ names.T) / 0.01).softmax(-1)[0, row['category_id']]
        scores.append((row['score'] * float(p)) ** 0.5)
    return np.array(scores)


def test_retinanet(write_config, run_tool, coco_data, tmp_path):
    """Its own checkpoint is loaded; 'keep' changes the scores alone."""
    config = write_config()
    cfg = Config.fromfile(config)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    torch.nn.init.normal_(detector.bbox_head.retina_cls.weight, std=0.3)
    checkpoint = tmp_path / 'retinanet.pth'
    save_checkpoint(dict(state_dict=detector.state_dict()), str(checkpoint))
    options = ['--cfg-options', f'test_evaluator.outfile_prefix={tmp_path}/raw/results']
    code, _, err = run_tool('test', config, checkpoint, *options)
    assert code == 0, err
    raw = results(tmp_path / 'raw' / 'x')

    path = rescorer_config(write_config, None)
    code, _, err = run_tool('test', path, checkpoint)
    assert code == 0, err
    actual = results(path)
    assert len(actual) == len(raw) > 20

    def key(row):
        box = (round(side, 3) for side in row['bbox'])
        return row['image_id'], row['category_id'], *box

    raw, actual = sorted(raw, key=key), sorted(actual, key=key)
    boxes = [np.array([key(row) for row in rows]) for rows in (raw, actual)]
    np.testing.assert_allclose(*boxes, atol=2e-3)  # a batch of three images
    scores = np.array([row['score'] for row in actual])
    some = range(0, len(raw), 7)
    expected = expected_keep([raw[i] for i in some], coco_data)
    np.testing.assert_allclose(scores[some], expected, atol=2e-5)

    options = ['--cfg-options', 'model.detector.bbox_head.stacked_convs=2']
    code, _, err = run_tool('test', path, checkpoint, *options)
    assert code == 2 and 'does not fit the model of the config' in err


@pytest.mark.parametrize('kind', ['owlv2', 'mm_grounding_dino', 'detr'])
def test_hugging_face(kind, folders, write_config, run_tool):
    detector = dict(type='HuggingFaceDetector', pretrained=str(folders[kind]))
    options = dict(mode='joint', floor=0.01, nms_iou=0.6, max_per_image=15)
    path = rescorer_config(write_config, detector, **options)
    code, out, err = run_tool('test', path)
    assert code == 0, err
    actual = results(path)
    assert 'coco/bbox_mAP_50' in out
    assert {row['image_id'] for row in actual} == {0, 1, 2, 3}
    assert all(0 <= row['score'] <= 1 for row in actual)
    count = np.bincount([row['image_id'] for row in actual])
    assert count.max() <= 15


def test_query_labels_are_post_process(folders, image):
    detector = HuggingFaceDetector(str(folders['owlv2']), max_per_image=None)
    detector.set_vocabulary(NAMES)
    boxes, scores, labels = detector.detect(image)
    processor = T.AutoProcessor.from_pretrained(folders['owlv2'])
    inputs = processor(text=[NAMES], images=image, return_tensors='pt')
    with torch.no_grad():
        outputs = detector.model(**inputs)
    probabilities = outputs.logits[0].sigmoid()
    order = scores.argsort()
    torch.testing.assert_close(scores[order], probabilities.amax(1).sort().values)
    assert boxes.shape == (36, 4) and set(labels.tolist()) <= {0, 1}


def test_token_scores_are_means_of_tokens(folders, image):
    """'black cat' is tokens 1, 2; 'red cup' 4, 5 of '[CLS] black cat. red cup.'"""
    detector = HuggingFaceDetector(str(folders['mm_grounding_dino']))
    detector.set_vocabulary(['black_cat', 'Red cup'])
    boxes, scores, labels = detector.detect(image)
    inputs = detector.process(images=image, text='black cat. red cup.')
    outputs = detector.model.requires_grad_(False)(**inputs)
    tokens = outputs.logits[0].sigmoid()
    expected = torch.stack([tokens[:, 1:3].mean(1), tokens[:, 4:6].mean(1)], 1)
    values, cells = expected.flatten().sort(descending=True)
    torch.testing.assert_close(scores, values)
    assert labels.tolist() == (cells % 2).tolist()
    centre, size = outputs.pred_boxes[0, cells // 2].split(2, 1)
    corner = (centre - size / 2).clamp(min=0) * torch.tensor([160, 96])
    torch.testing.assert_close(boxes[:, :2], corner)


def test_chunks(folders, image):
    """A name has the scores of its own chunk, and labels go on counting."""
    folder = str(folders['mm_grounding_dino'])
    detector = HuggingFaceDetector(folder, chunk_size=1)
    detector.set_vocabulary(['black cat', 'red cup'])
    _, scores, labels = detector.detect(image)
    assert labels.bincount().tolist() == [20, 20]
    alone = HuggingFaceDetector(folder)
    alone.set_vocabulary(['red cup'])
    torch.testing.assert_close(scores[labels == 1], alone.detect(image)[1])

    detector = HuggingFaceDetector(folder)
    detector.set_vocabulary(['black cat', 'red cup', '白色杯子', 'cat', 'cup', 'red'])
    with pytest.raises(ValueError, match=r'6 names have .* set a smaller chunk_size'):
        detector.detect(image)


def test_closed_set_labels_go_by_name(folders, image):
    detector = HuggingFaceDetector(str(folders['detr']))
    with pytest.warns(UserWarning, match="1 of 3 names, .*: 'unknown'; give"):
        detector.set_vocabulary(['unknown', '白色杯子', 'black cat'])
    _, scores, labels = detector.detect(image)
    with torch.no_grad():
        logits = detector.model(**detector.process(images=image)).logits[0]
    best = logits.softmax(-1)[:, :-1].max(1)
    expected = (best.indices > 0).sum()  # 'N/A' is no name
    assert len(scores) == expected
    assert labels.bincount(minlength=3)[1] == (best.indices == 1).sum()
    with pytest.raises(ValueError, match=r'none of the names .* only detects its own'):
        detector.set_vocabulary(['cup'])
    assert detector.vocabulary.names[0] == 'unknown'  # the one before stays


def test_closed_set_answers_to_synonyms(folders, image, monkeypatch):
    """RT-DETR's words for COCO's classes; the vocabulary's aliases; never twice."""
    detector = HuggingFaceDetector(str(folders['detr']))
    words = ['sofa', 'tvmonitor', 'pottedplant']
    for turn in range(3):  # its weights find one class alone
        own = dict(enumerate(words[turn:] + words[:turn]))
        monkeypatch.setattr(detector.model.config, 'id2label', own)
        actual = []
        for names in (
            words,
            ['couch', 'tv', 'potted plant'],
            ['Couch', ['screen', 'TV'], ['plant', 'potted_plant']],
        ):
            with warnings.catch_warnings(action='error'):
                detector.set_vocabulary(Vocabulary(names, check=False))
            actual.append(detector.detect(image)[2].tolist())
        assert actual[0] == actual[1] == actual[2] and actual[0]
        label = words.index(own[2])
        assert set(actual[0]) == {label}
    monkeypatch.setattr(detector.model.config, 'id2label', {2: 'sofa'})
    with pytest.warns(UserWarning, match="1 of 2 names, .*: 'couch'"):
        detector.set_vocabulary(['couch', 'sofa'])
    assert set(detector.detect(image)[2].tolist()) == {1}


def test_unknown_words_are_an_error(folders):
    """[UNK] to BERT: two Chinese names would have the same scores."""
    detector = HuggingFaceDetector(str(folders['mm_grounding_dino']))
    with pytest.raises(ValueError, match=r"cannot read 2 of 3 names: '黑猫', '白狗'; "):
        detector.set_vocabulary(['黑猫', '白狗', 'red cup'])
    names = Vocabulary([['黑猫', 'black cat'], ['red cup', '红杯子'], '白色杯子'])
    detector.set_vocabulary(names)
    assert detector._names == ['black cat', 'red cup', '白色杯子']
    assert detector.vocabulary.names == ['黑猫', 'red cup', '白色杯子']


def test_owl_names_the_long_name_and_the_limit(folders, image):
    """Its 32 positions hold a letter each, as nothing is merged, and two marks."""
    detector = HuggingFaceDetector(str(folders['owlv2']))
    text = 'a very long description of nothing much'
    with pytest.raises(ValueError, match=rf"32 tokens .*'{text}' with \d+ tokens"):
        detector.set_vocabulary(['cat', text])
    detector.set_vocabulary(Vocabulary(['cat', [text, 'nothing']]))
    assert detector._names == ['cat', 'nothing']
    detector.detect(image)
    with pytest.warns(
        UserWarning, match="names are only bytes to it: '猫'"
    ) as reported:
        detector.set_vocabulary(['猫', 'café'])
    assert len(reported) == 1


def test_wrong_input(folders, write_config, tmp_path):
    init_default_scope('mmdet')
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a 'bert', but there are adapters for"):
        HuggingFaceDetector(str(tmp_path))
    with pytest.raises(ValueError, match='chunk_size must be at least 1'):
        HuggingFaceDetector(str(folders['owlv2']), chunk_size=0)
    cfg = Config.fromfile(rescorer_config(write_config, None))
    model = MODELS.build(cfg.model)
    with pytest.raises(ValueError, match='the re-scorer has no vocabulary'):
        model.predict(torch.zeros(1, 3, 32, 32), [])
    with pytest.raises(FileNotFoundError, match=r'no config absent\.py'):
        MODELS.build(cfg.model | dict(detector='absent.py'))
    detector = MODELS.build(cfg.model.detector)
    meta = dict(dataset_meta=dict(classes=NAMES[::-1]))
    path = tmp_path / 'other_order.pth'
    save_checkpoint(dict(state_dict=detector.state_dict(), meta=meta), str(path))
    model = MODELS.build(cfg.model | dict(checkpoint=str(path)))
    with pytest.raises(ValueError, match="differ at label 0: \\['白色杯子'\\] there"):
        model.set_vocabulary(NAMES)
    assert model.set_vocabulary(NAMES[::-1]).names == NAMES[::-1]


LLMDET = sorted((ROOT / 'configs/rescore/llmdet').glob('*.py'))


@pytest.mark.parametrize('path', LLMDET, ids=lambda path: path.stem)
def test_llmdet_configs_say_what_their_names_say(path):
    cfg = Config.fromfile(path)
    _, detector, encoder, data = path.stem.split('_')
    size = dict(t='tiny', b='base', l='large')[detector[-1]]
    assert cfg.model.detector.pretrained == f'iSEE-Laboratory/llmdet_{size}'
    size = {'b16': 'base', 'l16': 'large', 'so16': 'so400m'}[encoder.split('-')[1]]
    assert cfg.model.encoder.pretrained == f'qihoo360/fg-clip2-{size}'
    kinds = {'coco': 'CocoDataset'}
    dataset = cfg.test_dataloader.dataset
    assert dataset.type == kinds.get(data, 'LVISV1Dataset')
    assert ('minival' in dataset.ann_file) == ('minival' in data)
    assert cfg.test_evaluator.ann_file.endswith(dataset.ann_file)
    assert cfg.model.fusion.type == 'OpenVocabGeometricFusion'


@pytest.mark.parametrize('data', ['lvis-minival', 'coco'])
def test_llmdet_config_runs(data, folders, run_tool, coco_data, tmp_path):
    """With random weights of its architecture, two names in its data's layout."""
    if data != 'coco':
        pytest.importorskip('lvis', reason='needs the package lvis')
    content = json.loads((coco_data / 'ann.json').read_text())
    for image in content['images']:
        image['coco_url'] = f'http://images.cocodataset.org/x/{image["file_name"]}'
        image |= dict(neg_category_ids=[], not_exhaustive_category_ids=[])
    for category in content['categories']:
        category['frequency'] = 'f'
    path = ROOT / f'configs/rescore/llmdet/rescore-joint_llmdet-t_fgclip2-b16_{data}.py'
    cfg = Config.fromfile(path)
    dataset = cfg.test_dataloader.dataset
    ann_file = tmp_path / dataset.ann_file
    ann_file.parent.mkdir()
    ann_file.write_text(json.dumps(content))
    # LVIS names its images by folder and file of COCO
    folder = tmp_path / ('val2017' if data == 'coco' else 'x')
    shutil.copytree(coco_data, folder)
    cfg.merge_from_dict(
        {
            'model.detector.pretrained': str(folders['mm_grounding_dino']),
            'model.encoder': dict(_delete_=True, size='tiny'),
            'model.templates': 'raw',
            'model.cache_dir': str(tmp_path / 'texts'),
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'test_dataloader.dataset.data_root': str(tmp_path),
            'test_dataloader.dataset.metainfo': dict(classes=NAMES),
            'test_evaluator.ann_file': str(ann_file),
        }
    )
    cfg.dump(tmp_path / 'config.py')
    code, _, err = run_tool(
        'test', tmp_path / 'config.py', '--work-dir', tmp_path / 'w'
    )
    assert code == 0, err
    metrics = json.loads((tmp_path / 'w' / 'metrics.json').read_text())
    name = 'coco/bbox_mAP' if data == 'coco' else 'lvis_fixed_ap/AP'
    assert 0 <= metrics[name] <= 1
