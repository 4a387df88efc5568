"""Conversion of caption files to training records, one for each caption."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from pretrain.data.record_files import LANGUAGE_KEY, LANGUAGES
from pretrain.data.records import leads_outside


def captions_to_records(
    captions: Mapping[str, Sequence[str]], language: str, key: str = 'short_caption'
) -> Iterator[dict]:
    """Records of images and their captions; captions of an image share its path.

    Args:
        captions: image path -> captions, as the readers of
            :mod:`fgclip2_det.zeroshot.caption_files` give them.
        language: 'en' or 'zh'.
        key: 'short_caption', or 'caption' for long ones.

    Raises:
        ValueError: for another language or key, or an image path that leads outside
            the folder of the images.
    """
    if language not in LANGUAGES:
        raise InputError(f'language must be one of {LANGUAGES}, got {language!r}')
    if key not in ('short_caption', 'caption'):
        raise InputError(f"key must be 'short_caption' or 'caption', got {key!r}")
    for path, texts in captions.items():
        if leads_outside(path):
            raise InputError(
                f'the image path {path!r:.200} leads outside the folder of the images; '
                'correct it'
            )
        for text in texts:
            record = {'f_path': path, key: text}
            yield record | ({LANGUAGE_KEY: True} if language == 'zh' else {})


def write_caption_records(
    captions: Mapping[str, Sequence[str]],
    language: str,
    out: str | os.PathLike,
    key: str = 'short_caption',
) -> int:
    """Write records as ``.jsonl``; the number of them.

    Args:
        captions, language, key: see :func:`captions_to_records`.
        out: file, which appears whole or not at all; its folder is made.
    """
    records = list(captions_to_records(captions, language, key))
    if not records:
        raise InputError(f'there is no caption to write to {out}')
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, '\n'.join([*lines, '']).encode())
    return len(records)
