"""Grounding DINO's captions, scores and boxes against MMDetection's own functions."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('transformers', reason='needs transformers: pip install -e .[test]')

from mmdet.models.dense_heads.grounding_dino_head import GroundingDINOHead
from mmdet.models.detectors.glip import (
    create_positive_map,
    create_positive_map_label_to_token,
)
from mmdet.models.detectors.grounding_dino import GroundingDINO, clean_label_name
from transformers import BertTokenizerFast

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.models.detectors.huggingface_outputs import (
    caption_name,
    token_scores,
)
from fgclip2_det.models.detectors.readable_names import readable_names
from fgclip2_det.vocabulary import load_list

NAMES = ['bow_(weapon)', 'black_cat', 'Bow_(decorative_ribbons)', 'traffic_light']
WORDS = '[PAD] [UNK] [CLS] [SEP] [MASK] . bow black cat traffic light weapon ( )'
WIDTH, HEIGHT, QUERIES = 120, 80, 6


def test_all_of_lvis_is_asked_as_by_mmdetection():
    names = load_list('lvis').names
    captions = [caption_name(spoken(name)) for name in names]
    assert captions == [' '.join(clean_label_name(n).lower().split()) for n in names]
    changed = [n for n in names if '(' in n]
    assert len(names) == 1203 and len(changed) == 108
    assert not any('(' in caption or ')' in caption for caption in captions)


@pytest.fixture
def detector(tmp_path) -> SimpleNamespace:
    """Answers any caption with the same random numbers, a column for each token."""
    (tmp_path / 'vocab.txt').write_text(WORDS.replace(' ', '\n'))
    generator = torch.Generator().manual_seed(0)
    outputs = SimpleNamespace(
        logits=torch.randn(1, QUERIES, 16, generator=generator),
        pred_boxes=torch.rand(1, QUERIES, 4, generator=generator),
    )

    def model(**inputs):
        return outputs

    model.config = SimpleNamespace(max_text_len=16)
    return SimpleNamespace(
        processor=SimpleNamespace(
            tokenizer=BertTokenizerFast(vocab=str(tmp_path / 'vocab.txt'))
        ),
        model=model, process=lambda **inputs: inputs, seen={},
        max_per_image=None, score_thr=0.0,
    )  # fmt: skip


def by_mmdetection(detector) -> tuple[torch.Tensor, ...]:
    """Its caption, its map of tokens and its head."""
    self = SimpleNamespace(
        _special_tokens='. ',
        language_model=SimpleNamespace(
            tokenizer=detector.processor.tokenizer, pad_to_max=False
        ),
    )
    self.to_plain_text_prompts = lambda names: GroundingDINO.to_plain_text_prompts(
        self, names
    )
    tokens, _, places, _ = GroundingDINO.get_tokens_and_prompts(self, NAMES, True)
    positive = create_positive_map(tokens, places, max_num_entities=16)
    outputs = detector.model()
    found = GroundingDINOHead._predict_by_feat_single(
        SimpleNamespace(test_cfg=dict(max_per_img=QUERIES * len(NAMES))),
        outputs.logits[0],
        outputs.pred_boxes[0],
        create_positive_map_label_to_token(positive, plus=1),
        dict(img_shape=(HEIGHT, WIDTH), scale_factor=(1.0, 1.0)),
    )
    return found.bboxes, found.scores, found.labels


def test_scores_and_boxes_are_those_of_mmdetection(detector):
    """Of two names that are equal in the caption, too; boxes are clipped."""
    image = Image.new('RGB', (WIDTH, HEIGHT))
    boxes, scores, labels = token_scores(detector, image, list(map(spoken, NAMES)))
    expected = by_mmdetection(detector)
    torch.testing.assert_close(scores, expected[1])
    assert labels.tolist() == expected[2].tolist()
    torch.testing.assert_close(boxes, expected[0])
    assert labels.bincount().tolist() == [QUERIES] * len(NAMES)
    limit = torch.tensor([WIDTH, HEIGHT] * 2)
    assert (boxes == 0).any() and (boxes == limit).any()


@pytest.mark.parametrize('name', ['(weapon)', '.'])
def test_names_that_leave_nothing_to_ask(detector, name):
    image = Image.new('RGB', (WIDTH, HEIGHT))
    with pytest.raises(ValueError, match=r'nothing of the name .* change the name'):
        token_scores(detector, image, ['cat', name])


def test_another_alias_is_asked_where_nothing_is_left(detector):
    tokenizer = detector.processor.tokenizer

    def chosen(*aliases):
        return readable_names(aliases, tokenizer, None, caption_name, 'BERT')

    assert chosen(['(weapon)', 'bow'], ['cat']) == ['bow', 'cat']
    with pytest.raises(
        ValueError, match=r"leaves nothing of 1 of 2 names: '\(weapon\)'"
    ):
        chosen(['(weapon)', '.'], ['cat'])
