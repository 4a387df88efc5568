"""Parts of names as targets in a detector's training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from fgclip2_det.models.losses.process_counts import share_of_count
from fgclip2_det.vocabulary import Vocabulary, normalize_name

REGIONS = 'recolored', 'new', 'all'
LEAST_SHARE = 1e-14  # of the pairs that are no base names, in double precision


class NameParts(nn.Module):
    """The parts that base names are made of, and the loss on them.

    Of 'white rook' and 'black pawn', made of a colour and a piece, every region is
    compared with the colours apart from the pieces: a softmax cross entropy over each
    place of the lists of parts. Regions in the colours of another object
    (:class:`.RecolorObjects`) have its part at place ``look`` and their own at all
    others. Where these make a base name, it is the region's name; where they do
    not, the parts alone are its targets, so that no novel name is one. Names without
    parts are compared as whole names only.

    Where every object of a base name is labelled, one that is not has other parts than
    any of them: which, is not known, but not those. :meth:`unlabelled_loss` teaches
    that (learning from partial labels: Cour, Sapp and Taskar, JMLR 2011).

    Args:
        look: place of the part that colours decide, as in ``RecolorObjects``.
        loss_weight: weight of the loss.
        regions: which of them it counts: ``'recolored'``; ``'new'``, those of them
            without a base name; or ``'all'``, where regions as photographed, which have
            base names alone, teach that other pairs do not occur.
        unlabelled_weight: weight of the loss on objects without a label. Above 0, all
            objects of base names must be labelled in every image.
        unlabelled_from: share of the training, 0 to 1, after which that loss counts.
            It strengthens what the detector takes the likeliest other pair to be, which
            should have been learned before. From then on ``regions`` is ``'all'``: what
            has a label is none of the other pairs, and what has none is one of them.
            Outside a ``Runner`` it counts at once.

    Raises:
        ValueError: for other regions, a negative weight, another share; from
            :meth:`set_vocabulary`.
    """

    def __init__(
        self,
        look: int = 0,
        loss_weight: float = 1.0,
        regions: str = 'recolored',
        unlabelled_weight: float = 0.0,
        unlabelled_from: float = 0.5,
    ) -> None:
        super().__init__()
        if regions not in REGIONS:
            raise ValueError(f'regions must be one of {REGIONS}, got {regions!r}')
        if not unlabelled_weight >= 0:
            raise ValueError(
                f'unlabelled_weight must be 0 or more, got {unlabelled_weight!r}'
            )
        if not 0 <= unlabelled_from <= 1:
            raise ValueError(
                f'unlabelled_from must be between 0 and 1, got {unlabelled_from!r}'
            )
        self.look, self.loss_weight, self.regions = look, loss_weight, regions
        self.unlabelled_weight = unlabelled_weight
        self.unlabelled_from = unlabelled_from
        # recomputed for every vocabulary, so not part of a checkpoint
        for name in ('index', 'names', 'place'):
            self.register_buffer(name, torch.zeros(0).long(), persistent=False)
        self.register_buffer('digest', torch.zeros(32).byte(), persistent=False)

    def set_vocabulary(
        self,
        vocabulary: Vocabulary,
        name_embeds: Tensor,
        embed: Callable[[Vocabulary], Tensor],
    ) -> Tensor:
        """Set the parts of a vocabulary's base names.

        Args:
            vocabulary: C names.
            name_embeds: (C, D), on the device of the detector.
            embed: embeds other texts.

        Returns:
            (P, D), the embeddings of the parts; their logits come last.

        Raises:
            ValueError: if no base name has parts, if one has another number of parts
                than the others or the same ones, or if a text occurs at two places.
        """
        is_base = vocabulary.known_split().tolist()
        table = {
            normalize_name(n): list(texts)
            for n, texts in (vocabulary.parts or {}).items()
        }
        rows = [
            table.get(normalize_name(name), []) if own else []
            for name, own in zip(vocabulary.names, is_base, strict=True)
        ]
        rows = [[normalize_name(text) for text in row] for row in rows]
        count = self._check(vocabulary.names, rows)
        made = [row for row in rows if row]
        places = [list(dict.fromkeys(texts)) for texts in zip(*made, strict=True)]
        texts = [text for place in places for text in place]
        if len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise ValueError(
                f'name_parts: {twice!r} stands at two places of the lists of parts; '
                'what a region is compared with there must differ'
            )
        column = {text: i for i, text in enumerate(texts)}
        device = name_embeds.device
        known = [[column[text] for text in row] or [-1] * count for row in rows]
        self.index = torch.tensor(known, device=device)
        self.place = torch.tensor(
            [i for i, place in enumerate(places) for _ in place], device=device
        )
        label_of = {tuple(row): i for i, row in enumerate(known)}
        self.names = torch.tensor(
            [[self._named(own, other, label_of) for other in known] for own in known],
            device=device,
        )
        return embed(Vocabulary(texts, vocabulary.templates, check=False))

    def _check(self, names: Sequence[str], rows: list[list[str]]) -> int:
        """The number of parts of a name; ``ValueError`` unless all that have parts have
        as many, and one at place ``look``."""
        made = {name: row for name, row in zip(names, rows, strict=True) if row}
        if not made:
            raise ValueError(
                'name_parts: none of the base names has parts; list them in the '
                "model's parts, such as {'red cup': ['red', 'cup']}"
            )
        count = len(next(iter(made.values())))
        seen: dict[tuple[str, ...], str] = {}
        for name, row in made.items():
            if (other := seen.setdefault(tuple(row), name)) != name:
                raise ValueError(
                    f'name_parts: {other!r} and {name!r} are made of the same parts '
                    f'{row}; names that differ need parts that do'
                )
            if len(row) != count:
                raise ValueError(
                    f'name_parts: the base name {name!r} is made of {row}, others of '
                    f"{count} parts; list as many for every base name in the model's "
                    'parts, in the same order'
                )
        if not -count <= self.look < count:
            raise ValueError(
                f'name_parts: there is no part at place {self.look} of lists of {count}'
            )
        return count

    def _named(self, own: list[int], other: list[int], label_of: dict) -> int:
        """Label of a region of one name in the colours of another; -1: none."""
        if -1 in own or -1 in other:
            return -1
        mixed = own.copy()
        mixed[self.look] = other[self.look]
        return label_of.get(tuple(mixed), -1)

    def rename(self, labels: Tensor, looks: Tensor) -> tuple[Tensor, Tensor]:
        """Labels of regions by what they look like.

        Args:
            labels: (K,) in [0, C]; C is background.
            looks: (K,), labels of the objects whose colours they have; -1: their own.

        Returns:
            (K,) labels; and (K,) bool, whether there is such a base name. Where there
            is none, the label is the own one.
        """
        positive = labels < len(self.names)
        labels = labels.clone()
        named = torch.ones_like(positive)
        own = labels[positive]
        found = self.names[own, looks[positive].clamp(min=0)]
        found = torch.where(looks[positive] < 0, own, found)
        named[positive] = found >= 0
        labels[positive] = torch.where(found < 0, own, found)
        return labels, named

    def loss(self, logits: Tensor, labels: Tensor, looks: Tensor) -> Tensor:
        """Weighted loss of K regions of objects.

        L = (1/K) sum_k sum_g -log( e^l_k,t(k,g) / sum_{p in g} e^l_k,p ), over the
        places g of parts and the regions k that count.

        Args:
            logits: (K, P), of the parts.
            labels: (K,) of base names, as annotated.
            looks: (K,), as in :meth:`rename`.

        Returns:
            Scalar, float32; 0 without regions.

        Raises:
            ValueError: for a region in other colours, if its name or theirs has no
                parts.
        """
        painted = torch.where(looks < 0, labels, looks)
        unmade = (torch.minimum(self.index[labels], self.index[painted]) < 0).any(1)
        if ((looks >= 0) & unmade).any():
            raise ValueError(
                'name_parts: a recoloured object has a name without parts; give '
                "RecolorObjects the model's own table of parts"
            )
        count = share_of_count(logits.new_tensor(float(len(labels))))
        targets = self.index[labels]
        targets[:, self.look] = self.index[painted][:, self.look]
        chosen = (targets >= 0).all(1)
        regions = 'all' if self._counts_unlabelled() else self.regions
        if regions == 'recolored':
            chosen &= looks >= 0
        elif regions == 'new':
            chosen &= ~self.rename(labels, looks)[1]
        logits, targets = logits[chosen], targets[chosen]
        logits = logits.float()
        total = logits.sum() * 0
        for place, target in enumerate(targets.unbind(1)):
            own = logits.masked_fill(self.place != place, float('-inf'))
            total = total - own.log_softmax(1).gather(1, target[:, None]).sum()
        return self.loss_weight * total / count

    def unlabelled_loss(
        self, logits: Tensor, objectness: Tensor, num_labelled: int
    ) -> Tensor:
        """Weighted loss of M regions that no label covers.

        L = -1/max(K, sum_m o_m) sum_m o_m log( 1 - sum_b prod_g p_m,g(b) ), where
        p_m,g is the softmax over the parts of place g, and b runs over the base names'
        parts. Nothing is to be learnt if these are all the pairs there are.

        Args:
            logits: (M, P), of the parts.
            objectness: (M,) in [0, 1], how likely each is an object at all; weights
                without gradients, of which those above one half count.
            num_labelled: K, regions of labelled objects.

        Returns:
            Scalar, float32; 0 without regions.
        """
        weights = objectness.detach().double()
        weights = weights * (weights > 0.5)
        count = torch.stack([weights.new_tensor(float(num_labelled)), weights.sum()])
        count = share_of_count(count).max()  # of all processes
        made = self.index[(self.index >= 0).all(1)]
        sizes = torch.bincount(self.place)
        if len(made) == int(sizes.prod()) or not self._counts_unlabelled():
            return logits.float().sum() * 0
        logits = logits.double()  # 1 - sum is small where a region is taken for a base
        shares = logits.new_zeros(len(logits), len(made))
        for place, columns in enumerate(made.unbind(1)):
            own = logits.masked_fill(self.place != place, float('-inf'))
            shares = shares + own.log_softmax(1)[:, columns]
        known = shares.exp().sum(1).clamp(max=1 - LEAST_SHARE)
        losses = -weights * torch.log1p(-known)
        return (self.unlabelled_weight * losses.sum() / count).float()

    def _counts_unlabelled(self) -> bool:
        """Whether objects without a label count by now."""
        return self.unlabelled_weight > 0 and _progress() >= self.unlabelled_from


def _progress() -> float:
    """Share of the training that is done; 1 outside a ``Runner``'s."""
    info = MessageHub.get_current_instance().runtime_info
    if info.get('loop_stage') != 'train':
        return 1.0
    return info['iter'] / max(info['max_iters'], 1)
