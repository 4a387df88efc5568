"""Class names for detectors that read them from data samples: Grounding DINO, GLIP."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.models.detectors import BaseDetector
from mmdet.models.detectors.glip import clean_label_name
from mmdet.structures import DetDataSample, SampleList

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.models.detectors.readable_names import readable_names
from fgclip2_det.vocabulary import Vocabulary


def reads_text(detector: BaseDetector) -> bool:
    """Whether the detector reads its class names from ``text`` of the data samples."""
    return hasattr(detector, 'language_model')


def reads_chunks(detector: BaseDetector) -> bool:
    """Whether it processes names in chunks, which works for single images only."""
    return reads_text(detector) and detector.test_cfg.get('chunked_size', -1) > 0


def names_to_give(detector: BaseDetector, vocabulary: Vocabulary) -> list[str]:
    """Names in label order: for each class the first alias the detector can tokenize.

    Raises:
        ValueError: naming the classes that have none.
    """
    model = detector.language_model
    names = readable_names(
        vocabulary.aliases,
        model.tokenizer,
        getattr(model, 'max_tokens', None),
        clean_label_name,
        type(detector).__name__,
    )
    return [spoken(name) for name in names]


def give_names(samples: SampleList, names: list[str]) -> None:
    """Set the text of data samples to a list of names, whose indices are the labels.

    A list of names needs no part-of-speech tagger. It replaces the text of the data
    set, which may be a sentence with token positions.
    """
    for sample in samples:
        sample.set_metainfo(
            dict(text=names, custom_entities=True, tokens_positive=None)
        )


def check_names_were_read(sample: DetDataSample, vocabulary: Vocabulary) -> None:
    """Raise ``ValueError`` for a name without tokens, whose scores are undefined."""
    instances = sample.pred_instances
    unread = instances.scores.isnan()
    if unread.any():
        name = vocabulary.names[int(instances.labels[unread][0])]
        raise ValueError(
            f'{sample.img_path}: the detector has no score for {name!r}, since its '
            'text has no token of it; set a smaller test_cfg.chunked_size in its '
            'config or change the name'
        )


def check_same_classes(own: Sequence[str], names: Sequence[str]) -> None:
    """ValueError unless the names are a detector's own classes, in its order."""
    own = [normalize_name(name) for name in own]
    wanted = [normalize_name(name) for name in names]
    if own != wanted:
        place = next(
            (i for i, pair in enumerate(zip(own, wanted, strict=False))
             if pair[0] != pair[1]), min(len(own), len(wanted)))  # fmt: skip
        raise ValueError(
            f"the detector's {len(own)} classes and the vocabulary's {len(wanted)} "
            f'differ at label {place}: {own[place : place + 1]} there, '
            f'{wanted[place : place + 1]} here; give the names in the order of the '
            'training'
        )
