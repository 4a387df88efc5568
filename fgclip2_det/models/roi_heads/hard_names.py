"""Hard negatives of class names in a detector's training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fgclip2_det.io.text import read_json
from fgclip2_det.models.losses import hard_name_loss, nearest_names
from fgclip2_det.vocabulary import Vocabulary, normalize_name


class HardNames(nn.Module):
    """Hard negative texts of the base names, and the loss against them.

    Args:
        texts: {name: [text, ...]}, or a JSON file with it: texts with one changed
            attribute, such as {'red cup': ['blue cup', 'red plate']}; base names may
            be among them. None: the base names with the most similar text embeddings.
        num: maximum number of negatives per name.
        loss_weight: weight of the loss; FG-CLIP 2's stage 2 has 0.5 for FGT.

    Raises:
        ValueError: for a file or value that is not such a mapping.
    """

    def __init__(
        self,
        texts: Mapping[str, Sequence[str]] | str | None = None,
        num: int = 10,
        loss_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if num < 1:
            raise ValueError(f'hard_names: num must be 1 or more, got {num}')
        self.texts = None if texts is None else _read(texts)
        self.num, self.loss_weight = num, loss_weight
        # recomputed for every vocabulary, so not part of a checkpoint
        self.register_buffer('index', torch.zeros(0, 1).long(), persistent=False)
        self.register_buffer('digest', torch.zeros(32).byte(), persistent=False)

    def set_vocabulary(
        self,
        vocabulary: Vocabulary,
        name_embeds: Tensor,
        embed: Callable[[Vocabulary], Tensor],
    ) -> Tensor:
        """Set the negatives of a vocabulary's base names.

        Args:
            vocabulary: C names.
            name_embeds: (C, D), L2-normalised.
            embed: embeds other texts, called only if there are any.

        Returns:
            (H, D), the texts that are not names; their logits come after those of the
            names and the background.

        Raises:
            ValueError: if a text is a novel name, or no base name has a text.
        """
        is_base = vocabulary.known_split().to(name_embeds.device)
        if self.texts is None:
            self.index = nearest_names(name_embeds, is_base, self.num)
            return name_embeds[:0]
        chosen = self._choose(vocabulary)
        # texts that are names themselves have their columns, and are embedded as names
        column = {normalize_name(name): i for i, name in enumerate(vocabulary.names)}
        extra = [text for texts in chosen for text in texts]
        extra = [
            text for text in dict.fromkeys(extra) if normalize_name(text) not in column
        ]
        column |= {
            normalize_name(text): len(vocabulary) + 1 + i
            for i, text in enumerate(extra)
        }
        rows = [
            [label, *(column[normalize_name(text)] for text in texts)]
            for label, texts in enumerate(chosen)
        ]
        rows = [row + [-1] * (1 + self.num - len(row)) for row in rows]
        self.index = torch.tensor(rows, device=name_embeds.device)
        if not extra:
            return name_embeds[:0]
        return embed(Vocabulary(extra, vocabulary.templates, check=False))

    def _choose(self, vocabulary: Vocabulary) -> list[list[str]]:
        """Negatives of every name; novel names have none."""
        assert self.texts is not None
        novel = {normalize_name(name) for name in vocabulary.novel_classes or ()}
        chosen = []
        is_base = vocabulary.known_split().tolist()
        for name, base in zip(vocabulary.names, is_base, strict=True):
            texts = self.texts.get(normalize_name(name), []) if base else []
            for text in texts:
                if normalize_name(text) in novel:
                    raise ValueError(
                        f'hard_names: {text!r}, a negative of {name!r}, is a novel '
                        'name; training would suppress it, leave it out'
                    )
            own = {normalize_name(name)}
            unique = {normalize_name(t): t for t in texts}
            chosen.append([t for k, t in unique.items() if k not in own][: self.num])
        if not any(chosen):
            raise ValueError(
                'hard_names: none of the base names has a text; its keys must be '
                f'names like {vocabulary.names[0]!r}'
            )
        return chosen

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted loss of K positive regions.

        Args:
            logits: (K, C + 1 + H), see :meth:`set_vocabulary`.
            labels: (K,) of base names.

        Returns:
            Scalar, float32.
        """
        return self.loss_weight * hard_name_loss(logits, self.index[labels])


def _read(texts: Mapping[str, Sequence[str]] | str) -> dict[str, list[str]]:
    """Validated texts by normalised name."""
    where = 'hard_names'
    if isinstance(texts, str):
        where = f'hard_names: {texts}'
        try:
            texts = read_json(texts)
        except ValueError as error:
            raise ValueError(f'{where} cannot be read as JSON ({error})') from error
    if not isinstance(texts, Mapping):
        raise ValueError(f'{where} must map names to lists of texts, got {texts!r:.80}')
    for name, negatives in texts.items():
        good = isinstance(negatives, list | tuple) and negatives
        if not good or not all(isinstance(t, str) and t.strip() for t in negatives):
            raise ValueError(
                f'{where}: {name!r} needs a list of texts, got {negatives!r:.80}'
            )
    return {normalize_name(name): list(negatives) for name, negatives in texts.items()}
