"""L_Global: sigmoid loss of whole images and captions, computed in tiles."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .gather import RowBlock, join_backward, rank_share, row_layout
from .precision import full_precision, without_autocast

SAME_TEXT = ('negative', 'positive', 'ignore')


@without_autocast
def sigmoid_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
    *,
    text_keys: Tensor | None = None,
    same_text: str = 'negative',
    chunk_size: int = 1024,
    gather_size: int = 8192,
) -> Tensor:
    """Independent binary loss of every image with every text of the global batch.

    L = -(1/B) sum_i sum_j log sigmoid(z_ij (exp(s) cos(I_i, T_j) + b)), with
    z_ii = +1 and z_ij = -1 elsewhere; B pairs, i and j run over all ranks' pairs.

    The (B, B) logits never exist: tiles of ``chunk_size`` x ``chunk_size`` are made
    one after the other, and their gradients added up at once, so that the memory
    beyond the inputs is a gradient for each image of this rank and each text of all
    ranks, and a few tiles. Texts come from the other ranks in blocks, and their
    gradients go back in the same ones.

    Args:
        image_embeds: (B, D), L2-normalised. B may differ between ranks.
        text_embeds: (B, D), L2-normalised; row i describes image i.
        logit_scale: s, one number in log space.
        logit_bias: b, one number, added after scaling.
        text_keys: (B,) int64, equal where texts are equal. Pairs with key -1 have no
            text and are left out, of the sums and of B.
        same_text: what a text that equals the image's own is to it, off the
            diagonal: ``'negative'`` as any other (the published loss),
            ``'positive'``, or ``'ignore'`` (no term).
        chunk_size: side of a tile.
        gather_size: texts that are gathered at a time, of all ranks together.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`).

    Raises:
        ValueError: if shapes differ, or an option is unknown or lacks its keys.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.2; SigLIP (arXiv:2303.15343),
    equation 1.
    """
    _check(image_embeds, text_embeds, text_keys, same_text)
    for name, size in (('chunk_size', chunk_size), ('gather_size', gather_size)):
        if size < 1:
            raise ValueError(f'{name} must be 1 or more, got {size}')
    if text_keys is not None:
        present = text_keys >= 0
        image_embeds, text_embeds = image_embeds[present], text_embeds[present]
        text_keys = text_keys[present]
    if same_text == 'negative':
        text_keys = None  # all others are
    blocks = row_layout(len(text_embeds), text_embeds.device).blocks(gather_size)
    inputs = (image_embeds, join_backward(text_embeds), logit_scale, logit_bias)
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    value = 1.0 if same_text == 'positive' else 0.0
    total = _TiledSigmoid.apply(*inputs, text_keys, value, blocks, chunk_size, grad)
    return rank_share(total, len(image_embeds))


def _check(images: Tensor, texts: Tensor, keys: Tensor | None, same_text: str) -> None:
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(
            'image_embeds and text_embeds must both be (B, D), got '
            f'{tuple(images.shape)} and {tuple(texts.shape)}'
        )
    if same_text not in SAME_TEXT:
        raise ValueError(f'same_text must be one of {SAME_TEXT}, got {same_text!r}')
    if keys is None and same_text != 'negative':
        raise ValueError(f'same_text={same_text!r} needs text_keys')
    if keys is not None and keys.shape != images.shape[:1]:
        raise ValueError(f'text_keys must be ({len(images)},), got {tuple(keys.shape)}')


@dataclass
class _Pairs:
    """Which of the (n, m) pairs of this rank's images and a block's texts match.

    Args:
        own: images whose own text is in the block.
        first: where the text of the first of them is.
        keys: (n,) and (m,) text keys; None where only a pair's own text counts.
        same_text: z of an equal text: 1 or 0.
    """

    own: slice
    first: int
    keys: tuple[Tensor, Tensor] | None
    same_text: float

    def signs(self, rows: slice, columns: slice, like: Tensor) -> Tensor | float:
        """z of a tile: +1 match, -1 no match, 0 no term; -1 for -1 everywhere."""
        shift = self.own.start - self.first  # from a text to its image
        begin = max(rows.start, self.own.start, columns.start + shift)
        end = min(rows.stop, self.own.stop, columns.stop + shift)
        if self.keys is None:
            if begin >= end:
                return -1.0
            signs = torch.full_like(like, -1)
        else:
            same = self.keys[0][rows, None] == self.keys[1][columns]
            signs = torch.full_like(like, -1).masked_fill_(same, self.same_text)
        if begin < end:
            images = slice(begin - rows.start, end - rows.start)
            start = shift + columns.start
            signs[images, begin - start : end - start].diagonal().fill_(1)
        return signs


class _TiledSigmoid(torch.autograd.Function):
    """Sum of the loss over (n, N) pairs; gradients are computed in the forward pass."""

    @staticmethod
    def forward(
        ctx,
        images: Tensor,
        texts: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor,
        keys: Tensor | None,
        same_text: float,
        blocks: list[RowBlock],
        chunk_size: int,
        grad: bool,
    ) -> Tensor:
        """Shapes (n, D) twice, any of one number twice; ``grad``: are they wanted."""
        log_scale, bias, _ = full_precision(logit_scale, logit_bias, images[:0])
        scale, bias = log_scale.exp().reshape(()), bias.reshape(())
        sums = _Sums.like(images, bias, grad)
        for block in blocks:
            others = block.gather(texts)
            both = None if keys is None else (keys, block.gather(keys))
            pairs = _Pairs(block.own, block.layout.offset, both, same_text)
            if grad:
                sums.texts.append(bias.new_zeros(others.shape))
            for rows in _slices(len(images), chunk_size):
                x = images[rows].to(bias.dtype)
                for columns in _slices(len(others), chunk_size):
                    y = others[columns].to(bias.dtype)
                    logits = torch.addmm(bias, x * scale, y.T)
                    slopes = sums.add(logits, pairs.signs(rows, columns, logits), grad)
                    if slopes is not None:
                        sums.images[rows].addmm_(slopes, y)
                        sums.texts[-1][columns].addmm_(slopes.T, x)
        if grad:
            ctx.save_for_backward(
                sums.images.mul_(scale),
                sums.log_scale(images).view_as(logit_scale),
                sums.bias.view_as(logit_bias),
                *(x.mul_(scale) for x in sums.texts),
            )
            ctx.dtypes = [x.dtype for x in (images, logit_scale, logit_bias, texts)]
            ctx.blocks = blocks
        return sums.loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        *own, dtype = ctx.dtypes
        saved = zip(ctx.saved_tensors, own, strict=False)
        images, log_scale, bias = ((x * grad).to(dtype) for x, dtype in saved)
        texts = torch.empty_like(images, dtype=dtype)
        for block, x in zip(ctx.blocks, ctx.saved_tensors[3:], strict=True):
            texts[block.own] = block.reduce(x * grad).to(dtype)
        return images, texts, log_scale, bias, None, None, None, None, None


@dataclass
class _Sums:
    """The loss and its gradients, accumulated over tiles."""

    loss: Tensor
    bias: Tensor
    images: Tensor  # (n, D)
    texts: list[Tensor]  # (m, D) of each block

    @classmethod
    def like(cls, images: Tensor, number: Tensor, grad: bool) -> '_Sums':
        """Zeros; no rows for the images where no gradient is wanted."""
        shape = images.shape if grad else (0,)
        loss, bias = torch.zeros_like(number), torch.zeros_like(number)
        return cls(loss, bias, number.new_zeros(shape), [])

    def add(self, logits: Tensor, signs: Tensor | float, grad: bool) -> Tensor | None:
        """Add a tile's loss; dL/dlogits = -z sigmoid(-z logit), made in place."""
        margins = logits.mul_(signs)
        if isinstance(signs, Tensor):
            margins.masked_fill_(signs == 0, torch.inf)  # no loss, no slope
        self.loss -= F.logsigmoid(margins).sum()
        if not grad:
            return None
        slopes = margins.neg_().sigmoid_().mul_(signs).neg_()
        self.bias += slopes.sum()
        return slopes

    def log_scale(self, images: Tensor) -> Tensor:
        """dL/ds = sum_ij slope_ij e^s cos_ij = sum_i I_i . dL/dI_i: no tile needed."""
        total = torch.zeros_like(self.loss)
        for rows in _slices(len(images), 1024):
            total += (self.images[rows] * images[rows]).sum()
        return total


def _slices(length: int, step: int) -> list[slice]:
    return [slice(i, min(i + step, length)) for i in range(0, length, step)]
