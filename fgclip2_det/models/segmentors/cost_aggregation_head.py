"""A trained decoder of the cosines of places and names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from fgclip2_det.models.segmentors.cost_attention import NameBlock, WindowBlock
from fgclip2_det.models.segmentors.cost_decoder import CostDecoder


@MODELS.register_module()
class OpenVocabCostHead(BaseModule):
    """Cat-Seg's decoder: a map of logits for every name, however many there are.

    The cosine of every place with every name, a map a name, is refined by attention
    within windows of places, guided by the dense map, and by attention over the names,
    guided by their embeddings; it is then enlarged, guided by maps of earlier blocks of
    the encoder. Names have no order and no weights of their own: another order of names
    gives the same maps in that order.

    Two things differ from the paper: a name's cosine is one number a place (templates
    are averaged before, not channels of the volume), and windows have no positions.

    Args:
        embed_dims: D of the dense map and of names.
        map_channels: channels of the encoder's blocks.
        hidden_channels: C of the volume.
        num_layers: times that places and names are attended to.
        num_heads: heads of both.
        appearance_channels: of the dense map's projection, which guides places; 0: no
            guidance.
        text_channels: of the names' projection, which guides names; 0: no guidance.
        window_size: side of the windows in places; 0: the whole map.
        pool_size: side of the squares whose mean attends to the names of the others.
        guidance_channels, guidance_proj_channels, decoder_channels: of each stage of
            :class:`.CostDecoder`.
        name_chunk: names that are enlarged at once in a test, for memory; the result
            does not depend on it.
        init_cfg: as in every ``BaseModule``.

    Example:
        >>> head = OpenVocabCostHead(embed_dims=128, map_channels=128)
        >>> dense, maps = torch.rand(1, 128, 6, 10), torch.rand(2, 1, 128, 6, 10)
        >>> head(dense, list(maps), torch.rand(3, 128)).shape
        torch.Size([1, 3, 24, 40])

    Reference: Cat-Seg (arXiv:2303.11797), section 3 and, for the defaults, FG-CLIP 2
    (arXiv:2510.10921), table B.
    """

    def __init__(
        self,
        embed_dims: int = 768,
        map_channels: int = 768,
        hidden_channels: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        appearance_channels: int = 128,
        text_channels: int = 128,
        window_size: int = 12,
        pool_size: int = 2,
        guidance_channels: Sequence[int] = (256, 128),
        guidance_proj_channels: Sequence[int] = (32, 16),
        decoder_channels: Sequence[int] = (64, 32),
        name_chunk: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, value, least in (
            ('num_layers', num_layers, 0),
            ('window_size', window_size, 0),
            ('pool_size', pool_size, 1),
            ('name_chunk', name_chunk, 1),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f'{name} must be an integer of at least {least}, got {value!r}'
                )
        self.name_chunk = name_chunk
        self.embed = nn.Conv2d(1, hidden_channels, 7, padding=3)
        self.appearance = None
        if appearance_channels:
            self.appearance = nn.Conv2d(embed_dims, appearance_channels, 3, padding=1)
        self.text = nn.Linear(embed_dims, text_channels) if text_channels else None
        self.places, self.names = nn.ModuleList(), nn.ModuleList()
        for _ in range(num_layers):
            for shifted in (False, True):
                block = WindowBlock(
                    hidden_channels,
                    appearance_channels,
                    num_heads,
                    window_size,
                    shifted,
                )
                self.places.append(block)
            self.names.append(
                NameBlock(hidden_channels, text_channels, num_heads, pool_size)
            )
        self.decoder = CostDecoder(
            hidden_channels,
            map_channels,
            guidance_channels,
            guidance_proj_channels,
            decoder_channels,
        )

    @property
    def num_maps(self) -> int:
        """Maps of earlier blocks that guide the decoder."""
        return len(self.decoder.stages)

    @property
    def scale(self) -> int:
        """Logits a place of the dense map, along each side."""
        return self.decoder.scale

    def forward(
        self, dense: Tensor, maps: Sequence[Tensor], text_embeds: Tensor
    ) -> Tensor:
        """Logits of every name.

        Args:
            dense: (B, D, h, w) dense map, not normalised.
            maps: (B, C', h, w) of earlier blocks, in their order, ``num_maps`` of them.
            text_embeds: (T, D), L2-normalised; T at least 1.

        Returns:
            (B, T, h * scale, w * scale); sigmoid gives how surely a place is of a name.
        """
        dense = F.normalize(dense.float(), dim=1)
        volume = self.aggregate(dense, text_embeds).permute(0, 1, 4, 2, 3)
        guidance = self.decoder.guide(maps)
        if torch.is_grad_enabled():
            return self.decoder(volume, guidance)
        parts = volume.split(self.name_chunk, 1)
        return torch.cat([self.decoder(part, guidance) for part in parts], 1)

    def aggregate(self, dense: Tensor, text_embeds: Tensor) -> Tensor:
        """The refined volume.

        Args:
            dense: (B, D, h, w), L2-normalised.
            text_embeds: (T, D), L2-normalised.

        Returns:
            (B, T, h, w, C).
        """
        num_names = len(text_embeds)
        costs = torch.einsum('bdhw,td->bthw', dense, text_embeds.to(dense))
        x = self.embed(costs.flatten(0, 1)[:, None]).permute(0, 2, 3, 1)
        appearance = texts = None
        if self.appearance is not None:
            appearance = F.relu(self.appearance(dense)).permute(0, 2, 3, 1)
            appearance = appearance.repeat_interleave(num_names, 0)
        if self.text is not None:
            texts = F.relu(self.text(text_embeds.to(dense)))
        for i, names in enumerate(self.names):
            for places in self.places[2 * i : 2 * i + 2]:
                x = places(x, appearance)
            volume = x.unflatten(0, (-1, num_names))  # (B, T, h, w, C)
            x = names(volume, texts).flatten(0, 1)
        return x.unflatten(0, (-1, num_names))
