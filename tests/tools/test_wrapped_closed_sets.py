"""Closed-set detectors of transformers, against their own post-processing."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

import transformers as T
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.models.detectors import HuggingFaceDetector
from fgclip2_det.models.detectors.huggingface_outputs import ADAPTERS

# five names make five outputs, 0 to 4: label 3 has no name, and 5 is never found
NAMES = {0: 'N/A', 1: '白色杯子', 2: 'Black  cat', 4: 'n/a', 5: 'dog'}
WANTED = ['unknown', 'black cat', '白色杯子']
LABEL_OF = {1: 2, 2: 1}
SIDE = 64
RESNET = dict(embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1] * 4,
              layer_type='basic')  # fmt: skip
HGNET = dict(
    embedding_size=8, stem_channels=[3, 8, 8], stage_in_channels=[8] * 4,
    stage_mid_channels=[8] * 4, stage_out_channels=[8, 8, 8, 16],
    stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, depths=[1] * 4,
    hidden_sizes=[8, 8, 8, 16], out_indices=[2, 3, 4],
)  # fmt: skip
PYRAMID = dict(
    encoder_in_channels=[8, 8, 16], encoder_hidden_dim=32, encoder_ffn_dim=32,
    encoder_attention_heads=2, d_model=32, num_queries=20,
    decoder_in_channels=[32] * 3, decoder_ffn_dim=32, decoder_layers=2,
    decoder_attention_heads=2, hidden_expansion=0.5, num_denoising=0,
)  # fmt: skip
DETR = dict(
    num_queries=20, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32,
    decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
)  # fmt: skip
WINDOWS = dict(
    d_model=32, decoder_ffn_dim=32, decoder_layers=1, num_queries=12, group_detr=1,
    decoder_self_attention_heads=2, decoder_cross_attention_heads=2, c2f_num_blocks=1,
)  # fmt: skip
VIT = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)


def rt_detr_v2(labels):
    stages = ['stage2', 'stage3', 'stage4']
    backbone = T.RTDetrResNetConfig(**RESNET, out_features=stages)
    config = T.RTDetrV2Config(backbone_config=backbone, **PYRAMID, **labels)
    return T.RTDetrV2ForObjectDetection(config), T.RTDetrImageProcessorPil


def d_fine(labels):
    backbone = T.HGNetV2Config(**HGNET)
    config = T.DFineConfig(backbone_config=backbone, **PYRAMID, **labels)
    return T.DFineForObjectDetection(config), T.RTDetrImageProcessorPil


def deimv2(labels):
    backbone = T.HGNetV2Config(**HGNET)
    config = T.Deimv2Config(backbone_config=backbone, **PYRAMID, **labels)
    return T.Deimv2ForObjectDetection(config), T.RTDetrImageProcessorPil


def rf_detr(labels):
    """Its processor needs torchvision. RT-DETR's resizes and decodes alike."""
    vit = dict(VIT, model_type='rf_detr_dinov2', image_size=SIDE, patch_size=16,
               num_windows=2, out_indices=[1, 2])  # fmt: skip
    config = T.RfDetrConfig(
        backbone_config=vit, intermediate_size=32, **WINDOWS, **labels
    )
    torchvision = find_spec('torchvision')
    images = T.RfDetrImageProcessor if torchvision else T.RTDetrImageProcessorPil
    return T.RfDetrForObjectDetection(config), images


def lw_detr(labels):
    vit = T.LwDetrViTConfig(
        **VIT, image_size=SIDE, pretrain_image_size=SIDE, num_windows=4,
        out_indices=[1, 2], window_block_indices=[0],
    )  # fmt: skip
    config = T.LwDetrConfig(
        backbone_config=vit, projector_scale_factors=[1.0], **WINDOWS, **labels
    )
    return T.LwDetrForObjectDetection(config), T.DeformableDetrImageProcessorPil


def dab_detr(labels):
    backbone = T.ResNetConfig(**RESNET, out_features=['stage4'])
    config = T.DabDetrConfig(backbone_config=backbone, hidden_size=32, **DETR, **labels)
    return T.DabDetrForObjectDetection(config), T.ConditionalDetrImageProcessorPil


def yolos(labels):
    config = T.YolosConfig(
        **VIT, intermediate_size=32, image_size=[96, 160], num_detection_tokens=20,
        **labels,
    )  # fmt: skip
    return T.YolosForObjectDetection(config), T.YolosImageProcessorPil


def conditional_detr(labels):
    backbone = T.ResNetConfig(**RESNET, out_features=['stage4'])
    config = T.ConditionalDetrConfig(
        backbone_config=backbone, d_model=32, use_timm_backbone=False, **DETR, **labels
    )
    model = T.ConditionalDetrForObjectDetection(config)
    return model, T.ConditionalDetrImageProcessorPil


KINDS = dict(
    rt_detr_v2=rt_detr_v2, d_fine=d_fine, deimv2=deimv2, rf_detr=rf_detr,
    lw_detr=lw_detr, dab_detr=dab_detr, yolos=yolos, conditional_detr=conditional_detr,
)  # fmt: skip


def build(kind: str, folder: Path, names: dict[int, str] = NAMES) -> Path:
    """A random model with five labels, spread so that queries differ in them."""
    torch.manual_seed(1)
    labels = dict(id2label={i: f'LABEL_{i}' for i in range(5)})
    model, images = KINDS[kind](labels)
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and any(part in name for part in ('class', 'bbox', 'score')):
            torch.nn.init.normal_(weight, std=2 / weight.shape[1] ** 0.5)
        elif any(part in name for part in ('quer', 'detection_tokens')):
            torch.nn.init.normal_(weight)
    model.config.id2label = names
    model.save_pretrained(folder)
    size = dict(height=SIDE, width=SIDE)
    if kind not in ('rt_detr_v2', 'd_fine', 'deimv2', 'rf_detr', 'lw_detr'):
        size = dict(shortest_edge=96, longest_edge=160)
    images(size=size).save_pretrained(folder)
    return folder


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@torch.no_grad()
def own_detections(folder: Path, model, image, **options):
    """Its post-processing; one box after the other, those with a wanted label."""
    processor = T.AutoImageProcessor.from_pretrained(folder)
    outputs = model(**processor(images=image, return_tensors='pt'))
    (result,) = processor.post_process_object_detection(
        outputs, threshold=0.0, target_sizes=[(image.height, image.width)], **options
    )
    rows = zip(result['boxes'], result['scores'], result['labels'], strict=True)
    rows = [(box, score, int(label)) for box, score, label in rows]
    return sorted(rows, key=lambda row: -row[1]), result['labels']


@pytest.mark.parametrize('kind', KINDS)
def test_own_post_processing(kind, tmp_path):
    init_default_scope('mmdet')
    folder = build(kind, tmp_path)
    detector = HuggingFaceDetector(str(folder))
    with pytest.warns(UserWarning, match="no class for 1 of 3 names, .*: 'unknown'"):
        detector.set_vocabulary(WANTED)
    found = set()
    for size in ((96, 96), (200, 40)):
        image = picture(*size)
        boxes, scores, labels = detector.detect(image)
        rows, all_labels = own_detections(folder, detector.model, image)
        rows = [row for row in rows if row[2] in LABEL_OF]
        assert 0 < len(boxes) == len(rows) < len(all_labels)
        expected = torch.stack([box for box, _, _ in rows])
        torch.testing.assert_close(boxes, expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(scores, torch.stack([score for _, score, _ in rows]))
        assert labels.tolist() == [LABEL_OF[label] for _, _, label in rows]
        found |= set(all_labels.tolist())
    assert found - set(LABEL_OF)  # 'N/A', or the label without a name


def test_a_limit_that_leaves_nothing():
    with pytest.raises(ValueError, match='max_per_image must be at least 1 or None'):
        HuggingFaceDetector('nowhere', max_per_image=0)


@pytest.mark.parametrize('kind', ['dab_detr', 'lw_detr'])
def test_their_limit_of_100_boxes_is_ours(kind, tmp_path, monkeypatch):
    """Queries x labels are 100 and 60 here, so the limit is put at 45."""
    detector = HuggingFaceDetector(str(build(kind, tmp_path)), max_per_image=45)
    detector.set_vocabulary(WANTED[1:])
    own, asked = detector.processor.post_process_object_detection, []

    def post_process(*args, top_k, **options):
        asked.append(top_k)
        return own(*args, top_k=top_k, **options)

    name = 'post_process_object_detection'
    monkeypatch.setattr(detector.processor, name, post_process)
    image = picture(96, 96)
    boxes = detector.detect(image)[0]
    rows, _ = own_detections(tmp_path, detector.model, image, top_k=45)
    assert asked == [45] and len(rows) == 45
    expected = torch.stack([row[0] for row in rows if row[2] in LABEL_OF])
    torch.testing.assert_close(boxes, expected, atol=1e-4, rtol=0)
    detector.max_per_image = None
    detector.detect(image)
    assert asked[1] == detector.model.config.num_queries * 5


def test_labels_without_a_name_are_never_asked(tmp_path):
    detector = HuggingFaceDetector(str(build('yolos', tmp_path)))
    with pytest.raises(ValueError, match=r"none of the names \('N/A', .* is a class"):
        detector.set_vocabulary(['N/A'])
    for names in ({0: 'N/A', 1: ' '}, {}):
        detector.model.config.id2label = names
        with pytest.raises(ValueError, match=r'config.json of the detector names no'):
            detector.set_vocabulary(['cat'])
    detector.model.config.id2label = dict.fromkeys(range(5), 'cat')
    detector.set_vocabulary(['cat'])
    assert len(detector.detect(picture(96, 96))[0]) == 20


def test_a_model_that_this_transformers_lacks(tmp_path, monkeypatch):
    (tmp_path / 'config.json').write_text('{"model_type": "of_tomorrow"}')
    adapter = ADAPTERS['yolos']
    with monkeypatch.context() as context:
        context.setitem(ADAPTERS, 'of_tomorrow', adapter)
        with pytest.raises(ValueError, match=rf'transformers {T.__version__} does not'):
            HuggingFaceDetector(str(tmp_path))
    with pytest.raises(ValueError, match="is a 'of_tomorrow', but there are adapters"):
        HuggingFaceDetector(str(tmp_path))


@pytest.mark.parametrize('kind', ['lw_detr', 'yolos'])
def test_rescored_for_the_names_of_the_user(kind, tmp_path):
    """sqrt(the detector's score x softmax of the region's cosines with all names)."""
    init_default_scope('mmdet')
    detector = dict(type='HuggingFaceDetector', pretrained=str(build(kind, tmp_path)))
    rescorer = MODELS.build(
        dict(type='FGCLIP2Rescorer', detector=detector,
             encoder=dict(pretrained='fgclip2_tiny'), competitors=False)
    )  # fmt: skip
    names = WANTED[1:]
    rescorer.set_vocabulary(names)
    image, path = picture(200, 40), tmp_path / 'picture.png'
    image.save(path)
    meta = dict(img_path=str(path), ori_shape=(40, 200), img_shape=(40, 200))
    sample = DetDataSample(metainfo=meta | dict(scale_factor=(1.0, 1.0)))
    (result,) = rescorer.predict(torch.zeros(1, 3, 40, 200), [sample])
    boxes, scores, labels = rescorer.detector.detect(image)
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    size = torch.tensor([200, 40, 200, 40])
    clipped = boxes.clamp(min=0).minimum(size)
    with torch.no_grad():
        (regions,) = encoder.region_features(
            encoder.preprocess([path]), [clipped], True
        )
    share = (regions @ Vocabulary(names).embed(encoder).T / 0.01).softmax(-1)
    expected = (scores * share[torch.arange(len(labels)), labels]).sqrt().sort().values
    actual = result.pred_instances.scores.sort().values
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)
