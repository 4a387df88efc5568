"""Category ids for the labels of a pickle, which have no names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fgclip2_det.coco.categories import normal_names
from fgclip2_det.coco.class_split import ClassSplit
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.coco.published_splits import CLASS_SPLITS
from fgclip2_det.io import InputError

ORDERS = {
    'file': "the file's order, as MMDetection's CocoDataset counts",
    'split': 'base before novel, as OpenVocabCocoDataset counts',
}


def ids_of_labels(
    categories: Sequence[Mapping],
    split: ClassSplit,
    num_labels: int,
    order: str | Sequence[str] | None = None,
) -> list[int | str]:
    """Category ids by label.

    Without an order, every order that has as many labels is tried: the file's, base
    before novel, and the published splits (``CLASS_SPLITS``) whose classes the file
    has. They must agree on the labels that occur.

    Args:
        categories: of the annotation file, in its order.
        split: of :func:`.class_split.resolve_classes`.
        num_labels: the highest label that occurs, plus one.
        order: 'file'; 'split'; a name in ``CLASS_SPLITS``; or names in label order.

    Raises:
        ValueError: where orders differ, with both and the option that decides; an
            unknown order; names that no category or more than one has.
    """
    candidates = _candidates(categories, split)
    if isinstance(order, str):
        if order not in candidates:
            raise InputError(
                f'label order {order!r} is not one of '
                f'{", ".join(map(repr, candidates))}; give one of them, the config of '
                'the detector, or a file of names in label order'
            )
        return candidates[order]
    if order is not None:
        return _ids_of_names(categories, order)
    fitting = {k: ids for k, ids in candidates.items() if len(ids) >= num_labels}
    if not fitting:
        return candidates['file']
    (first, ids), *others = fitting.items()
    for other, other_ids in others:
        for label, pair in enumerate(zip(ids, other_ids, strict=False)):
            if label < num_labels and pair[0] != pair[1]:
                raise InputError(
                    _ambiguous(categories, label, {first: ids, other: other_ids})
                )
    return ids


def _candidates(
    categories: Sequence[Mapping], split: ClassSplit
) -> dict[str, list[int | str]]:
    """Name of an order -> category ids by label."""
    orders = {
        'file': [category['id'] for category in categories],
        'split': list(split.category_ids),
    }
    for name, published in CLASS_SPLITS.items():
        try:
            names = [*published['base'], *published['novel']]
            orders[name] = _ids_of_names(categories, names)
        except ValueError:
            continue  # not a file of these classes
    return orders


def _ids_of_names(
    categories: Sequence[Mapping], names: Sequence[str]
) -> list[int | str]:
    owners: dict[str, list] = {}
    for category in categories:
        for name in normal_names(category):
            owners.setdefault(name, []).append(category['id'])
    ids = []
    for name in names:
        owned = owners.get(normalize_name(name), [])
        if len(owned) != 1:
            what = f'of categories {owned}' if owned else 'of no category'
            raise InputError(
                f'label order: {name!r} is the name {what} of the annotation file; '
                'give the names of the classes in the order of the labels'
            )
        ids += owned
    return ids


def _ambiguous(
    categories: Sequence[Mapping], label: int, orders: Mapping[str, Sequence]
) -> str:
    names = {category['id']: category['name'] for category in categories}
    shown = []
    for order, ids in orders.items():
        listed = [f'{i} {names[k]!r}' for i, k in enumerate(ids)][label : label + 3]
        title = ORDERS.get(order, f'the published split {order!r}')
        shown.append(f'{", ".join(listed)}, ... in {title} ({order!r})')
    return (
        f'it holds labels without names, and their orders differ from label {label} '
        f'on: {"; ".join(shown)}; say which one it is: label_order (--label-order) is '
        'one of these words, the config of the detector, or a file of names in label '
        'order'
    )
