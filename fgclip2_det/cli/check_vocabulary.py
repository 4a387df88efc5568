"""Check class names before a detector is run with them."""

import argparse
import sys
from collections import Counter

from fgclip2_det.cli.parsing import BAD_ANSWER, add_json, write_json

EXAMPLE = """examples:
  python tools/check_vocabulary.py 'skis|滑雪板' 'snowboard|滑雪板' cats cat
  python tools/check_vocabulary.py --list lvis --templates imagenet80 \\
      --encoder qihoo360/fg-clip2-base --cache-dir work_dirs/text_embeds --strict"""
SHOWN = 20  # rows of one kind


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('names', nargs='*',
        help="class names, or 'cat. 杯子' as --texts of image_demo.py takes them; "
             "aliases as 'sofa|couch'")  # fmt: skip
    add('--list', help='built-in list: coco, ov_coco, lvis, voc, objects365, ...')
    add('--file', help="text file, one class a line, aliases separated by '|'")
    add('--coco', help='COCO annotation file')
    add('--language', choices=['en', 'zh', 'both', 'mixed'], default='en',
        help='language of a list or a COCO file; default en')  # fmt: skip
    add('--aliases', action='store_true', help="with a list's or COCO file's aliases")
    add('--templates', default='raw',
        help='raw (default), photo, imagenet80 or chinese')  # fmt: skip
    add('--encoder', help='folder or hub id: find long prompts and near-synonyms')
    add('--threshold', type=float, default=0.95, help='cosine; default 0.95')
    add('--cache-dir', help='folder for cached text embeddings')
    add('--all', action='store_true', help=f'show all rows instead of {SHOWN} per kind')
    add('--strict', action='store_true', help='exit with code 1 if there are findings')
    add_json(parser)
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.vocabulary import Vocabulary, check_names, check_vocabulary

    if not -1 <= args.threshold <= 1:
        raise ValueError(f'--threshold is a cosine, got {args.threshold}')
    entries = read_entries(args)
    findings = check_names(entries)
    refused = {f.kind for f in findings} & {'duplicate', 'shared'}
    if args.encoder or not refused:
        vocabulary = Vocabulary(entries, args.templates, check=False)
        findings = check_vocabulary(
            vocabulary,
            args.encoder,
            cache_dir=args.cache_dir,
            threshold=args.threshold,
        )
    counts = Counter(finding.kind for finding in findings)
    shown = Counter()
    for finding in findings:
        shown[finding.kind] += 1
        if args.all or shown[finding.kind] <= SHOWN:
            print(f'{finding.kind:13}{finding.message}')
    for kind, count in counts.items():
        if not args.all and count > SHOWN:
            print(f'{kind:13}... and {count - SHOWN} more (--all shows them)')
    kinds = ', '.join(f'{count} {kind}' for kind, count in counts.items())
    print(f'{len(entries)} classes: {kinds or "no findings"}')
    write_json(
        args.json,
        {
            'classes': len(entries),
            'findings': [
                dict(kind=f.kind, names=list(f.names), message=f.message)
                for f in findings
            ],
        },
    )
    if args.strict and findings:
        sys.exit(BAD_ANSWER)


def read_entries(args: argparse.Namespace) -> list[list[str]]:
    """Aliases of every class, from the given source."""
    from fgclip2_det.vocabulary import load_list
    from fgclip2_det.vocabulary.names import (
        read_coco_names,
        read_names_file,
        read_texts,
    )

    given = [args.names or None, args.list, args.file, args.coco]
    if sum(source is not None for source in given) != 1:
        raise ValueError('give either names, --list, --file or --coco')
    if args.list:
        return load_list(args.list).entries(args.language, args.aliases)
    if args.coco:
        return read_coco_names(args.coco, args.language, args.aliases)[0]
    if args.file:
        return read_names_file(args.file)
    return [entry for word in args.names for entry in read_texts(word)]
