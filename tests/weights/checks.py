"""What the tests on released weights compute; ``test_machinery.py`` runs it on random
ones."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer

GEMMA = Path(__file__).resolve().parents[1] / 'data' / 'gemma'


def ids_as_written(tokenizer: Any, texts: list[str], length: int) -> Tensor:
    """(T, length) ids of texts that keep their capital letters."""
    encoded = tokenizer.engine.encode_batch(texts, add_special_tokens=False)
    ids = torch.full((len(texts), length), tokenizer.pad_id)
    for row, each in zip(ids, encoded, strict=True):
        tokens = [*each.ids[: length - 1], tokenizer.eos_id]
        row[: len(tokens)] = torch.tensor(tokens)
    return ids


@torch.no_grad()
def global_logits(encoder: FGCLIP2, image, texts: list[str], mode='short') -> Tensor:
    """(T,) logits of an image with texts as they are written."""
    length = encoder.text_model.embeddings.length(mode)
    ids = ids_as_written(encoder.tokenizer, texts, length)
    return encoder(encoder.preprocess([image]), ids, mode)[0]


@torch.no_grad()
def softmax_of_boxes(encoder: FGCLIP2, image, boxes, text: str) -> Tensor:
    """(n,) softmax over boxes of 100 times their cosine with a text."""
    batch = encoder.preprocess([image])
    [regions] = encoder.region_features(batch, [torch.tensor(boxes)], normalize=True)
    ids = ids_as_written(encoder.tokenizer, [text], 64)
    text_embeds = encoder.encode_text(ids, 'box', normalize=True)
    return (100 * regions @ text_embeds[0]).softmax(0)


def assert_table(tokenizer: FGCLIP2Tokenizer) -> None:
    """The ids of 200 odd texts, see tests/fgclip2/test_gemma_ids.py."""
    groups = json.loads((GEMMA / 'texts.json').read_text(encoding='utf-8'))
    texts = [text for group in groups.values() for text in group]
    table = json.loads((GEMMA / 'ids.json').read_text())['ids']
    rows = tokenizer(texts, 196).tolist()
    for text, row, ids in zip(texts, rows, table, strict=True):
        cut = [*ids[:195], 1]
        assert row == cut + [0] * (196 - len(cut)), text


def assert_encoder(encoder: Any) -> None:
    """Trained: finite, no tensor left on the meta device, a temperature that is one."""
    for name, tensor in encoder.state_dict().items():
        assert not tensor.is_meta and tensor.isfinite().all(), name
    assert 1 < encoder.logit_scale.exp() < 1000
