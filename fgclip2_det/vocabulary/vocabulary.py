"""Class names of a detector and their text embeddings."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.class_names import ClassNames
from fgclip2_det.vocabulary.embedding import TextSource, embed_groups, fingerprint
from fgclip2_det.vocabulary.names import parse_texts

if TYPE_CHECKING:
    from fgclip2_det.fgclip2 import DualEncoder

__all__ = ['Vocabulary', 'fingerprint', 'normalize_name', 'parse_texts']


class Vocabulary(ClassNames):
    """Names in label order, with aliases, prompts and the base/novel split.

    Args:
        names: C entries, each one name as it is or a list of aliases (the first is
            shown); or a string as on a command line, 'cat; sofa|couch', 'red
            {cup|plate}'. English and Chinese may be mixed.
        templates: a named set ('raw', 'photo', 'imagenet80', 'chinese') or a list of
            strings with '{}'. None: a detector's own, 'raw' elsewhere.
        novel_classes: names without boxes in training; the others are base.
        base_classes: the base names instead of the novel ones. If neither is given,
            ``is_base`` is None, and a detector takes the names that it was trained on
            as base.
        check: warn once about the findings of ``check_names``.
        parts: texts that a name is composed of, ``{'white rook': ['white', 'rook']}``;
            names may share them. The name is then embedded as the mean of its parts,
            so that what training learns about a part applies to every name that has
            it. Names without parts are embedded as usual. None: the detector's own
            parts, if it has any.
        negatives: names that compete for boxes and are not reported, for all names
            ('shadow; reflection' or a list) or as a mapping name -> negatives. A
            vocabulary that has some is a user's, whether or not it has a split.
        attribute_negatives: how many negatives each name gets that differ in one
            attribute word, as 'blue cup' from 'red cup'. None: 8 for each name that
            braces of a string stand for ('red {cup|plate}'), 0 for others.
        images: classes that are shown; see :meth:`.ImageEmbeds.vocabulary`.
        words: lists for placeholders of a string, ``{'noun': 'cup|plate'}`` for
            '{colour} {noun}'; those of attributes are built in.

    Attributes:
        negatives: :class:`.Negatives`, or None.

    Raises:
        ValueError: for no names, an empty name, names that are equal up to case,
            spaces and underscores, a split, parts or negatives of unknown classes,
            parts that are not a list of strings, or negatives that are names as well.

    Example:
        >>> vocabulary = Vocabulary(['cat', '狗', ['sofa', 'couch']])
        >>> vocabulary.embed(FGCLIP2.from_size('tiny')).shape
        torch.Size([3, 128])
    """

    @cached_property
    def is_base(self) -> Tensor | None:
        """(C,) bool, or None without a split."""
        split = self.is_base_class
        return None if split is None else torch.tensor(split)

    def known_split(self) -> Tensor:
        """(C,) bool, True = base, of a vocabulary that has a split.

        Raises:
            ValueError: it has none.
        """
        if self.is_base is None:
            raise ValueError(
                f'{self!r} has no base/novel split; give base_classes or novel_classes'
            )
        return self.is_base

    @property
    def class_of_alias(self) -> Tensor:
        """(A,) int64, the class of each row of :meth:`embed_aliases`."""
        counts = torch.tensor([len(aliases) for aliases in self.aliases])
        return torch.arange(len(self)).repeat_interleave(counts)

    def embed(
        self,
        encoder: DualEncoder | str | os.PathLike,
        cache_dir: str | os.PathLike | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Text embeddings in 'box' mode, averaged over aliases and templates.

        Every prompt is normalised, averaged over its class and normalised again.

        Args:
            encoder: has a text tower and a tokenizer; or a folder or hub id, whose
                text tower is loaded only if the cache lacks the embeddings.
            cache_dir: folder of safetensors files, keyed by encoder and prompts;
                no disk cache when None.
            batch_size: prompts per batch; None: what suits the device.

        Returns:
            (C, D) float32 on the encoder's device (the CPU for a folder),
            L2-normalised.

        Raises:
            ValueError: a prompt beyond the token limit; a damaged cache file; a
                folder without text tower or tokenizer.

        Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2; CLIP's prompt
        ensembling (arXiv:2103.00020), section 3.1.4.
        """
        source = TextSource(encoder)
        embeds = embed_groups(source, self.prompts(), cache_dir, batch_size)
        if self.images is None:
            return embeds
        return self.images.mixed(embeds, self.names, source.fingerprint())

    def embed_aliases(
        self,
        encoder: DualEncoder | str | os.PathLike,
        cache_dir: str | os.PathLike | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """One embedding per alias, the mean over templates; for scores by the best
        alias, through :func:`.embedding.class_cosines`.

        Args and errors are those of :meth:`embed`.

        Returns:
            (A, D) float32, L2-normalised; row a belongs to ``class_of_alias[a]``.
        """
        groups = [self._prompts_of(alias) for group in self.aliases for alias in group]
        return embed_groups(TextSource(encoder), groups, cache_dir, batch_size)
