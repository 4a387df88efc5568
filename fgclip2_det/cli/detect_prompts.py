"""Names, negatives and image prompts of ``fgclip2-det detect``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgclip2_det.cli.parsing import FAILED
from fgclip2_det.coco.names import normalize_name

if TYPE_CHECKING:
    from fgclip2_det.apis import OpenVocabInferencer
    from fgclip2_det.vocabulary import Vocabulary
    from fgclip2_det.vocabulary.image_prompts import ImageEmbeds
    from fgclip2_det.vocabulary.names import Prompt

ADVICE = {
    '--names': 'give the names as well',
    '--like': 'give boxes that show the class as well',
    '--prompt-free': 'give that as well, or leave it out',
}
LANGUAGE, TOP = 'en', 3  # of --prompt-free
FILE_OF_PROMPTS = '.safetensors'


def check_prompts(args: argparse.Namespace) -> None:
    """Refuse options that belong to others, which are not there.

    Raises:
        ValueError: naming both.
    """
    named = args.names is not None
    free = args.prompt_free is not None
    for option, others, given in (
        ('--words', '--names', args.words and not named),
        ('--unlike', '--like', args.unlike and not args.like),
        ('--save-prompts', '--like', args.save_prompts and not args.like),
        ('--not', '--names', args.negatives and not (named or args.like)),
        ('--attributes', '--names',
         args.attributes is not None and not (named or args.like)),
        ('--language', '--prompt-free', args.language is not None and not free),
        ('--top', '--prompt-free', args.top is not None and not free),
        ('--text-cache', '--prompt-free', args.text_cache is not None and not free),
    ):  # fmt: skip
        if given:
            raise ValueError(f'{option} belongs to {others}; {ADVICE[others]}')


def read_names(args: argparse.Namespace) -> list[Prompt] | None:
    """C classes of ``--names``, see :func:`.read_prompts`; None without it. Exits with
    2 for names that cannot be read."""
    from fgclip2_det.vocabulary.names import read_prompts

    if args.names is None:
        return None
    try:
        return read_prompts(args.names, _words(args.words or ()))
    except ValueError as error:
        print(f'error: --names: {error}', file=sys.stderr)
        sys.exit(FAILED)


def _words(options: Sequence[str]) -> dict[str, str]:
    """Placeholder -> its words, of 'noun=cup|plate'."""
    found = {}
    for option in options:
        name, mark, words = (part.strip() for part in option.partition('='))
        if not (mark and name and words):
            print(f'error: --words: expected LIST=WORD|WORD, got {option!r}',
                  file=sys.stderr)  # fmt: skip
            sys.exit(FAILED)
        found[name] = words
    return found


def vocabulary(
    args: argparse.Namespace, prompts: list[Prompt], inferencer: OpenVocabInferencer
) -> Vocabulary:
    """Names, negatives and image prompts of the options.

    Raises:
        ValueError: for what is no image prompt, or names that cannot be combined.
    """
    from fgclip2_det.vocabulary import Vocabulary
    from fgclip2_det.vocabulary.negatives import (
        find_negatives,
        join_negatives,
        parse_negatives,
    )

    names = [aliases for aliases, _ in prompts]
    negatives = parse_negatives(args.negatives or ())
    if args.attributes is None:
        of_braces = [aliases for aliases, braces in prompts if braces]
        negatives = join_negatives(negatives, find_negatives(of_braces))
    options: dict[str, Any] = dict(
        negatives=negatives, attribute_negatives=args.attributes
    )
    if not args.like:
        return Vocabulary(names, **options)
    shown = _shown(args, {normalize_name(group[0]) for group in names}, inferencer)
    if args.save_prompts is not None:
        shown.save(args.save_prompts)
        print(f'image prompts: {args.save_prompts}')
    # a file may show a class without its name as a text: it stays as it was saved
    alone = {*map(normalize_name, shown.names)} - shown.called_by_name()
    names = [group for group in names if normalize_name(group[0]) not in alone]
    return shown.vocabulary(names, **options)


def _shown(
    args: argparse.Namespace, named: set[str], inferencer: OpenVocabInferencer
) -> ImageEmbeds:
    """The classes of --like: from boxes of images, then from files."""
    from fgclip2_det.vocabulary.image_prompts import (
        ImageEmbeds,
        ImagePrompt,
        parse_example,
    )

    files = [text for text in args.like if text.endswith(FILE_OF_PROMPTS)]
    boxes: dict[str, list] = {}
    for text in args.like:
        if text not in files:
            name, example = parse_example(text)
            boxes.setdefault(name, []).append(example)
    others: dict[str, list] = {}
    for text in args.unlike or ():
        name, example = parse_example(text)
        if name not in boxes:
            raise ValueError(
                f'--unlike is given for {name!r}, which no box of --like shows; '
                f'expected one of {", ".join(boxes) or "none"}'
            )
        others.setdefault(name, []).append(example)
    parts = [inferencer.load_prompts(path) for path in files]
    if boxes:
        prompts = [
            ImagePrompt(name, own, name if normalize_name(name) in named else None,
                        negatives=others.get(name, ()))
            for name, own in boxes.items()
        ]  # fmt: skip
        parts.insert(0, inferencer.encode_prompts(prompts))
    return ImageEmbeds.join(parts)


def shown_in(args: argparse.Namespace) -> list[str]:
    """Image files of --like and --unlike.

    Raises:
        ValueError: for what is no image prompt.
    """
    from fgclip2_det.vocabulary.image_prompts import parse_example

    given = [*(args.like or ()), *(args.unlike or ())]
    boxes = [text for text in given if not text.endswith(FILE_OF_PROMPTS)]
    return [parse_example(text)[1][0] for text in boxes]


def name_everything(args: argparse.Namespace, inferencer: OpenVocabInferencer) -> None:
    """Make the inferencer detect without a prompt, if that was asked for."""
    if args.prompt_free is not None:
        cache = args.text_cache or _user_cache()
        inferencer.set_prompt_free(
            args.prompt_free or None, args.language or LANGUAGE, args.top or TOP,
            cache_dir=cache,
        )  # fmt: skip


def _user_cache() -> Path:
    """Where text embeddings of long lists are kept unless an option says it."""
    root = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(root) / 'fgclip2_det' / 'texts'
