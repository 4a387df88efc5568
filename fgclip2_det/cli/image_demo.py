"""Detect named objects, in English or Chinese, in images."""

import argparse
import json
from pathlib import Path

DEFAULT_WORK_DIR = Path('work_dirs/ovd_fgclip2')
TEXTS = """names separated by . , ; or 。，；、 or line breaks ('cat. dog'); a full stop
separates only before a space or at the end, not after a digit or an abbreviation
('2.5 l bottle', 'U.S. flag'); text in quotes is not split ('"salt, pepper"');
'sofa|couch' are names of one class. Or the path of a text file, one class per line"""
EXAMPLE = """example:
  python tools/image_demo.py data/ovshapes/*/val/*.jpg --texts "orange circle; 黑色圆形"
  python tools/image_demo.py street.jpg --texts "black cat. 白色杯子" --weights W.pth"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    parser.add_argument('--texts', required=True, help=TEXTS)
    parser.add_argument('--config', help='config file; default: the one in the weights')
    parser.add_argument(
        '--weights',
        help=f'checkpoint; default: the last one in {DEFAULT_WORK_DIR}, or else the '
        'embedded detector, which was trained on coloured shapes only',
    )
    parser.add_argument('--out-dir', default='outputs', help='default: outputs')
    parser.add_argument('--score-thr', type=float, default=0.3)
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )
    return parser


def find_images(names: list[str]) -> list[Path]:
    """Files in the given order; the images of a folder sorted by name."""
    from fgclip2_det.fgclip2.image import image_endings

    endings = image_endings()
    files: list[Path] = []
    for path in map(Path, names):
        if path.is_dir():
            images = sorted(p for p in path.iterdir() if p.suffix.lower() in endings)
            if not images:
                raise ValueError(f'folder {path} contains no images')
            files += images
        elif path.exists():
            files.append(path)
        else:
            raise ValueError(f'there is no image {path}; check the path')
    return files


def main(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from fgclip2_det import OpenVocabInferencer
    from fgclip2_det.apis.output_files import keep_inputs, save_image
    from fgclip2_det.engine.work_dir import last_checkpoint
    from fgclip2_det.fgclip2 import load_image
    from fgclip2_det.io.atomic import write_atomic
    from fgclip2_det.visualization import draw_detections
    from fgclip2_det.vocabulary import read_texts

    names = read_texts(args.texts)
    if not 0 <= args.score_thr <= 1:
        raise ValueError(f'--score-thr must lie in [0, 1], got {args.score_thr}')
    out_dir = Path(args.out_dir)
    if out_dir.exists() and not out_dir.is_dir():
        raise ValueError(f'--out-dir {out_dir} is a file; name a folder')
    files = find_images(args.images)
    targets = [out_dir / f'{i:03d}_{file.stem}.png' for i, file in enumerate(files)]
    keep_inputs(targets, files)
    weights = args.weights or last_checkpoint(DEFAULT_WORK_DIR)
    print(f'weights: {weights or "the embedded detector of coloured shapes"}')
    inferencer = OpenVocabInferencer(weights, args.config, args.device)
    inferencer.set_vocabulary(names)
    out_dir.mkdir(parents=True, exist_ok=True)
    rows, unreadable = [], []
    bar = tqdm(files, unit='image', disable=None)
    for file, target in zip(bar, targets, strict=True):
        try:
            image = load_image(file)
        except ValueError as error:
            unreadable.append(str(error))
            continue
        (result,) = inferencer(image, score_thr=args.score_thr)
        drawn = draw_detections(image, result.bboxes, result.names, result.scores)
        save_image(target, drawn)
        boxes = zip(
            result.names, result.scores.tolist(), result.bboxes.tolist(), strict=True
        )
        detections = [
            dict(name=name, score=round(score, 4), bbox=[round(v, 1) for v in bbox])
            for name, score, bbox in boxes
        ]
        rows.append(dict(image=str(file), picture=str(target), detections=detections))
    results = out_dir / 'detections.json'
    if not rows:  # earlier results stay as they are
        raise ValueError(f'none of {len(files)} images can be read: {unreadable[0]}')
    text = json.dumps(rows, indent=1, ensure_ascii=False)
    write_atomic(results, f'{text}\n'.encode())
    for row in rows:
        best = ', '.join(f'{d["name"]} {d["score"]:.2f}' for d in row['detections'][:5])
        print(f'{row["picture"]}: {best or "nothing above --score-thr"}')
    print(f'boxes: {results}')
    if unreadable:
        raise ValueError(f'{len(unreadable)} of {len(files)} images: {unreadable[0]}')
