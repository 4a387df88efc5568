"""Classification of region embeddings with an exchangeable vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.models.encoders import released_logits
from fgclip2_det.vocabulary.competitors import Competitors

BUFFERS = ('text_embeds', 'is_base', 'digest', 'trained_text')


class TextAdapter(nn.Module):
    """t + W2 gelu(W1 t), normalised; W2 is initialised with zeros (identity).

    Args:
        embed_dims: D.
        hidden: width between the layers.
    """

    def __init__(self, embed_dims: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(embed_dims, hidden)
        self.expand = nn.Linear(hidden, embed_dims)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(T, D) -> (T, D), both L2-normalised."""
        return F.normalize(x + self.expand(F.gelu(self.reduce(x))), dim=-1)


class RegionTextClassifier(BaseModule):
    """Linear projection, then exp(logit_scale) * cosine + logit_bias per name.

    The text embeddings are buffers, not weights: they are saved with the
    detector, and loading or setting another vocabulary changes their number.

    Args:
        in_features: channels of a region feature.
        embed_dims: D of the text embeddings.
        background: text for background regions ('background'), encoded like a name;
            None for a learned embedding.
        logit_scale: initial log inverse temperature; 'released' copies scale and
            bias from the encoder when a vocabulary is first set.
        learn_logits: whether scale and bias are trained.
        text_adapter: hidden width of a :class:`TextAdapter` on the names, which
            ``OpenVocabBBoxHead`` can train with TIC; 0 for no adapter.
        init_cfg: as in every ``BaseModule``.
    """

    def __init__(
        self,
        in_features: int,
        embed_dims: int,
        background: str | None = 'background',
        logit_scale: float | str = 'released',
        learn_logits: bool = True,
        text_adapter: int = 0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.background = background
        self.project = nn.Linear(in_features, embed_dims)
        self.released = logit_scale == 'released'
        scale = 0.0 if self.released else float(logit_scale)
        self.logit_scale = nn.Parameter(torch.full((1,), scale), learn_logits)
        self.logit_bias = nn.Parameter(torch.zeros(1), learn_logits)
        if background is None:
            self.background_embed = nn.Parameter(torch.randn(1, embed_dims))
        self.adapter = (
            TextAdapter(embed_dims, text_adapter) if text_adapter else nn.Identity()
        )
        # all names, then the background text if there is one
        self.register_buffer('text_embeds', torch.zeros(0, embed_dims))
        self.register_buffer('is_base', torch.zeros(0, dtype=torch.bool))
        self.register_buffer('digest', torch.zeros(32, dtype=torch.uint8))
        self.register_buffer('trained_text', torch.zeros(0, dtype=torch.uint8))
        # (H, D), set again with every vocabulary: texts that are negatives in training
        self.register_buffer(
            'extra_texts', torch.zeros(0, embed_dims), persistent=False
        )
        # (S, D), (C, C + T) and (C,), set again with every vocabulary: set_competitors
        self.register_buffer(
            'competitors', torch.zeros(0, embed_dims), persistent=False
        )
        self.register_buffer(
            'apart', torch.zeros(0, 0, dtype=torch.bool), persistent=False
        )
        self.register_buffer(
            'known', torch.zeros(0, dtype=torch.bool), persistent=False
        )
        self.is_open = False  # names of a user, not the classes of a data set
        self.loaded = False  # a checkpoint came after the vocabulary was set
        self._stops_at_embeds = False

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Names with boxes in training; saved in the checkpoint."""
        text = bytes(self.trained_text.tolist()).decode()
        return tuple(text.split('\n')) if text else ()

    @trained_classes.setter
    def trained_classes(self, names: Sequence[str]) -> None:
        text = bytearray('\n'.join(names).encode())
        values = torch.tensor(list(text), dtype=torch.uint8)
        self.trained_text = values.to(self.digest.device)

    def init_weights(self) -> None:
        """Initialise with small values: class scores are nearly equal at first."""
        nn.init.normal_(self.project.weight, std=0.01)
        nn.init.zeros_(self.project.bias)

    @torch.no_grad()
    def set_embeds(
        self, embeds: Tensor, is_base: Tensor, encoder: DualEncoder | str
    ) -> None:
        """Set the text embeddings of a new vocabulary.

        Args:
            embeds: (C, D), or (C + 1, D) with the background text last.
            is_base: (C,) bool.
            encoder: model or folder; scale and bias are copied from it the first time
                if ``logit_scale`` is 'released'.
        """
        if self.released and not len(self.is_base):
            scale, bias = released_logits(encoder)
            self.logit_scale.copy_(scale)
            self.logit_bias.copy_(torch.as_tensor(bias))
        device = self.project.weight.device
        self.text_embeds = embeds.detach().to(device)
        self.is_base = is_base.to(device)
        self.set_competitors(None)

    def set_competitors(self, competitors: Competitors | None) -> None:
        """What the names compete with outside training, beside the background.

        Args:
            competitors: of names that a user asks for; None for the classes of a data
                set, which compete with each other and with nothing else.
        """
        device = self.project.weight.device
        self.is_open = competitors is not None
        self.known = self.is_base
        if competitors is None:
            dims = self.text_embeds.shape[1]
            competitors = Competitors.none(len(self.is_base), dims)
        else:  # a trained name in another language is no novel one
            self.known = self.is_base | competitors.known.to(device)
        self.competitors = competitors.embeds.to(device)
        self.apart = competitors.apart.to(device)

    def class_embeds(self) -> Tensor:
        """(C, D) text embeddings of the names, normalised."""
        return self.text_embeds[: len(self.is_base)]

    def forward(self, x: Tensor) -> Tensor:
        """Logits of regions.

        Args:
            x: (K, in_features).

        Returns:
            (K, C + 1) in fp32, the background last; in training (K, C + 1 + H), after
            it those of the H ``extra_texts``. Outside training (K, C + T + 1): names,
            the T competitors that some name is free of (``apart``), and in one logit
            the background and the other competitors, log(e^background + sum_s e^l_s).
        """
        region_embeds = F.normalize(self.project(x).float(), dim=-1)
        return region_embeds if self._stops_at_embeds else self.logits(region_embeds)

    @contextmanager
    def stop_at_embeds(self) -> Iterator[None]:
        """Inside the block ``forward`` returns (K, D) region embeddings, normalised,
        which do not depend on the names; :meth:`logits` goes on from them."""
        self._stops_at_embeds = True
        try:
            yield
        finally:
            self._stops_at_embeds = False

    def logits(self, region_embeds: Tensor) -> Tensor:
        """What :meth:`forward` returns, of (K, D) normalised region embeddings."""
        extra = self.extra_texts if self.training else self.competitors
        with torch.autocast(region_embeds.device.type, enabled=False):
            embeds = [self.adapter(self.text_embeds.float())]
            if self.background is None:
                embeds.append(F.normalize(self.background_embed.float(), dim=-1))
            if len(extra):
                embeds.append(self.adapter(extra.float()))
            cosines = region_embeds @ torch.cat(embeds).T
        logits = cosines * self.logit_scale.exp() + self.logit_bias
        if self.training or not len(extra):
            return logits
        num_names, tied = self.apart.shape[0], self.apart.shape[1] - len(self.apart)
        names, background, some, rest = logits.split(
            [num_names, 1, tied, len(extra) - tied], 1
        )
        others = torch.cat([background, rest], 1).logsumexp(1, keepdim=True)
        return torch.cat([names, some, others], 1)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        for name in BUFFERS:  # the checkpoint's vocabulary replaces ours
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.zeros_like(saved, device=self.digest.device))
                self.loaded = True
        super()._load_from_state_dict(state_dict, prefix, *args)
