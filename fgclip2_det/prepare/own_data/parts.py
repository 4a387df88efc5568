"""Names that are made of a look and a thing, such as 'white rook'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError


def split_names(names: Sequence[str]) -> dict[str, list[str]]:
    """Names that are a look, the first word, and a thing, all others.

    Looks are first words that stand before two things or more, each of which stands
    behind two looks or more. All names that begin with one of them count: of 'white
    knight', 'black knight', 'white pawn', 'black pawn', 'black rook' and 'chess board'
    all but the last. Pairs that no name has, 'white rook', come behind the names.

    Args:
        names: of the classes, with blanks, dashes or underscores.

    Returns:
        Name -> [look, thing]: the names in their order, then the other pairs.

    Raises:
        InputError: no name is left.
    """
    split = {}
    for name in names:
        look, _, thing = ' '.join(_words(name)).partition(' ')
        if look and thing:
            split[name] = [look, thing]
    looks = _shared_looks(list(split.values()))
    split = {name: pair for name, pair in split.items() if pair[0] in looks}
    if not split:
        raise InputError(
            'no names are made of two parts that others share, as white rook, black '
            'rook, white pawn and black pawn are, with a blank between look and thing; '
            "leave --parts out, or list the parts in the config's model.parts"
        )
    known = {tuple(pair) for pair in split.values()}
    things = dict.fromkeys(thing for _, thing in split.values())
    others = [
        [look, thing]
        for look in looks
        for thing in things
        if (look, thing) not in known
    ]
    return split | {f'{look} {thing}': [look, thing] for look, thing in others}


def _words(name: str) -> list[str]:
    return normalize_name(name).replace('-', ' ').split()


def _shared_looks(pairs: list[list[str]]) -> dict[str, None]:
    """Looks of the pairs that are left when, again and again, those go whose look
    stands before one thing alone, or whose thing stands behind one look alone."""
    left = {(look, thing) for look, thing in pairs}
    while True:
        things, looks = defaultdict(set), defaultdict(set)
        for look, thing in left:
            things[look].add(thing)
            looks[thing].add(look)
        kept = {
            (look, thing)
            for look, thing in left
            if len(things[look]) > 1 and len(looks[thing]) > 1
        }
        if kept == left:
            return dict.fromkeys(look for look, thing in pairs if (look, thing) in left)
        left = kept
