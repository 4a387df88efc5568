"""Evaluate a COCO result list under the protocol of a benchmark.

coco        the twelve official numbers of pycocotools
ov-coco     AP50 and AP of base, novel and all classes together (48/17 on COCO)
lvis        300 detections an image; AP by size and by frequency, as lvis-api
lvis-fixed  10,000 detections a class over all images ("fixed AP")
lvis-both   lvis and lvis-fixed in one run
refexp      RefCOCO/+/g in MDETR's json: P@1, P@5, P@10
flickr30k   Flickr30k Entities in MDETR's json: R@1, R@5, R@10 of phrases
fg-ovd      mAP with hard-negative vocabularies; rows also need vocabulary_id
d3          mAP of descriptions; --ann is the folder d3_json
odinw13, odinw35   AP of each set, average, median; --ann and --predictions are folders
few-names   1, 2, 5, 20 and all names an image, half of them absent: precision, recall,
            boxes of absent names, AUROC, calibration, drift; --write-asks for detectors
            that are asked elsewhere
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from fgclip2_det.cli.parsing import number_of_names

PROTOCOLS = ('coco', 'ov-coco', 'lvis', 'lvis-fixed', 'lvis-both')
FEW_NAMES = 'few-names'
LANGUAGE = ('refexp', 'flickr30k', 'fg-ovd', 'd3', 'odinw13', 'odinw35')
EXAMPLE = """example:
  python tools/evaluate.py --protocol lvis-both --ann data/lvis/lvis_v1_val.json \\
      --minival-ids data/lvis/lvis_v1_minival.json --predictions results.bbox.json \\
      --note templates=imagenet80 --note resolution=1333x800 --out metrics.json
  python tools/evaluate.py --protocol few-names --ann val.json --write-asks asks.json
  python tools/evaluate.py --protocol few-names --ann val.json --asks asks.json \\
      --predictions answers.json --out few_names.json --picture few_names.png"""
COCO_LINES = (  # of pycocotools' summary: name, title, IoU, area, detections
    ('AP', 'Average Precision', '0.50:0.95', 'all', 100),
    ('AP50', 'Average Precision', '0.50', 'all', 100),
    ('AP75', 'Average Precision', '0.75', 'all', 100),
    ('APs', 'Average Precision', '0.50:0.95', 'small', 100),
    ('APm', 'Average Precision', '0.50:0.95', 'medium', 100),
    ('APl', 'Average Precision', '0.50:0.95', 'large', 100),
    ('AR1', 'Average Recall', '0.50:0.95', 'all', 1),
    ('AR10', 'Average Recall', '0.50:0.95', 'all', 10),
    ('AR100', 'Average Recall', '0.50:0.95', 'all', 100),
    ('ARs', 'Average Recall', '0.50:0.95', 'small', 100),
    ('ARm', 'Average Recall', '0.50:0.95', 'medium', 100),
    ('ARl', 'Average Recall', '0.50:0.95', 'large', 100),
)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--protocol', required=True, choices=(*PROTOCOLS, *LANGUAGE, FEW_NAMES))
    add('--ann', required=True, help='COCO or LVIS annotation file')
    add('--predictions', help='COCO result list')
    add('--ids', choices=['id', 'stem'],
        help="image_id of the rows: the image's id (default), or the stem of its file "
             'name, as ultralytics writes it')  # fmt: skip
    add('--categories', choices=['id', 'from-1'],
        help="category_id of the rows: the category's id (default), or a count of the "
             "categories from 1, as ultralytics' class + 1")  # fmt: skip
    add('--out', type=Path, help='JSON file for metrics and protocol')
    add('--iou-type', nargs='+', choices=['bbox', 'segm'], default=['bbox'],
        help='boxes (default), masks or both')  # fmt: skip
    add('--keep-outside', action='store_true',
        help='rows wholly outside their image are false positives, as in pycocotools; '
             'else they are left out and counted, as in rescore.py')  # fmt: skip
    add('--base', nargs='+', help='base classes of ov-coco and few-names')
    add('--novel', nargs='+', help="novel classes; default: the categories' split")
    add('--minival-ids',
        help='evaluate only these images: JSON list of ids, or COCO file')  # fmt: skip
    add('--negatives', type=int, help='fg-ovd: negatives per vocabulary; default 10')
    add('--classwise', action='store_true', help='also report the AP of each class')
    add('--note', action='append', default=[], metavar='KEY=VALUE',
        help='how the predictions were made: chunking, templates, language, '
             'resolution, fusion; may be repeated')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    add_few_names(parser)
    return parser


def add_few_names(parser: argparse.ArgumentParser) -> None:
    """Options of few-names; the values stay None where they are not given."""
    add = parser.add_argument_group(FEW_NAMES).add_argument
    add('--write-asks', type=Path, help='draw what to ask for, write it and stop')
    add('--asks', type=Path, help='what the detector was asked; rows have its ask_id')
    add('--ks', nargs='+', type=number_of_names,
        help='numbers of names; default: 1 2 5 20 all')  # fmt: skip
    add('--seed', type=int, help='of the draw; default: 0')
    add('--mode', choices=['random', 'hard'],
        help='absent names: at random (default), or near the present ones')  # fmt: skip
    add('--language', choices=['en', 'zh'], help='of the names; default: en')
    add('--text-encoder',
        help='folder or hub id; its text tower says which names are near')  # fmt: skip
    add('--score-thr', type=float, help='a box counts from this score on; default: 0.3')
    add('--picture', type=Path, help='PNG of precision and recall against k')


def main(args: argparse.Namespace) -> None:
    check_options(args)
    if args.write_asks:
        write_asks(args)
    else:
        evaluate(args)


def check_options(args: argparse.Namespace) -> None:
    """ValueError on options of another protocol, and on missing files."""
    own = ('write_asks', 'asks', 'ks', 'seed', 'mode', 'language', 'text_encoder',
           'score_thr', 'picture')  # fmt: skip
    given = [name for name in own if getattr(args, name) is not None]
    if args.protocol != FEW_NAMES and given:
        option = given[0].replace('_', '-')
        raise ValueError(
            f'--{option} belongs to --protocol {FEW_NAMES}, not {args.protocol}'
        )
    if args.write_asks:
        answers = ('asks', 'predictions', 'out', 'score_thr', 'picture')
        stray = [name for name in answers if getattr(args, name) is not None]
        if stray:
            option = stray[0].replace('_', '-')
            raise ValueError(f'--write-asks draws and stops; leave out --{option}')
    elif args.predictions is None or args.out is None:
        raise ValueError('--predictions and --out are needed')


def draw_options(args: argparse.Namespace) -> dict:
    """Options of ``prepare_asks``."""
    names = ('ks', 'seed', 'mode', 'language', 'base', 'novel')
    options = {name: getattr(args, name) for name in names}
    if args.text_encoder:
        options['embed'] = text_embedder(args.text_encoder)
    return options | {'image_ids': args.minival_ids}


def text_embedder(folder: str) -> Callable:
    """Function: names -> (K, D) embeddings."""

    def embed(names: list[str]):
        from fgclip2_det.vocabulary import Vocabulary

        return Vocabulary(names, check=False).embed(folder).numpy()

    return embed


def write_asks(args: argparse.Namespace) -> None:
    from fgclip2_det.evaluation.few_names import write_asks
    from fgclip2_det.evaluation.few_names.protocol import prepare_asks

    asked = prepare_asks(args.ann, **draw_options(args))
    write_asks(args.write_asks, asked.asks, asked.draw, args.ann)
    print(f'{len(asked.asks)} asks about {len(asked.truths.images)} images, '
          f'absent names {asked.draw["mode"]}, seed {asked.draw["seed"]}')  # fmt: skip
    print(f'-> {args.write_asks}')


def evaluate(args: argparse.Namespace) -> None:
    from fgclip2_det.evaluation import evaluate_file
    from fgclip2_det.io.atomic import write_atomic

    result = evaluate_file(
        args.protocol, args.ann, args.predictions,
        notes=read_notes(args.note), **read_options(args),
    )  # fmt: skip
    content = {'metrics': result.metrics, 'protocol': result.protocol}
    if args.classwise:
        content['classwise'] = result.classwise
        show_classes(result.classwise)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomic(args.out, f'{text}\n'.encode())
    if args.protocol == FEW_NAMES:
        show_few_names(content, args)
    elif args.protocol in LANGUAGE:
        show_language(content)
    else:
        show(result.metrics)
        show_protocol(result.protocol)
    for line in result.remarks:
        print(line)
    print(f'-> {args.out}')


def read_options(args: argparse.Namespace) -> dict:
    """Options of ``evaluate_file``; ValueError for those of other protocols."""
    if args.negatives is not None and args.protocol != 'fg-ovd':
        raise ValueError('--negatives belongs to --protocol fg-ovd')
    if args.protocol == FEW_NAMES:
        return few_names_options(args)
    if args.protocol != 'ov-coco' and (args.base or args.novel):
        raise ValueError(
            f'--base and --novel belong to --protocol ov-coco, not {args.protocol}'
        )
    if args.protocol in LANGUAGE:
        own = 'minival_ids', 'classwise', 'ids', 'categories'
        for name in own:
            if getattr(args, name):
                raise ValueError(
                    f'--{name.replace("_", "-")} is not an option of --protocol '
                    f'{args.protocol}'
                )
        if args.iou_type != ['bbox']:
            raise ValueError(f'--iou-type is no option of --protocol {args.protocol}')
        options = {'drop_outside': False} if args.keep_outside else {}
        if args.negatives is not None:
            options['num_negatives'] = args.negatives
        return options
    return {
        'iou_types': args.iou_type,
        'base': args.base,
        'novel': args.novel,
        'image_ids': args.minival_ids,
        'ids': args.ids or 'id',
        'categories': args.categories or 'id',
        'drop_outside': not args.keep_outside,
    }


def few_names_options(args: argparse.Namespace) -> dict:
    """Options of ``evaluate_few_names``."""
    if args.classwise or args.iou_type != ['bbox']:
        raise ValueError(
            f'--classwise and --iou-type are no options of --protocol {FEW_NAMES}'
        )
    options = draw_options(args) | {
        'asks': args.asks,
        'ids': args.ids or 'id',
        'categories': args.categories or 'id',
        'drop_outside': not args.keep_outside,
    }
    return options | ({} if args.score_thr is None else {'score_thr': args.score_thr})


def read_notes(words: list[str]) -> dict[str, str]:
    wrong = [word for word in words if not word.partition('=')[0] or '=' not in word]
    if wrong:
        raise ValueError(f'--note takes KEY=VALUE, got {wrong[0]!r}')
    pairs = [word.split('=', 1) for word in words]
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f'--note gives a key twice: {" ".join(words)}')
    return dict(pairs)


def show(metrics: dict[str, float]) -> None:
    """Print COCO's twelve metrics in the format of pycocotools, others one per line."""
    for name, value in metrics.items():
        flavour, iou_type, short = name.split('/')
        shown = '-1 (no object)' if value == -1 else f'{value:.4f}'
        if flavour != 'coco':
            print(f' {flavour:<10} {iou_type}  {short:<10} {shown}')
            continue
        if short == 'AP':
            print(f' {flavour} {iou_type}')
        _, title, iou, area, dets = next(x for x in COCO_LINES if x[0] == short)
        print(f' {title:<18} {short:<5} @[ IoU={iou:<9} | area={area:>6} | '
              f'maxDets={dets:>3} ] = {shown}')  # fmt: skip


def show_few_names(content: dict, args: argparse.Namespace) -> None:
    """The table, what it was measured on, and the picture."""
    from fgclip2_det.evaluation.few_names import draw_curves, figures_table
    from fgclip2_det.io.atomic import write_atomic

    protocol = content['protocol']
    asks = protocol['asks']
    print(figures_table(content['metrics']))
    print(f'precision, recall, false/100 at IoU 0.5 and score {protocol["score_thr"]}; '
          f'{asks["count"]} asks, absent names {asks["mode"]}, seed {asks["seed"]}, '
          f'{asks["language"]}')  # fmt: skip
    if args.picture:
        title = f'{protocol["files"]["predictions"]}, absent names {asks["mode"]}'
        write_atomic(args.picture, draw_curves(content['metrics'], title))
        print(f'-> {args.picture}')


def show_language(content: dict) -> None:
    """Print each metric on a line, then the counts."""
    width = max(map(len, content['metrics']))
    for name, value in content['metrics'].items():
        shown = '-1 (no object)' if value == -1 else f'{value:.4f}'
        print(f' {name:<{width}}  {shown}')
    counts = content['protocol']['counts']
    print(', '.join(f'{count} {what}' for what, count in counts.items()))


def show_classes(classwise: dict) -> None:
    for title, rows in classwise.items():
        width = max(map(len, rows))
        print(f' {title:<{width}}      AP    AP50')
        for name, row in rows.items():
            values = ['   -  ' if v is None else f'{v:.4f}' for v in row.values()]
            print(f' {name:<{width}}  {"  ".join(values)}')


def show_protocol(protocol: dict) -> None:
    predictions = protocol['predictions']
    print(f'{protocol["images"]["count"]} images '
          f'({predictions["images_without_rows"]} without predictions), '
          f'{protocol["classes"]["count"]} classes, '
          f'{predictions["rows"]} rows')  # fmt: skip
