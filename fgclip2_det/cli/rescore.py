"""Re-score a detector's saved results with FG-CLIP 2, without training."""

import argparse
import os
from difflib import get_close_matches
from pathlib import Path

from fgclip2_det.cli.parsing import (
    add_result_list,
    check_device,
    check_ranking_options,
)
from fgclip2_det.rescoring.rules import ALL_RULES, RANKING

FUSION_OPTIONS = ('alpha', 'beta', 'temperature', 'num_ranked', 'ranking_weight')

EXAMPLE = """example:
  python tools/rescore.py --predictions results.bbox.json --images data/coco/val2017 \\
      --ann data/coco/annotations/instances_val2017.json \\
      --encoder qihoo360/fg-clip2-base --fusion geometric --alpha 0.5 \\
      --temperature 0.01 --mode keep --out rescored.json"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_result_list(parser)
    add('--out', type=Path, required=True, help='COCO result list')
    add('--fusion', choices=ALL_RULES, default='geometric', help='default: geometric')
    add('--alpha', type=float, help="weight of FG-CLIP 2; default: the rule's")
    add('--beta', type=float, help='weight of FG-CLIP 2 on novel classes')
    add('--temperature', type=float, help="of the similarities; default: the rule's")
    add('--mode', choices=['keep', 'box', 'joint'], default='keep',
        help='keep rows and labels; name boxes anew; fuse box by label')  # fmt: skip
    add(
        '--templates', default='raw', help='raw (default), photo, chinese or imagenet80'
    )
    add('--language', choices=['en', 'zh'], default='en', help='of the class names')
    add('--novel', nargs='+', help="novel classes; default: the categories' split")
    add('--labels-per-box', type=int, default=1, help='for box and joint; default 1')
    add('--floor', type=float, default=0.0,
        help='joint: score of labels the detector did not give; default 0')  # fmt: skip
    add('--nms', type=float, help='IoU of class-wise NMS in box and joint; none')
    add('--merge', type=float,
        help='IoU of boxes that box and joint merge; none')  # fmt: skip
    add('--max-per-image', type=int, help='rows kept in box and joint; all')
    add('--max-num-patches', default='auto', help='patches per image; default auto')
    add('--competitors', nargs='+', default=[], metavar='LIST|FILE',
        help='names that share the softmax of the similarity and are not reported: '
             'built-in lists (coco, objects365, ...) or text files, one name per line; '
             'for annotation files with few categories')  # fmt: skip
    add('--calibration', nargs=2, type=float, metavar=('BASE', 'NOVEL'),
        help='shifts of the fused scores of base and novel names on the logit scale, '
             'as tune_fusion.py --few-names finds them')  # fmt: skip
    add('--ranker', help='folder of a ranker of regions, for the rule ranking')
    add('--num-ranked', type=int,
        help='names of each box that the ranker reads; default: 5')  # fmt: skip
    add('--ranking-weight', type=float,
        help="weight of the ranker's log-odds; default: 1")  # fmt: skip
    add('--cache-dir', help='folder for cached text embeddings')
    add('--device', default='cpu')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def competitor_options(words: list[str]) -> dict | None:
    """Options of ``CompetitorOptions`` from built-in lists and files; None for none.

    Raises:
        ValueError: for a word that is neither.
    """
    from fgclip2_det.vocabulary import LIST_NAMES
    from fgclip2_det.vocabulary.names import read_names_file

    if not words:
        return None
    lists = [word for word in words if word in LIST_NAMES]
    files = [word for word in words if word not in LIST_NAMES]
    for word in files:
        if not os.path.isfile(word):
            close = get_close_matches(word, LIST_NAMES, 1)
            hint = f'; did you mean {close[0]}?' if close else '.'
            raise ValueError(
                f'--competitors: there is no file {word} and no list of this name'
                f'{hint} The lists are {", ".join(LIST_NAMES)}'
            )
    names = [name for word in files for own in read_names_file(word) for name in own]
    return dict(trained=False, lists=lists, names=names)


def check_options(args: argparse.Namespace) -> None:
    """Raise ValueError for options that do not go together."""
    check_ranking_options(args, args.fusion == RANKING)
    if (args.fusion == RANKING) != (args.ranker is not None):
        raise ValueError(
            f'--fusion {RANKING} and --ranker FOLDER belong together, got --fusion '
            f'{args.fusion} with{"" if args.ranker else "out"} a ranker'
        )
    if args.fusion == 'detrefiner' and args.beta is not None:
        raise ValueError('detrefiner has one weight for all names; leave --beta out')
    if args.mode == 'keep' and args.labels_per_box != 1:
        raise ValueError(
            f'--labels-per-box {args.labels_per_box} is for --mode box and joint; mode '
            'keep keeps the label of every row'
        )
    if args.mode != 'joint' and args.floor:
        raise ValueError(
            f'--floor {args.floor} is for --mode joint, got --mode {args.mode}'
        )
    if args.out.is_dir():
        raise ValueError(f'--out {args.out} is a folder; name a file in it')


def main(args: argparse.Namespace) -> None:
    import fgclip2_det.registration  # isort: skip  (makes mmdet importable)
    from mmdet.registry import MODELS

    from fgclip2_det import Vocabulary, load_encoder
    from fgclip2_det.coco.predictions import read_predictions
    from fgclip2_det.coco.result_writer import write_results
    from fgclip2_det.datasets.config_labels import label_order_of
    from fgclip2_det.models.competing_texts import CompetingTexts
    from fgclip2_det.models.name_ranker import name_ranker
    from fgclip2_det.models.prediction_rescorer import PredictionRescorer
    from fgclip2_det.models.score_calibration import ScoreCalibration
    from fgclip2_det.rescoring.predictions import rescore_predictions

    options = {
        name: getattr(args, name)
        for name in FUSION_OPTIONS
        if getattr(args, name) is not None
    }
    check_options(args)
    check_device(args.device)
    fusion = MODELS.build(dict(type=ALL_RULES[args.fusion], **options))
    texts = competitor_options(args.competitors)
    patches = args.max_num_patches
    predictions = read_predictions(
        args.predictions,
        args.ann,
        args.language,
        args.novel,
        args.unpickle,
        label_order_of(args.label_order),
        args.ids,
        args.categories,
    )
    for line in predictions.counts.lines():
        print(line)
    split = predictions.split
    if args.beta is not None and not split.novel_classes:
        print(f'WARNING: no class is novel, so --beta {args.beta} changes nothing; '
              '--novel names some')  # fmt: skip
    encoder = load_encoder(args.encoder).to(args.device)
    vocabulary = Vocabulary(
        split.classes, args.templates, novel_classes=split.novel_classes
    )
    embeds = vocabulary.embed(encoder, args.cache_dir)
    competitors = None
    if texts is not None:
        competitors = CompetingTexts(texts)(
            vocabulary, embeds, (), lambda v: v.embed(encoder, args.cache_dir), None
        )
        print(f'{len(competitors.names)} competitors')
    rescorer = PredictionRescorer(
        encoder,
        embeds,
        fusion,
        args.mode,
        vocabulary.is_base,
        args.labels_per_box,
        args.floor,
        args.nms,
        args.merge,
        args.max_per_image,
        int(patches) if patches.isdecimal() else patches,
        competitors,
        None if args.calibration is None else ScoreCalibration(*args.calibration),
        name_ranker(args.ranker, encoder, vocabulary, competitors, fusion),
    )
    rows = rescore_predictions(predictions, args.images, rescorer)
    write_results(args.out, rows)
    print(f'{len(predictions.order)} rows of {len(predictions.rows)} images -> '
          f'{len(rows)} rows: {args.out}')  # fmt: skip
    if args.mode != 'keep' and args.nms is None:
        print('boxes of one object may now have the same label: --nms 0.7 keeps the '
              'best of them')  # fmt: skip
