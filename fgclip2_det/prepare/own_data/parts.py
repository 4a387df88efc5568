"""Names that are made of the same parts, such as 'white rook' and 'black rook'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError


def split_names(names: Sequence[str]) -> dict[str, list[str]]:
    """Names that are a look and a thing: the first word, and all others.

    Every look stands before two things or more, every thing behind two looks: of 'white
    rook', 'black rook', 'white pawn', 'black pawn' and 'chess board' all but the last.
    Names that are not so are left out.

    Args:
        names: of the classes, with blanks, dashes or underscores.

    Returns:
        Name -> [look, thing], in the order of the names.

    Raises:
        InputError: no name is left.
    """
    split = {}
    for name in names:
        look, _, thing = normalize_name(name).replace('-', ' ').partition(' ')
        if thing.strip():
            split[name] = [look, thing.strip()]
    while True:  # a name that leaves may leave another one alone
        things, looks = defaultdict(set), defaultdict(set)
        for look, thing in split.values():
            things[look].add(thing)
            looks[thing].add(look)
        kept = {
            name: [look, thing]
            for name, (look, thing) in split.items()
            if len(things[look]) > 1 and len(looks[thing]) > 1
        }
        if len(kept) == len(split):
            break
        split = kept
    if not split:
        raise InputError(
            'no names are made of two parts that others share, as white rook, black '
            'rook, white pawn and black pawn are; leave --parts out, or list the parts '
            "in the config's model.parts"
        )
    return split
