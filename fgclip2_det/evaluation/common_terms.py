"""Two result files in common terms: an earlier one does not say all of a later one.

What only one of two files says is no difference between them; it is not known of the
other. Where an earlier file says a thing in another way, both say it in that way.
"""

from __future__ import annotations

from typing import Any

# of what was evaluated, not of the detector's or encoder's answers
_OF_ANSWERS = ('rows', 'truncated_texts', 'max_num_patches')
_OF_OTHER_SPLITS = '_of_all_splits'
_OF_RANKERS = ('candidates', 'scored_pairs')
_LATER = ('folders', 'boxes', 'masks')
DEFAULT_NEGATIVES = 10  # which 'fg-ovd' wrote only where another number was given


def common_terms(first: dict, second: dict) -> tuple[dict, dict]:
    """Protocols of two result files, of which one or both may be earlier ones.

    - ``counts``: those that both have, and none of answers or of other splits; of a
      benchmark's earlier files those beside the protocol;
    - ``objects.sha256``: over the rows as they stood in the file, if one has no other;
    - ``folders``, ``boxes`` and ``masks``: only where both have them;
    - ``options.num_negatives`` of 'fg-ovd': always.
    """
    protocols = [dict(content['protocol']) for content in (first, second)]
    all_counts = [_counts(content) for content in (first, second)]
    shared = all_counts[0].keys() & all_counts[1].keys()
    for protocol, counts in zip(protocols, all_counts, strict=True):
        protocol['counts'] = {k: n for k, n in counts.items() if k in shared}
        if protocol.get('name') == 'fg-ovd':
            known = {'num_negatives': DEFAULT_NEGATIVES}
            protocol['options'] = known | (protocol.get('options') or {})
    for key in _LATER:
        if not all(key in protocol for protocol in protocols):
            protocols = [_without(protocol, key) for protocol in protocols]
    _share_folders(*protocols)
    objects = [protocol.get('objects') or {} for protocol in protocols]
    if not all('file_order_sha256' in each for each in objects):
        for protocol, each in zip(protocols, objects, strict=True):
            digest = each.get('file_order_sha256', each.get('sha256'))
            if each:
                protocol['objects'] = {**each, 'sha256': digest}
    return protocols[0], protocols[1]


def _share_folders(first: dict, second: dict) -> None:
    """Keep the folders that both files describe."""
    folders = [protocol.get('folders') or {} for protocol in (first, second)]
    shared = folders[0].keys() & folders[1].keys()
    for protocol, own in zip((first, second), folders, strict=True):
        if own:
            protocol['folders'] = {k: v for k, v in own.items() if k in shared}


def _without(protocol: dict, key: str) -> dict:
    return {k: v for k, v in protocol.items() if k != key}


def _counts(content: dict) -> dict[str, Any]:
    """Counts of what was evaluated, in the protocol or, of earlier files, beside it."""
    counts = content['protocol'].get('counts', content.get('counts'))
    if not isinstance(counts, dict):
        return {}
    return {
        name: number
        for name, number in counts.items()
        if not name.startswith(_OF_ANSWERS)
        and not name.endswith(_OF_OTHER_SPLITS)
        and not any(word in name.split('/') for word in _OF_RANKERS)
    }
