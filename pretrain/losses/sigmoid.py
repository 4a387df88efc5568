"""L_Global: the sigmoid loss of whole images and captions, in tiles."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .gather import all_gather_rows, rank_share, row_layout
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
) -> Tensor:
    """Independent binary loss of every image with every text of the global batch.

    L = -(1/B) sum_i sum_j log sigmoid(z_ij (exp(s) cos(I_i, T_j) + b)), with
    z_ii = +1 and z_ij = -1 elsewhere; B pairs, i and j run over all ranks' pairs.

    The (B, B) logits never exist: tiles of ``chunk_size`` x ``chunk_size`` are made
    one after the other, and their gradients added up at once, so that the memory
    beyond the inputs is one gradient for each input and a few tiles.

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

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`).

    Raises:
        ValueError: if shapes differ, or an option is unknown or lacks its keys.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.2; SigLIP (arXiv:2303.15343),
    equation 1.
    """
    _check(image_embeds, text_embeds, text_keys, same_text, chunk_size)
    if text_keys is not None:
        present = text_keys >= 0
        image_embeds, text_embeds = image_embeds[present], text_embeds[present]
        text_keys = text_keys[present]
    layout = row_layout(len(text_embeds), text_embeds.device)
    texts = all_gather_rows(text_embeds, layout)
    pairs = _Pairs(layout.offset, same_text)
    if text_keys is not None and same_text != 'negative':
        pairs.keys = (text_keys, all_gather_rows(text_keys, layout))
    inputs = (image_embeds, texts, logit_scale, logit_bias)
    grad = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    total = _TiledSigmoid.apply(*inputs, pairs, chunk_size, grad)
    return rank_share(total, len(image_embeds))


def _check(
    images: Tensor, texts: Tensor, keys: Tensor | None, same_text: str, chunk: int
) -> None:
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
    if chunk < 1:
        raise ValueError(f'chunk_size must be 1 or more, got {chunk}')


@dataclass
class _Pairs:
    """Which of the (n, N) pairs of this rank's images and all texts match.

    Args:
        offset: text ``offset + i`` belongs to image i.
        same_text: see :func:`sigmoid_loss`.
        keys: (n,) and (N,) text keys; None where only the diagonal counts.
    """

    offset: int
    same_text: str
    keys: tuple[Tensor, Tensor] | None = None

    def signs(self, rows: slice, columns: slice, like: Tensor) -> Tensor | float:
        """z of a tile: +1 match, -1 no match, 0 no term; -1 for -1 everywhere."""
        diagonal = self.offset + rows.start - columns.start  # own text of row 0
        if self.keys is None:
            if not -like.shape[0] < diagonal < like.shape[1]:
                return -1.0
            signs = torch.full_like(like, -1)
        else:
            same = self.keys[0][rows, None] == self.keys[1][columns]
            value = 1.0 if self.same_text == 'positive' else 0.0
            signs = torch.full_like(like, -1).masked_fill_(same, value)
        signs.diagonal(diagonal).fill_(1)
        return signs


class _TiledSigmoid(torch.autograd.Function):
    """Sum of the loss over (n, N) pairs; gradients are made in the forward pass."""

    @staticmethod
    def forward(
        ctx,
        images: Tensor,
        texts: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor,
        pairs: _Pairs,
        chunk_size: int,
        grad: bool,
    ) -> Tensor:
        """Shapes (n, D), (N, D), any of one number twice; ``grad``: are they wanted."""
        log_scale, bias, _ = full_precision(logit_scale, logit_bias, images[:0])
        scale, bias = log_scale.exp().reshape(()), bias.reshape(())
        sums = _Sums.like(images, texts, bias, grad)
        for rows in _slices(len(images), chunk_size):
            x = images[rows].to(bias.dtype)
            for columns in _slices(len(texts), chunk_size):
                y = texts[columns].to(bias.dtype)
                logits = torch.addmm(bias, x * scale, y.T)
                slopes = sums.add(logits, pairs.signs(rows, columns, logits), grad)
                if grad:
                    sums.images[rows].addmm_(slopes, y)
                    sums.texts[columns].addmm_(slopes.T, x)
        if grad:
            ctx.save_for_backward(
                sums.images.mul_(scale),
                sums.texts.mul_(scale),
                sums.log_scale(images).view_as(logit_scale),
                sums.bias.view_as(logit_bias),
            )
            ctx.dtypes = [x.dtype for x in (images, texts, logit_scale, logit_bias)]
        return sums.loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return *((x * grad).to(dtype) for x, dtype in saved), None, None, None


@dataclass
class _Sums:
    """The loss and its gradients, as far as the tiles have come."""

    loss: Tensor
    bias: Tensor
    images: Tensor  # (n, D)
    texts: Tensor  # (N, D)

    @classmethod
    def like(cls, images: Tensor, texts: Tensor, number: Tensor, grad: bool) -> '_Sums':
        """Zeros; no rows for the embeddings where no gradient is wanted."""
        shapes = [x.shape if grad else (0,) for x in (images, texts)]
        return cls(
            torch.zeros_like(number),
            torch.zeros_like(number),
            *(number.new_zeros(shape) for shape in shapes),
        )

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
