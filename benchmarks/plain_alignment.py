"""Stage 2's step as the released training code arranges it, on the same weights.

Written from the description of that code, for ``benchmarks/alignment.py`` to compare
with: loops over samples in heads and position tables, an explicit mask of every head
over all pairs of tokens, attention weights returned, RoIAlign image by image, phrases
and hard texts encoded apart, each text as often as it occurs. One process.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from torch import Tensor

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.layers import AttentionPoolingHead
from pretrain.data import AlignmentBatch
from pretrain.model import FGCLIP2Alignment

NUM_TEXTS = 11  # of a hard sample: the positive and exactly ten negatives


def plain_losses(model: FGCLIP2Alignment, batch: AlignmentBatch) -> dict[str, Tensor]:
    """Weighted terms of the released preset; every region has ten negatives."""
    encoder, num_regions = model.encoder, len(batch.phrase_index)
    images, dense = embed_images(encoder, batch)
    regions = pool_regions(dense, batch)
    short = embed_texts(encoder, batch.short_ids, 'short')
    long = embed_texts(encoder, batch.long_ids, 'long')
    phrases = embed_texts(encoder, batch.box_ids[batch.phrase_index], 'box')
    hard = embed_texts(encoder, batch.box_ids[batch.hard_index.flatten()], 'box')
    hard = hard.reshape(num_regions, NUM_TEXTS, -1)
    return {
        'loss_short': sigmoid(encoder, images, short),
        'loss_long': sigmoid(encoder, images, long),
        'loss_fgv': 0.2 * pairs(model.logit_scale_finegraind.exp() * regions, phrases),
        'loss_tic': 0.1 * intra_modal(phrases),
        **hard_terms(model.logit_scale_hardneg.exp() * regions, hard),
    }


# ------------------------------------------------------------------------- embeddings
def embed_images(encoder: FGCLIP2, batch: AlignmentBatch) -> tuple[Tensor, Tensor]:
    """Normalised (B, D) and dense tokens (B, N, D)."""
    tower, images = encoder.vision_model, batch.images
    x = tower.embeddings.patch_embedding(images.pixel_values)
    table = tower.embeddings.position_embedding.weight
    side = round(len(table) ** 0.5)
    grid = table.T.reshape(1, -1, side, side)
    rows = []
    for tokens, (h, w) in zip(x, images.grid_sizes.tolist(), strict=True):
        options = dict(mode='bilinear', align_corners=False, antialias=True)
        position = F.interpolate(grid, (h, w), **options)[0].flatten(1).T
        padding = position[:1].expand(len(tokens) - h * w, -1)
        rows.append(tokens + torch.cat([position, padding]))
    num_patches = x.shape[1]
    bias = torch.zeros(images.patch_mask.shape)
    bias = bias.masked_fill(~images.patch_mask, torch.finfo().min)
    square = bias[:, None, None].expand(-1, 1, num_patches, -1).contiguous()
    x, _ = tower.encoder(torch.stack(rows), square)
    x = tower.post_layernorm(x)
    num_heads = tower.head.attention.num_heads
    pooled = []
    for i in range(len(x)):
        mask = square[i, :, :1].repeat(num_heads, 1, 1)  # (heads, 1, N)
        one = pooling_head(tower.head, tower.head.probe, x[i : i + 1], mask)
        pooled.append(one[:, 0])
    mask = square.repeat(1, num_heads, 1, 1).flatten(0, 1)  # (B * heads, N, N)
    dense = pooling_head(encoder.dense_feature_head, x, x, mask)
    return F.normalize(torch.cat(pooled), dim=-1), dense


def pooling_head(
    head: AttentionPoolingHead, query: Tensor, x: Tensor, mask: Tensor
) -> Tensor:
    """``nn.MultiheadAttention`` as it is called by default, then the MLP."""
    attention = head.attention
    y, _ = F.multi_head_attention_forward(
        query.transpose(0, 1),
        x.transpose(0, 1),
        x.transpose(0, 1),
        x.shape[-1],
        attention.num_heads,
        attention.in_proj_weight,
        attention.in_proj_bias,
        None,
        None,
        False,
        0.0,
        attention.out_proj.weight,
        attention.out_proj.bias,
        training=True,
        need_weights=True,
        attn_mask=mask,
    )
    y = y.transpose(0, 1)
    return y + head.mlp(head.layernorm(y))


def pool_regions(dense: Tensor, batch: AlignmentBatch) -> Tensor:
    """(K, D), normalised: RoIAlign of one image after the other."""
    pooled = []
    sizes = batch.images.image_sizes.tolist()
    for i, (h, w) in enumerate(batch.images.grid_sizes.tolist()):
        features = dense[i, : h * w].T.reshape(1, -1, h, w)
        height, width = sizes[i]
        boxes = batch.bboxes[i] * torch.tensor([w / width, h / height] * 2)
        boxes = F.pad(boxes, (1, 0))  # (n, 5), the image's number first
        pooled.append(roi_align(features, boxes, 1, 1.0, 0, 'avg', True).flatten(1))
    return F.normalize(torch.cat(pooled), dim=-1)


def embed_texts(encoder: FGCLIP2, ids: Tensor, mode: str) -> Tensor:
    """(T, D), normalised: whole last block, then the short head row by row."""
    tower = encoder.text_model
    x, _ = tower.encoder(tower.embeddings(ids, mode))
    pooled = tower.final_layer_norm(x)[:, -1]
    if mode == 'short':
        embeds = torch.cat([tower.head(row[None]) for row in pooled])
    else:
        embeds = getattr(encoder, f'{mode}text_head')(pooled)
    return F.normalize(embeds, dim=-1)


# ----------------------------------------------------------------------------- losses
def sigmoid(encoder: FGCLIP2, images: Tensor, texts: Tensor) -> Tensor:
    """Of all pairs at once."""
    logits = images @ texts.T * encoder.logit_scale.exp() + encoder.logit_bias
    labels = 2 * torch.eye(len(images)) - 1
    return -F.logsigmoid(labels * logits).sum() / len(images)


def pairs(queries: Tensor, texts: Tensor) -> Tensor:
    """Symmetric cross entropy of pairs that belong together."""
    logits, own = queries @ texts.T, torch.arange(len(texts))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def intra_modal(texts: Tensor) -> Tensor:
    """Log of the ten largest similarities' exponentials; above 0.95 they count 0."""
    similar = texts @ texts.T
    similar = similar.masked_fill(torch.eye(len(texts)).bool(), 0)
    similar = torch.where(similar > 0.95, 0.0, similar)
    return similar.topk(10, dim=1).values.exp().sum(1).log().mean()


def hard_terms(queries: Tensor, texts: Tensor) -> dict[str, Tensor]:
    """Half of 0.6 contrast + 3 pair + 0.4 rank, with the first step's threshold 0.

    Args:
        queries: (K, D), times the temperature.
        texts: (K, 11, D), the positive first.
    """
    num_regions = len(queries)
    logits = torch.einsum('kd,kmd->km', queries, texts)
    pair = F.cross_entropy(logits, torch.zeros(num_regions, dtype=torch.long))
    answers = torch.cat([texts[:, 0], texts[:, 1:].flatten(0, 1)])
    own = torch.arange(num_regions)
    contrast = F.cross_entropy(queries @ answers.T, own)
    contrast = (contrast + F.cross_entropy(texts[:, 0] @ queries.T, own)) / 2
    rank = F.relu(logits[:, 1:] - logits[:, :1]).mean()
    return {
        'loss_fgt': 0.5 * 3 * pair,
        'loss_itc': 0.5 * 0.6 * contrast,
        'loss_cmr': 0.5 * 0.4 * rank,
    }
