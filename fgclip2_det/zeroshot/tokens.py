"""Tokens of images and texts one after another, for a ranker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fgclip2_det.vocabulary.embedding import text_batch

from .embedder import Embedder
from .images import ImageItem


@torch.no_grad()
def image_tokens(embedder: Embedder, items: Sequence[ImageItem]) -> Iterator[Tensor]:
    """States of the vision tower, image by image; a batch of images is held at a time.

    Yields:
        (N + 1, W) float32 of each item in turn, the state of the whole image first,
        without padding.

    Raises:
        ValueError: naming the file: unreadable, or with a state that is not finite.
    """
    for group, images, budget in embedder.batches(items):
        batch = embedder.encoder.preprocess(images, budget)
        states, is_image = embedder.encoder.image_tokens(batch)
        for item, own, mask in zip(group, states, is_image, strict=True):
            yield _finite(own[mask].float(), f'image {item.path}')


@torch.no_grad()
def text_tokens(
    embedder: Embedder, texts: Sequence[str], mode: str
) -> Iterator[Tensor]:
    """States of the text tower, text by text; a batch of texts is held at a time.

    Args:
        embedder: of the encoder.
        texts: T texts; longer ones than the mode takes are cut.
        mode: 'short', 'box' or 'long'.

    Yields:
        (n, W) float32 of each text in turn, the pooled state first, without padding.

    Raises:
        ValueError: if a state is not finite.
    """
    size = embedder.text_batch or text_batch(embedder.device)
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        states, is_text = embedder.encoder.text_tokens(list(part), mode)
        for text, own, mask in zip(part, states, is_text, strict=True):
            yield _finite(own[mask].float(), f'text {text!r}')


def text_bytes(embedder: Embedder, mode: str) -> int:
    """Most bytes that :func:`text_tokens` gives for one text."""
    encoder = embedder.encoder
    length = 1 + encoder.tokenize([''], mode).shape[1]  # and the pooled state
    return 4 * length * encoder.config.text.hidden_size


def _finite(tokens: Tensor, name: str) -> Tensor:
    if not tokens.isfinite().all():
        raise ValueError(
            f'the tokens of {name} are not finite; the checkpoint is damaged or its '
            'training diverged'
        )
    return tokens
