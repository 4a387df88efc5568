"""Support of ``text_prompt`` and ``texts`` of MMDetection's inference functions."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from mmdet.structures import SampleList

from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.names import parse_entries
from fgclip2_det.vocabulary.texts import parse_texts

_KEYS = ('text', 'custom_entities')
_META_KEYS = (  # PackDetInputs' own
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
    'flip_direction',
)  # fmt: skip


def are_asked(names: Sequence[Sequence[str]], vocabulary: Vocabulary) -> bool:
    """Whether names given with images are those of a vocabulary: each by all of its
    aliases, or by its name alone, as data sets call their classes."""
    own = zip(vocabulary.names, vocabulary.aliases, strict=True)
    given = [list(group) for group in names]
    return len(given) == len(vocabulary) and all(
        group in ([name], list(aliases))
        for group, (name, aliases) in zip(given, own, strict=True)
    )


def names_of_samples(samples: SampleList) -> list[list[str]] | None:
    """Aliases of the names that a user passed with the images; None if there are none.

    Args:
        samples: their ``text`` is a string such as 'cat . dog', or a list of names.

    Raises:
        ValueError: if the images of a batch have different texts.
    """
    texts = [sample.get('text') for sample in samples]
    if not texts or not texts[0]:
        texts = [text for text in texts if text]
        if not texts:
            return None
    if any(text != texts[0] for text in texts) or len(texts) != len(samples):
        raise ValueError(
            f'the images of a batch have different texts ({texts[0]!r}, ...); a '
            'detector has one vocabulary at a time: use batch_size=1'
        )
    (text, *_) = texts
    if isinstance(text, str):
        return parse_entries(parse_texts(text))
    return [[name] if isinstance(name, str) else list(name) for name in text]


def let_texts_through(cfg: MutableMapping) -> None:
    """Make the test pipeline of a config pack the texts passed with images."""
    for pipeline in _pipelines((cfg.get('test_dataloader') or {}).get('dataset')):
        step = pipeline[-1] if len(pipeline) else {}
        if str(step.get('type')).endswith('PackDetInputs'):
            keys = step.get('meta_keys', _META_KEYS)
            step['meta_keys'] = tuple(dict.fromkeys([*keys, *_KEYS]))


def _pipelines(dataset: Mapping | None) -> list[Sequence]:
    if not isinstance(dataset, Mapping):
        return []
    inner = [dataset.get('dataset'), *(dataset.get('datasets') or ())]
    own = [dataset['pipeline']] if dataset.get('pipeline') else []
    return own + [pipeline for part in inner for pipeline in _pipelines(part)]
