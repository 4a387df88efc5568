"""CLIP's loss: images and captions of the global batch, a softmax in each direction."""

import torch.nn.functional as F
from torch import Tensor

from .gather import all_gather_rows, rank_share, row_layout
from .precision import full_precision, without_autocast


@without_autocast
def contrastive_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    *,
    text_keys: Tensor | None = None,
) -> Tensor:
    """InfoNCE of images I_i and their captions T_i over all ranks.

    With s_ij = exp(s) cos(I_i, T_j) and N pairs on all ranks,

    L = -(1/2N) sum_i [ log( e^s_ii / sum_j e^s_ij ) + log( e^s_ii / sum_j e^s_ji ) ]

    Equal captions are wrong answers to each other's images, as in the released code.

    Args:
        image_embeds: (B, D), L2-normalised. B may be 0, also on one rank alone.
        text_embeds: (B, D), L2-normalised, row by row the caption of an image.
        logit_scale: s, one number in log space.
        text_keys: (B,) int64. Pairs with key -1 have no text and are left out, of the
            sums and of N.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without pairs.

    Raises:
        ValueError: if the shapes differ.

    Reference: CLIP (arXiv:2103.00020), figure 3; FG-CLIP (arXiv:2505.05071), section
    3.1, twice: for short and for long captions.
    """
    if image_embeds.ndim != 2 or image_embeds.shape != text_embeds.shape:
        raise ValueError(
            'image_embeds and text_embeds must be (B, D), a caption for each image, '
            f'got {tuple(image_embeds.shape)} and {tuple(text_embeds.shape)}'
        )
    if text_keys is not None:
        if text_keys.shape != image_embeds.shape[:1]:
            raise ValueError(
                f'text_keys must be ({len(image_embeds)},), one for each pair, got '
                f'{tuple(text_keys.shape)}'
            )
        present = text_keys >= 0
        image_embeds, text_embeds = image_embeds[present], text_embeds[present]
    images, texts, log_scale = full_precision(image_embeds, text_embeds, logit_scale)
    total = paired_cross_entropy(images * log_scale.exp().reshape(()), texts)
    return rank_share(total / 2, len(images))


def paired_cross_entropy(queries: Tensor, answers: Tensor) -> Tensor:
    """Both cross entropies of this rank's pairs, summed; all ranks' rows are answers.

    Args:
        queries: (K, D), scaled.
        answers: (K, D), row by row what is right.
    """
    layout = row_layout(len(queries), queries.device)
    own = layout.own_rows(queries.device)
    to_answer = queries @ all_gather_rows(answers, layout).T  # (K, sum of K)
    to_query = answers @ all_gather_rows(queries, layout).T
    total = F.cross_entropy(to_answer, own, reduction='sum')
    return total + F.cross_entropy(to_query, own, reduction='sum')
