"""Matching probabilities of a ranker, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.io import InputError
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.ranker import Ranker, match_scores

from .controls import KINDS
from .embedder import Embedder
from .images import ImageItem
from .pair_scores import ControlScorer, PairScorer
from .tokens import image_tokens, text_bytes, text_tokens

TOKEN_BYTES = 1 << 30  # of image tokens held at once, and of text tokens
PAIR_TOKENS = 1 << 14  # tokens of the pairs that are scored at once


class RankerScorer(PairScorer):
    """The mean matching probability of a ranker's joint encoders.

    Memory is bounded, whatever the number of images and texts. Images come in blocks
    of ``token_bytes``; each image's tokens are made once. Texts are kept if the tokens
    of all of them fit into ``token_bytes``, else a block of images makes those of its
    own pairs anew. Only images of equal numbers of tokens share a batch, so that no
    image is padded.

    Args:
        ranker: reads whole images.
        token_bytes: of image tokens held at once, and as much of text tokens. A block
            exceeds it by the image that fills it.
        pair_tokens: image and text tokens of the pairs that are scored at once.

    Example:
        >>> encoder = FGCLIP2.from_size('tiny')
        >>> scorer = RankerScorer(Ranker.for_encoder(encoder))

    Reference: R2D2 (arXiv:2205.03860), section 4.2.
    """

    def __init__(
        self,
        ranker: Ranker,
        token_bytes: int = TOKEN_BYTES,
        pair_tokens: int = PAIR_TOKENS,
    ) -> None:
        if ranker.config.reads != 'image':
            raise InputError(
                'the ranker reads regions of a dense map; pairs of images and texts '
                "need one that reads whole images (reads='image')"
            )
        self.ranker = ranker
        self.token_bytes, self.pair_tokens = token_bytes, pair_tokens

    def digest(self) -> str:
        """SHA-256 of the ranker's weights and config."""
        return encoder_digest(self.ranker, self.ranker.config.to_dict())

    @torch.no_grad()
    def scores(
        self,
        embedder: Embedder,
        items: Sequence[ImageItem],
        texts: Sequence[str],
        mode: str,
        pairs: Tensor,
    ) -> Tensor:
        """See :class:`PairScorer`.

        Raises:
            ValueError: if a probability is not finite, naming image and text.
        """
        self.ranker.to(embedder.device)
        order = pairs[:, 0].argsort(stable=True)
        images = pairs[order, 0]
        result = torch.zeros(len(pairs))
        store = _TextStore(embedder, texts, mode, self.token_bytes)
        with embedder.bar('pairs', len(pairs)) as bar:
            for block in self._blocks(embedder, items, images.unique().tolist()):
                ends = torch.tensor([min(block), max(block) + 1])
                first, last = torch.searchsorted(images, ends).tolist()
                places = order[first:last]
                for tokens, own in store.chunks(pairs, places):
                    for jobs in self._batches(block, tokens, pairs, own):
                        self._score(block, tokens, pairs, jobs, result)
                        bar.update(sum(map(len, jobs)))
        bad = (~result.isfinite()).nonzero()
        if len(bad):
            image, text = pairs[int(bad[0])].tolist()
            raise ValueError(
                f'the matching probability of {items[image].path} and {texts[text]!r} '
                'is not finite; the ranker is damaged or its training diverged'
            )
        return result

    def _blocks(
        self, embedder: Embedder, items: Sequence[ImageItem], rows: list[int]
    ) -> Iterator[dict[int, Tensor]]:
        """Tokens of neighbouring images by row, ``token_bytes`` of them at a time."""
        block: dict[int, Tensor] = {}
        num_bytes = 0
        stream = image_tokens(embedder, [items[row] for row in rows])
        for row, tokens in zip(rows, stream, strict=True):
            block[row] = tokens
            num_bytes += tokens.nbytes
            if num_bytes >= self.token_bytes:
                yield block
                block, num_bytes = {}, 0
        if block:
            yield block

    def _batches(
        self,
        block: dict[int, Tensor],
        tokens: dict[int, Tensor],
        pairs: Tensor,
        places: Tensor,
    ) -> Iterator[list[list[int]]]:
        """Places of pairs as K jobs, each of one image and k texts; of a batch, k and
        the images' number of tokens are equal."""
        by_image: dict[int, list[int]] = {}
        for place, image in zip(
            places.tolist(), pairs[places, 0].tolist(), strict=True
        ):
            by_image.setdefault(image, []).append(place)
        longest = max(map(len, tokens.values()))
        groups: dict[tuple[int, int], list[list[int]]] = {}
        for image, own in by_image.items():
            length = len(block[image])
            size = max(1, self.pair_tokens // (length + longest))
            for start in range(0, len(own), size):
                job = own[start : start + size]
                groups.setdefault((length, len(job)), []).append(job)
        for (length, count), jobs in groups.items():
            size = max(1, self.pair_tokens // (count * (length + longest)))
            yield from (jobs[i : i + size] for i in range(0, len(jobs), size))

    def _score(
        self,
        block: dict[int, Tensor],
        tokens: dict[int, Tensor],
        pairs: Tensor,
        jobs: list[list[int]],
        result: Tensor,
    ) -> None:
        """Put the probabilities of a batch into ``result``."""
        places = torch.tensor(jobs)  # (K, k)
        images = torch.stack([block[row] for row in pairs[places[:, 0], 0].tolist()])
        own = [tokens[row] for row in pairs[places.flatten(), 1].tolist()]
        lengths = torch.tensor([len(text) for text in own])
        texts = pad_sequence(own, batch_first=True).unflatten(0, places.shape)
        mask = torch.arange(texts.shape[2]) < lengths[:, None]  # (K * k, L)
        shaped = mask.unflatten(0, places.shape).to(texts.device)
        logits = self.ranker(images, texts, None if mask.all() else shaped)
        result[places] = match_scores(logits).cpu()


class _TextStore:
    """Tokens of texts by row, all kept where they fit."""

    def __init__(
        self, embedder: Embedder, texts: Sequence[str], mode: str, token_bytes: int
    ) -> None:
        self.embedder, self.texts, self.mode = embedder, texts, mode
        self.size = max(1, token_bytes // text_bytes(embedder, mode))
        self.kept: dict[int, Tensor] = {}

    def chunks(
        self, pairs: Tensor, places: Tensor
    ) -> Iterator[tuple[dict[int, Tensor], Tensor]]:
        """Tokens, and those of ``places`` whose texts they are, until all are done."""
        rows = pairs[places, 1]
        wanted = rows.unique()
        for part in wanted.split(self.size):
            if len(self.texts) > self.size:
                self.kept = {}
            missing = [row for row in part.tolist() if row not in self.kept]
            texts = [self.texts[int(row)] for row in missing]
            made = text_tokens(self.embedder, texts, self.mode)
            self.kept.update(zip(missing, made, strict=True))
            inside = (rows >= part[0]) & (rows <= part[-1])  # ``wanted`` is sorted
            yield self.kept, places[inside]


def make_scorer(name: str, encoder: DualEncoder | None, seed: int = 0) -> PairScorer:
    """A scorer by name.

    Args:
        name: folder of a ranker, or a control: 'oracle' or 'noise'.
        encoder: that the ranker was trained on, in float32 as it was loaded; None of a
            control.
        seed: of the noise.

    Raises:
        InputError: if there is no such ranker, it reads regions or another encoder, or
            there is no encoder to read.
    """
    if name in KINDS:
        return ControlScorer(name, seed)
    if encoder is None:
        raise InputError(
            f'the ranker {name} reads the tokens of an encoder, a control has none; '
            'rank with oracle or noise, or give the encoder that it was trained on'
        )
    return RankerScorer(Ranker.from_pretrained(name, encoder))
