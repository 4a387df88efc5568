"""OmDet-Turbo and Florence-2, against their own post-processing."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

import transformers as T
from mmengine.registry import init_default_scope
from tokenizers import pre_tokenizers

from fgclip2_det import Vocabulary
from fgclip2_det.models.detectors import HuggingFaceDetector

NAMES = ['black cat', 'red cup', 'dog']
SIZES = [(96, 96), (200, 40)]
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
LAYER = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
             num_attention_heads=2)  # fmt: skip
TASK = '<OPEN_VOCABULARY_DETECTION>'
needs_torchvision = pytest.mark.skipif(
    not find_spec('torchvision'), reason="OmDet-Turbo's processor needs torchvision"
)


def omdet(folder: Path) -> Path:
    swin = T.SwinConfig(
        embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4,
        image_size=96, out_features=['stage2', 'stage3', 'stage4'],
    )  # fmt: skip
    text = T.CLIPTextConfig(
        **LAYER, vocab_size=600, max_position_embeddings=77, projection_dim=32,
        pad_token_id=0, bos_token_id=512, eos_token_id=513,
    )  # fmt: skip
    words = dict.fromkeys(
        ('text_projection_in_dim', 'text_projection_out_dim', 'class_embed_dim',
         'task_encoder_hidden_dim'), 32)  # fmt: skip
    sizes = dict.fromkeys(
        ('encoder_hidden_dim', 'encoder_dim_feedforward', 'decoder_hidden_dim',
         'decoder_dim_feedforward'), 16)  # fmt: skip
    config = T.OmDetTurboConfig(
        backbone_config=swin, text_config=text, image_size=96, num_queries=20,
        vision_features_channels=[16] * 3, encoder_in_channels=[32, 64, 128],
        encoder_attention_heads=2, decoder_num_heads=2, decoder_num_layers=1,
        apply_layernorm_after_vision_backbone=False, **words, **sizes,
    )  # fmt: skip
    T.OmDetTurboForObjectDetection(config).save_pretrained(folder)
    tokens = [*LETTERS, *(x + '</w>' for x in LETTERS), '<|startoftext|>',
              '<|endoftext|>']  # fmt: skip
    tokenizer = T.CLIPTokenizer(
        vocab={x: i for i, x in enumerate(tokens)}, merges=[], model_max_length=77
    )
    images = T.DetrImageProcessorPil(size=dict(height=96, width=96), do_pad=False)
    if find_spec('torchvision'):
        T.OmDetTurboProcessor(images, tokenizer).save_pretrained(folder)
    else:
        images.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def florence(folder: Path) -> Path:
    """It writes the letter 'c' and locations, which its generation_config demands."""
    places = [f'<loc_{i}>' for i in range(1000)]
    tokens = ['<s>', '<pad>', '</s>', '<unk>', *LETTERS]
    tokenizer = T.BartTokenizer(
        vocab={x: i for i, x in enumerate(tokens)}, merges=[],
        extra_special_tokens=dict(image_token='<image>'),
    )  # fmt: skip
    tokenizer.add_tokens(places)
    images = T.CLIPImageProcessorPil(
        size=dict(height=64, width=64), do_center_crop=False, image_seq_length=5
    )
    parsers = {'description_with_bboxes_or_polygons': {}}
    processor = T.Florence2Processor(images, tokenizer, post_processor_config=parsers)
    processor.save_pretrained(folder)
    vision = T.Florence2VisionConfig(
        depths=[1] * 4, embed_dim=[16] * 4, num_heads=[2] * 4, num_groups=[2] * 4,
        window_size=4, projection_dim=32,
    )  # fmt: skip
    text = T.BartConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
        vocab_size=len(tokenizer), max_position_embeddings=64,
    )  # fmt: skip
    image_token = tokenizer.image_token_id
    model = T.Florence2ForConditionalGeneration(
        T.Florence2Config(
            vision_config=vision, text_config=text, image_token_id=image_token
        )
    )
    kept = {*tokenizer.convert_tokens_to_ids([*places, 'c', '</s>'])}
    model.generation_config = T.GenerationConfig(
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        forced_bos_token_id=tokenizer.convert_tokens_to_ids('c'),
        suppress_tokens=sorted(set(range(len(tokenizer))) - kept),
        no_repeat_ngram_size=2,
    )  # fmt: skip
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    init_default_scope('mmdet')
    builders = (omdet, florence)
    return {
        build.__name__: build(tmp_path_factory.mktemp(build.__name__))
        for build in builders
    }


def picture(size: tuple[int, int]) -> Image.Image:
    shape = (size[1], size[0], 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return Image.fromarray(pixels)


@needs_torchvision
@pytest.mark.parametrize('size', SIZES)
def test_omdet(size, folders):
    detector = HuggingFaceDetector(str(folders['omdet']))
    detector.set_vocabulary(NAMES)
    image = picture(size)
    boxes, scores, labels = detector.detect(image)
    processor = T.AutoProcessor.from_pretrained(folders['omdet'])
    inputs = processor(image, text=NAMES, return_tensors='pt')
    with torch.no_grad():
        outputs = detector.model(**inputs)
    (own,) = processor.post_process_grounded_object_detection(
        outputs, text_labels=[NAMES], target_sizes=[size[::-1]], threshold=0.0
    )
    assert 0 < len(boxes) == len(own['boxes'])
    torch.testing.assert_close(boxes, own['boxes'], atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, own['scores'])
    assert [NAMES[label] for label in labels] == own['text_labels']


@needs_torchvision
def test_omdet_in_chunks(folders):
    """A chunk is a pass of its own, whose labels go on counting."""
    detector = HuggingFaceDetector(str(folders['omdet']), chunk_size=1)
    detector.set_vocabulary(NAMES)
    image = picture(SIZES[0])
    boxes, _, labels = detector.detect(image)
    alone = HuggingFaceDetector(str(folders['omdet']))
    for label, name in enumerate(NAMES):
        alone.set_vocabulary([name])
        expected = alone.detect(image)[0]
        torch.testing.assert_close(boxes[labels == label], expected)


@pytest.mark.skipif(bool(find_spec('torchvision')), reason='torchvision is there')
def test_omdet_without_torchvision(folders):
    with pytest.raises(ImportError, match=r"'omdet-turbo' needs .*pip install torchv"):
        HuggingFaceDetector(str(folders['omdet']))


@pytest.mark.parametrize('size', SIZES)
def test_florence(size, folders):
    """One pass of the image encoder gives what a whole pass for every name gives."""
    detector = HuggingFaceDetector(str(folders['florence']))
    detector.set_vocabulary(Vocabulary(NAMES))
    image, passes = picture(size), []
    encode = detector.model.get_image_features
    detector.model.get_image_features = lambda x: passes.append(1) or encode(x)
    boxes, scores, labels = detector.detect(image)
    assert len(passes) == 1 and scores.tolist() == [1.0] * len(boxes)
    processor = T.AutoProcessor.from_pretrained(folders['florence'])
    model = T.Florence2ForConditionalGeneration.from_pretrained(folders['florence'])
    turned = 0
    for label, name in enumerate(NAMES):
        inputs = processor(images=image, text=TASK + name, return_tensors='pt')
        written = model.generate(**inputs, max_length=64)
        text = processor.batch_decode(written, skip_special_tokens=False)[0]
        own = processor.post_process_generation(text, task=TASK, image_size=size)[TASK]
        upright = [b for b in own['bboxes'] if b[0] <= b[2] and b[1] <= b[3]]
        turned += len(own['bboxes']) - len(upright)
        assert boxes[labels == label].tolist() == upright and upright
    assert turned > 0


def test_florence_answers(folders, monkeypatch):
    """No box, a box and a polygon; a bin is a thousandth, and its centre the place:
    100.5 and 200.5 thousandths of 200 are 20.1 and 40.1, of 40 they are 4.02, 8.02."""
    detector = HuggingFaceDetector(str(folders['florence']))
    detector.set_vocabulary(NAMES)
    box = '<loc_100><loc_100><loc_200><loc_200>'
    answers = iter(
        [
            '</s><s></s>',
            f'</s><s>red cup{box}</s>',
            f'</s><s>dog<poly>{box}<loc_150><loc_50></poly>'
            'dog<poly><loc_9></poly><sep><sep></s>',  # a polygon without a point
        ]
    )
    monkeypatch.setattr(
        detector.processor, 'batch_decode', lambda *_, **__: [next(answers)]
    )
    boxes, _, labels = detector.detect(picture((200, 40)))
    assert labels.tolist() == [1, 2]
    assert boxes.tolist() == [[20, 4, 40, 8], [20, 2, 40, 8]]
