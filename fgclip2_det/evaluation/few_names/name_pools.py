"""Which names an image has, and which it is known not to have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.ground_truths import LEFT_OUT, Truths


@dataclass(frozen=True)
class NamePools:
    """Rising category indices of I images.

    Attributes:
        present: with an object that counts.
        absent: known to have none.
        unsure: with crowds or ignored objects alone; asked for among all names only.
        source: where absence is known from: 'exhaustive annotations',
            'neg_category_ids of images' or 'neg_category_ids of annotations'.
    """

    present: list[np.ndarray]
    absent: list[np.ndarray]
    unsure: list[np.ndarray]
    source: str

    @property
    def from_annotations(self) -> bool:
        """Whether the annotations say what is absent, as FG-OVD's do."""
        return self.source.endswith('annotations') and 'neg' in self.source


def is_federated(images: object) -> bool:
    """Whether all images of a list say which categories they lack, as LVIS's do."""
    return (
        isinstance(images, list)
        and bool(images)
        and all(isinstance(i, Mapping) and 'neg_category_ids' in i for i in images)
    )


def counted_objects(truths: Truths) -> np.ndarray:
    """(G,) bool: objects that can be found, neither crowds nor, in LVIS, ignored."""
    if is_federated(truths.images):
        return ~truths.ignored & (truths.areas > 0)
    return ~truths.crowd


def name_pools(
    truths: Truths, negatives: Mapping[int | str, Collection] | None = None
) -> NamePools:
    """See :class:`NamePools`.

    Args:
        truths: of a LVIS file, read with ``federated``.
        negatives: see :func:`.draw_asks`.
    """
    keys = np.unique(truths.keys(truths.image, truths.category))
    counted = counted_objects(truths)
    found = truths.keys(truths.image[counted], truths.category[counted])
    present = _by_image(np.unique(found), truths)
    labelled = _by_image(keys, truths)
    unsure = [np.setdiff1d(a, b) for a, b in zip(labelled, present, strict=True)]
    source = 'exhaustive annotations'
    if negatives is not None:
        source = 'neg_category_ids of annotations'
        absent = [_indices(truths, negatives.get(i['id'], ())) for i in truths.images]
    elif is_federated(truths.images):
        source = 'neg_category_ids of images'
        absent = _by_image(truths.negative, truths)
    else:
        absent = [np.arange(len(truths.categories))] * len(truths.images)
    absent = [np.setdiff1d(a, b) for a, b in zip(absent, labelled, strict=True)]
    return NamePools(present, absent, unsure, source)


def _by_image(keys: np.ndarray, truths: Truths) -> list[np.ndarray]:
    """Pair keys -> rising category indices of each image."""
    count = len(truths.images)
    if not count:
        return []
    category, image = np.divmod(keys, count)
    order = np.lexsort((category, image))
    bounds = np.searchsorted(image[order], np.arange(1, count))
    return np.split(category[order], bounds)


def _indices(truths: Truths, category_ids: Collection) -> np.ndarray:
    index = (truths.category_index.get(i, LEFT_OUT) for i in category_ids)
    return np.unique([i for i in index if i != LEFT_OUT]).astype(np.int64)
