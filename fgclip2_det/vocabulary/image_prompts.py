"""Image prompts: classes that are shown instead of, or beside, being named."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.fgclip2.image import ImageLike, load_image
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.io.text import check_regular, parse_json
from fgclip2_det.vocabulary.embedding import fingerprint
from fgclip2_det.vocabulary.negatives import Negatives
from fgclip2_det.vocabulary.vocabulary import Vocabulary

Example = tuple[ImageLike, Sequence[float]]
KIND = 'fgclip2_det image prompts 2'
MAX_OFF_UNIT = 1e-3  # of a stored embedding's length
KINDS = 'fgclip2_det image prompts 1', KIND  # the first has no negatives


@dataclass(frozen=True)
class ImagePrompt:
    """A class shown by examples.

    Args:
        name: what is reported.
        examples: images, each with a box of it, (4,) xyxy in the upright image's
            pixels; one image may have several.
        text: what the class is called as well; None: the examples alone.
        weight: of the examples beside a text, in (0, 1].
        negatives: images, each with a box of what the class is not: each competes
            with the class for boxes, and with no other class.

    Raises:
        ValueError: without a name or examples, or for another weight.
    """

    name: str
    examples: Sequence[Example]
    text: str | None = None
    weight: float = 0.5
    negatives: Sequence[Example] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f'an image prompt needs a name, got {self.name!r}')
        if not self.examples:
            raise InputError(
                f'image prompt {self.name!r} has no examples; give (image, box) pairs'
            )
        if not 0 < self.weight <= 1:
            raise InputError(
                f'weight of {self.name!r} must lie in (0, 1], got {self.weight}'
            )


@dataclass(frozen=True)
class ImageEmbeds:
    """Image prompts, encoded.

    Attributes:
        names: P names.
        embeds: (P, D) float32, L2-normalised.
        texts: P texts, None for a class without.
        weights: P weights of the examples.
        encoder: digest of the encoder, all its towers.
        text_tower: fingerprint of its text tower, see :func:`.fingerprint`.
        negatives: (N, D) float32, L2-normalised, of what a class is not.
        owners: N indices of the classes that the negatives belong to.
    """

    names: tuple[str, ...]
    embeds: Tensor
    texts: tuple[str | None, ...]
    weights: tuple[float, ...]
    encoder: str
    text_tower: str
    negatives: Tensor
    owners: tuple[int, ...] = ()

    @classmethod
    @torch.no_grad()
    def encode(
        cls,
        prompts: Sequence[ImagePrompt],
        encoder: DualEncoder,
        max_num_patches: int | str = 'auto',
    ) -> ImageEmbeds:
        """Encode prompts: the mean of the examples' region features, each normalised.

        Args:
            prompts: P of them.
            encoder: with both towers.
            max_num_patches: as in the encoder's ``preprocess``.

        Raises:
            ValueError: no prompts, a name that occurs twice, an image that cannot be
                read, or a box that is empty or not within its image.
        """
        if not prompts:
            raise InputError('expected at least one image prompt, got none')
        _check_different([prompt.name for prompt in prompts])
        rows, negatives, owners = [], [], []
        for owner, prompt in enumerate(prompts):
            embeds, others = (
                [_encode(encoder, prompt.name, each, max_num_patches) for each in own]
                for own in (prompt.examples, prompt.negatives)
            )
            rows.append(F.normalize(torch.stack(embeds).mean(0), dim=0))
            negatives += others
            owners += [owner] * len(others)
        return cls(
            tuple(prompt.name for prompt in prompts),
            torch.stack(rows).cpu(),
            tuple(prompt.text for prompt in prompts),
            tuple(1.0 if p.text is None else float(p.weight) for p in prompts),
            encoder_digest(encoder, encoder.settings()),
            fingerprint(encoder),
            torch.stack([*rows, *negatives]).cpu()[len(rows) :],
            tuple(owners),
        )

    @classmethod
    def join(cls, parts: Sequence[ImageEmbeds]) -> ImageEmbeds:
        """Several of one encoder, one after the other.

        Raises:
            ValueError: of different encoders, or with a name that occurs twice.
        """
        first = parts[0]
        if any(part.encoder != first.encoder for part in parts):
            raise InputError('image prompts of different encoders cannot be joined')
        names = tuple(name for part in parts for name in part.names)
        _check_different(names)
        starts = list(accumulate([len(part.names) for part in parts], initial=0))
        return cls(
            names,
            torch.cat([part.embeds for part in parts]),
            tuple(text for part in parts for text in part.texts),
            tuple(weight for part in parts for weight in part.weights),
            first.encoder,
            first.text_tower,
            torch.cat([part.negatives for part in parts]),
            tuple(
                start + owner
                for start, part in zip(starts[:-1], parts, strict=True)
                for owner in part.owners
            ),
        )

    @property
    def key(self) -> list:
        """Equal for equal prompts, JSON values."""
        own = [self.names, self.texts, self.weights, self.embeds.tolist()]
        return [*own, self.negatives.tolist(), self.owners]

    def counters(self, names: Sequence[str]) -> Negatives | None:
        """The negative boxes as negatives of a vocabulary of C names, which compete
        with the class that they belong to; None without any. Their texts are for
        display, 'not my cup (1)'; their embeddings are :attr:`negatives`."""
        if not self.owners:
            return None
        rows = [normalize_name(name) for name in names]
        own = [self.names[owner] for owner in self.owners]
        against = np.zeros((len(names), len(own)), bool)
        for column, name in enumerate(own):
            against[rows.index(normalize_name(name)), column] = True
        texts = [
            f'not {name} ({own[:i].count(name) + 1})' for i, name in enumerate(own)
        ]
        between = np.zeros((len(names), len(names)), bool)
        return Negatives(tuple(texts), against, between)

    def called_by_name(self) -> set[str]:
        """Normalised names of the classes whose text is the name."""
        pairs = zip(map(normalize_name, self.names), self.texts, strict=True)
        return {n for n, t in pairs if t is not None and normalize_name(t) == n}

    def vocabulary(
        self, names: Sequence[str | Sequence[str]] = (), **options: Any
    ) -> Vocabulary:
        """A vocabulary of names and, after them, the classes of the prompts.

        Args:
            names: further classes, each a name or a list of aliases. Where the first
                is the name and the text of a prompt, all aliases are its text.
            options: of ``Vocabulary``, such as ``negatives``.
        """
        groups = [[each] if isinstance(each, str) else list(each) for each in names]
        own = self.called_by_name()
        named = {n: g for g in groups if g and (n := normalize_name(g[0])) in own}
        with_images = {id(group) for group in named.values()}
        groups = [group for group in groups if id(group) not in with_images]
        shown, texts = [], {}
        for name, text in zip(self.names, self.texts, strict=True):
            aliases = named.get(normalize_name(name), [name])
            shown.append([name, *aliases[1:]])
            if text is not None and len(aliases) == 1:
                texts[name] = [text]
        parts = options.get('parts')
        if texts and parts is not None:  # a table that was given is the whole one
            parts = {**{group[0]: group for group in groups if group}, **parts}
        if texts:
            options['parts'] = {**(parts or {}), **texts}
        return Vocabulary([*groups, *shown], images=self, **options)

    def mixed(self, embeds: Tensor, names: Sequence[str], text_tower: str) -> Tensor:
        """Embeddings of a vocabulary, those of the prompts in the place of their names.

        Args:
            embeds: (C, D) of the texts, L2-normalised.
            names: C names.
            text_tower: fingerprint of the encoder that ``embeds`` come from.

        Returns:
            (C, D), L2-normalised: weight * examples + (1 - weight) * text.

        Raises:
            ValueError: for another encoder than that of the prompts.
        """
        if text_tower != self.text_tower:
            raise InputError(
                'the image prompts were encoded with another encoder than the names; '
                'encode their images again with this one'
            )
        mixed, place = (
            embeds.clone(),
            {normalize_name(n): i for i, n in enumerate(names)},
        )
        for name, own, weight in zip(
            self.names, self.embeds.to(embeds), self.weights, strict=True
        ):
            row = place[normalize_name(name)]
            mixed[row] = F.normalize(weight * own + (1 - weight) * embeds[row], dim=0)
        return mixed

    def save(self, path: str | os.PathLike) -> None:
        """Write a safetensors file with names, texts, weights and digests as JSON."""
        content = dict(
            kind=KIND, names=self.names, texts=self.texts, weights=self.weights,
            encoder=self.encoder, text_tower=self.text_tower, owners=self.owners,
        )  # fmt: skip
        text = json.dumps(content, ensure_ascii=False)
        with temporary_path(Path(path)) as partial:
            tensors = {'embeds': self.embeds, 'negatives': self.negatives}
            save_file(tensors, partial, metadata={'prompts': text})

    @classmethod
    def load(
        cls, path: str | os.PathLike, encoder: DualEncoder | None = None
    ) -> ImageEmbeds:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            encoder: that will be used; None leaves the check to :meth:`mixed`.

        Raises:
            ValueError: no such file, a damaged one, or one of another encoder.
        """
        try:
            check_regular(path)
            with safe_open(path, framework='pt') as file:
                content = parse_json((file.metadata() or {}).get('prompts', '{}'))
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f'{path} is no file of image prompts ({error}); write one with '
                'ImageEmbeds.save'
            ) from error
        if not _is_whole(content, tensors):
            raise InputError(
                f'{path} is no file of image prompts; write one with ImageEmbeds.save'
            )
        try:
            _check_different(content['names'])
        except ValueError as error:
            raise InputError(f'{path}: {error}') from error
        embeds = tensors['embeds'].float()
        own = cls(
            tuple(content['names']), embeds, tuple(content['texts']),
            tuple(content['weights']), content['encoder'], content['text_tower'],
            tensors.get('negatives', embeds[:0]).float(),
            tuple(content.get('owners', ())),
        )  # fmt: skip
        if encoder is not None and (
            own.encoder != encoder_digest(encoder, encoder.settings())
            or embeds.shape[1] != encoder.embed_dims
        ):
            raise InputError(
                f'{path} was written with another encoder; encode its images again '
                'with this one'
            )
        return own


def _is_whole(content: Any, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file's parts are there and fit each other."""
    if not isinstance(content, dict) or content.get('kind') not in KINDS:
        return False
    embeds = tensors.get('embeds', torch.zeros(0))
    negatives = tensors.get('negatives', embeds[:0])
    count, owners = len(embeds), content.get('owners', [])
    lists: list[Any] = [content.get(key) for key in ('names', 'texts', 'weights')]
    return (
        count > 0
        and all(isinstance(each, list) and len(each) == count for each in lists)
        and isinstance(owners, list)
        and len(owners) == len(negatives)
        and _are_unit(embeds)
        and _are_unit(negatives)
        and negatives.shape[1:] == embeds.shape[1:]
        and all(isinstance(name, str) and name.strip() for name in lists[0])
        and all(text is None or isinstance(text, str) for text in lists[1])
        and all(type(w) in (int, float) and 0 < w <= 1 for w in lists[2])
        and all(type(owner) is int and 0 <= owner < count for owner in owners)
        and all(isinstance(content.get(k), str) for k in ('encoder', 'text_tower'))
    )


def _are_unit(rows: Tensor) -> bool:
    """Whether (N, D) rows are floats of length 1."""
    if rows.dim() != 2 or not rows.is_floating_point():
        return False
    return bool(((rows.float().norm(dim=1) - 1).abs() < MAX_OFF_UNIT).all())


def parse_example(text: str) -> tuple[str, tuple[str, list[float]]]:
    """Name and example of a command line: 'desk.jpg:40,60,120,150=my cup'.

    Raises:
        ValueError: for another form.
    """
    rest, mark, name = text.rpartition('=')
    source, colon, corners = rest.rpartition(':')
    try:
        box = [float(value) for value in corners.split(',')]
    except ValueError:
        box = []
    if not (mark and colon and source and name.strip() and len(box) == 4):
        raise InputError(
            f'an image prompt is written image.png:x1,y1,x2,y2=name, got {text!r}'
        )
    return name.strip(), (source, box)


def _check_different(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if normalize_name(name) in seen:
            raise InputError(
                f'two image prompts are called {name!r}; give one prompt all examples'
            )
        seen.add(normalize_name(name))


def _encode(
    encoder: DualEncoder, name: str, example: Example, max_num_patches: int | str
) -> Tensor:
    """(D,) region feature of one example, normalised, float32."""
    source, box = example
    image = load_image(source)
    width, height = image.size
    try:
        corners = torch.tensor([float(value) for value in box])
    except (TypeError, ValueError, OverflowError):
        corners = torch.empty(0)
    if corners.shape != (4,) or not corners.isfinite().all():
        raise InputError(f'box of {name!r} must be x1, y1, x2, y2, got {box}')
    x1, y1, x2, y2 = corners.tolist()
    if x1 >= x2 or y1 >= y2:
        raise InputError(
            f'box {list(box)} of {name!r} is empty; expected x1 < x2 and y1 < y2'
        )
    if min(x1, y1) < 0 or x2 > width or y2 > height:
        raise InputError(
            f'box {list(box)} of {name!r} is not within its image of {width} x '
            f'{height} pixels'
        )
    batch = encoder.preprocess([image], max_num_patches)
    (embeds,) = encoder.region_features(batch, [corners[None]], True)
    return embeds[0].float()
