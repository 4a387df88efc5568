"""Image and text tokens of a batch, and what stands beside each pair as a negative."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import DualEncoder, ImageBatch
from fgclip2_det.ranker import MatchLogits, Ranker
from pretrain.data.collate import AlignmentBatch
from pretrain.losses import Negatives, all_gather_rows, row_layout


@dataclass
class Pairs:
    """B images with a caption each.

    A process whose images have no captions still reaches every weight: it then holds
    one image and one text, of which ``count`` = 0 pairs are counted.

    Attributes:
        images: B images, or one.
        ids: (B, L) int64 of the captions, or one row.
        image_keys, text_keys: (B,) int64, see :class:`.AlignmentBatch`.
        count: B.
    """

    images: ImageBatch
    ids: Tensor
    image_keys: Tensor
    text_keys: Tensor
    count: int

    @classmethod
    def of(cls, batch: AlignmentBatch, mode: str) -> Pairs:
        """The images that have a caption of a mode, 'short' or 'long'."""
        keys, ids = getattr(batch, f'{mode}_keys'), getattr(batch, f'{mode}_ids')
        rows = (keys >= 0).nonzero()[:, 0]
        count = len(rows)
        kept = rows if count else torch.zeros_like(keys[:1])
        image_keys = batch.image_keys
        if image_keys is None:
            image_keys = torch.full_like(keys, -1)
        whole = len(kept) == len(keys)
        images = batch.images if whole else image_rows(batch.images, kept)
        return cls(images, ids[kept], image_keys[rows], keys[rows], count)


@dataclass
class Tokens:
    """States of B sequences, the one of the whole first.

    Attributes:
        states: (B, n, W).
        mask: (B, n) bool, False for padding.
    """

    states: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def padded(self, length: int) -> Tokens:
        """With padding up to a length."""
        more = length - self.states.shape[1]
        if more <= 0:
            return self
        return Tokens(F.pad(self.states, (0, 0, 0, more)), F.pad(self.mask, (0, more)))

    def of_all(self, count: int) -> Tokens:
        """The first ``count`` sequences of every process, with gradient.

        All of them are in memory then, as in the released code: with W processes W
        times what one has.
        """
        longest = max(row_layout(self.states.shape[1], self.states.device).counts)
        padded = self.padded(longest)
        layout = row_layout(count, self.states.device)
        return Tokens(
            all_gather_rows(padded.states[:count], layout),
            all_gather_rows(padded.mask[:count].to(torch.uint8), layout).bool(),
        )

    def rows(self, places: Tensor) -> Tokens:
        """Some of them."""
        return Tokens(self.states[places], self.mask[places])


def embeds_of_images(encoder: DualEncoder, states: Tensor) -> Tensor:
    """(B, D) global embeddings from ``image_tokens``'s states (B, n, W), normalised."""
    whole = states[:, 0]
    if isinstance(encoder, FGCLIP1):
        whole = encoder.visual_projection(whole)
    return F.normalize(whole.float(), dim=-1)


def embeds_of_texts(encoder: DualEncoder, states: Tensor, mode: str) -> Tensor:
    """(T, D) text embeddings from ``text_tokens``'s states (T, n, W), normalised."""
    return F.normalize(encoder.project_text(states[:, 0], mode).float(), dim=-1)


def logits_with_negatives(
    ranker: Ranker, images: Tokens, texts: Tokens, negatives: Negatives, among: str
) -> tuple[MatchLogits, Tensor]:
    """Logits of each pair, of its image with another text, and of its text with
    another image.

    Args:
        ranker: reads them.
        images, texts: B each; or one, where ``negatives`` has none.
        negatives: B rows among the pairs of all processes.
        among: 'process' if they are all this process's.

    Returns:
        Parts (B, 3, 2), the match first; and (B, 3) bool, False where there is no
        negative.
    """
    count = len(negatives.image)
    chosen = []
    for tokens, places in ((images, negatives.image), (texts, negatives.text)):
        if among == 'process':
            layout = row_layout(count, places.device)
            all_tokens, places = tokens, places - layout.offset
        else:
            all_tokens = tokens.of_all(count)
        if not count:  # all processes go backward through what was gathered
            places = places.new_zeros(1)
            all_tokens = all_tokens if len(all_tokens) else tokens
        chosen.append(all_tokens.rows(places.clamp(min=0)))
    other_images, other_texts = chosen
    length = max(texts.states.shape[1], other_texts.states.shape[1])
    own, others = texts.padded(length), other_texts.padded(length)
    with_texts = ranker(
        images.states,
        torch.stack([own.states, others.states], 1),
        torch.stack([own.mask, others.mask], 1),
        images.mask,
    )
    with_image = ranker(
        other_images.states, texts.states[:, None], texts.mask[:, None],
        other_images.mask,
    )  # fmt: skip
    parts: list[Any] = [
        None if first is None else torch.cat([first, second], 1)[:count]
        for first, second in zip(with_texts, with_image, strict=True)
    ]
    exists = torch.ones_like(negatives.text, dtype=torch.bool)
    valid = torch.stack([exists, negatives.text >= 0, negatives.image >= 0], 1)
    return MatchLogits(*parts), valid


def image_rows(images: ImageBatch, rows: Tensor) -> ImageBatch:
    """Some images of a batch."""
    windows = images.windows
    return replace(
        images,
        pixel_values=images.pixel_values[rows],
        patch_mask=images.patch_mask[rows],
        grid_sizes=images.grid_sizes[rows],
        image_sizes=images.image_sizes[rows],
        windows=None if windows is None else windows[rows],
    )
