"""SAM 3 and SAM 3 Lite-Text asked name by name, against a whole pass for every name."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

import transformers as T
from mmengine.registry import init_default_scope
from safetensors.torch import save_file
from tokenizers import pre_tokenizers

from fgclip2_det import Vocabulary
from fgclip2_det.models.detectors import HuggingFaceDetector

NAMES = ['black cat', 'red cup', 'dog']
SMALL = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2)


class Processor:
    """What SAM 3's own does; its image part needs torchvision."""

    tokenizer: T.CLIPTokenizer

    def __call__(self, images=None, text=None, return_tensors='pt'):
        if images is None:
            return self.tokenizer(
                text, padding='max_length', max_length=32, return_tensors='pt'
            )
        pixels = np.asarray(images.resize((56, 56), 2), np.float32) / 127.5 - 1
        return dict(pixel_values=torch.from_numpy(pixels).permute(2, 0, 1)[None])

    def post_process_object_detection(self, outputs, threshold, target_sizes):
        scores = outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid()
        (height, width), keep = target_sizes[0], scores[0] > threshold
        size = torch.tensor([width, height, width, height])
        boxes = outputs.pred_boxes[0][keep] * size
        return [dict(scores=scores[0][keep], boxes=boxes)]


@pytest.fixture(scope='module', params=['Sam3', 'Sam3LiteText', 'Sam3Video'])
def folder(request, tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    kind = request.param.replace('Video', '')
    vision = T.Sam3VisionConfig(
        backbone_config=T.Sam3ViTConfig(
            **SMALL, num_hidden_layers=2, image_size=56, patch_size=14, window_size=2,
            global_attn_indexes=[1], pretrain_image_size=56,
        ),
        fpn_hidden_size=32,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    text = dict(SMALL, num_hidden_layers=3, vocab_size=600, max_position_embeddings=32,
                projection_dim=32)  # fmt: skip
    if kind == 'Sam3':
        text |= dict(pad_token_id=0, bos_token_id=512, eos_token_id=513)
    part = dict(SMALL, num_layers=1)
    model = getattr(T, f'{kind}Model')(
        getattr(T, f'{kind}Config')(
            vision_config=vision, text_config=text, geometry_encoder_config=part,
            detr_encoder_config=part, detr_decoder_config=dict(part, num_queries=20),
            mask_decoder_config=dict(hidden_size=32, num_attention_heads=2),
        )
    )  # fmt: skip
    model.save_pretrained(path)
    if request.param == 'Sam3Video':  # with the tracker left out
        T.Sam3VideoConfig(detector_config=model.config.to_dict()).save_pretrained(path)
        weights = {f'detector_model.{k}': v for k, v in model.state_dict().items()}
        save_file(weights, path / 'model.safetensors', dict(format='pt'))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(x + '</w>' for x in letters), '<|startoftext|>',
              '<|endoftext|>']  # fmt: skip
    tokenizer = T.CLIPTokenizer(
        vocab={x: i for i, x in enumerate(tokens)}, merges=[], model_max_length=32
    )
    if find_spec('torchvision'):
        images = T.Sam3ImageProcessor(size=dict(height=56, width=56))
        T.Sam3Processor(images, tokenizer).save_pretrained(path)
    return path, tokenizer


@pytest.mark.parametrize('size', [(96, 96), (160, 40)])
def test_one_name_at_a_time(size, folder, monkeypatch):
    init_default_scope('mmdet')
    path, Processor.tokenizer = folder
    if not find_spec('torchvision'):
        for name in ('AutoProcessor', 'Sam3Processor'):
            monkeypatch.setattr(
                getattr(T, name), 'from_pretrained', lambda _: Processor()
            )
    detector = HuggingFaceDetector(str(path), score_thr=0.1)
    detector.set_vocabulary(Vocabulary(NAMES))
    shape = (size[1], size[0], 3)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    encode, passes = detector.model.get_vision_features, []
    detector.model.get_vision_features = lambda *x: passes.append(1) or encode(*x)
    boxes, scores, labels = detector.detect(image)
    assert len(passes) == 1 and len(labels.unique()) == 3
    detector.chunk_size = 2
    for again, once in zip(
        detector.detect(image), (boxes, scores, labels), strict=True
    ):
        assert len(again) == len(once)
    assert len(passes) == 2 and detector.seen == {}  # one more, for both chunks

    for label, name in enumerate(NAMES):
        inputs = detector.process(images=image)['pixel_values']
        text = detector.process(text=name)
        with torch.no_grad():
            outputs = detector.model(pixel_values=inputs, **text)
        d = outputs.pred_logits[0].sigmoid() * outputs.presence_logits[0].sigmoid()
        order = d.argsort(descending=True)
        order = order[d[order] > 0.1]
        corners = outputs.pred_boxes[0] * torch.tensor([*size, *size])
        torch.testing.assert_close(scores[labels == label], d[order])
        torch.testing.assert_close(boxes[labels == label], corners[order])
