"""Dump FG-CLIP 2's cosines of a detector's results, for tools/tune_fusion.py.

A stopped run continues when it is started again.
"""

import argparse

EXAMPLE = """example:
  python tools/dump_scores.py --predictions results.bbox.json \\
      --images data/coco/train2017 --ann data/coco/annotations/held_out.json \\
      --encoder qihoo360/fg-clip2-base --out work_dirs/dump"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--predictions', required=True, help='COCO result list')
    add('--unpickle', action='store_true',
        help='the predictions are a pickle of MMDetection (DumpDetResults, --out); '
             'tensors and plain values are read, anything else is refused')  # fmt: skip
    add('--label-order', metavar='ORDER',
        help="what the pickle's labels count: file (CocoDataset), split (base before "
             'novel, OpenVocabCocoDataset), ov_coco, the config of the detector, or a '
             'file of names in label order; needed where these differ')  # fmt: skip
    add('--ids', choices=['id', 'stem'], default='id',
        help="image_id of the rows: the image's id, or the stem of its file name, as "
             'ultralytics writes it')  # fmt: skip
    add('--categories', choices=['id', 'from-1'], default='id',
        help="category_id of the rows: the category's id, or a count of the categories "
             "from 1, as ultralytics' class + 1")  # fmt: skip
    add('--ann', required=True, help='COCO annotation file: images and categories')
    add('--images', required=True, help='folder that its file names start from')
    add('--encoder', required=True, help='folder in the released layout, or hub id')
    add('--out', required=True, help='folder of the dump')
    add(
        '--templates', default='raw', help='raw (default), photo, chinese or imagenet80'
    )
    add('--language', choices=['en', 'zh'], default='en', help='of the class names')
    add('--novel', nargs='+', help='novel classes; default: as the categories say')
    add('--max-num-patches', default='auto', help='of an image; default auto')
    add('--cache-dir', help='folder that keeps text embeddings')
    add('--device', default='cpu')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det import FGCLIP2
    from fgclip2_det.rescoring.dump_writer import dump_scores

    patches = args.max_num_patches
    header = dump_scores(
        args.predictions,
        args.ann,
        args.images,
        FGCLIP2.from_pretrained(args.encoder).to(args.device),
        args.out,
        args.templates,
        args.language,
        args.novel,
        int(patches) if patches.isdecimal() else patches,
        args.cache_dir,
        unpickle=args.unpickle,
        label_order=args.label_order,
        ids=args.ids,
        categories=args.categories,
    )
    print(f'{header.num_images} images, {len(header.classes)} names, '
          f'{len(header.novel_classes)} of them novel: {args.out}')  # fmt: skip
    if not header.novel_classes:
        print('no name is novel, tuning will use all of them: --novel says which are')
