"""Objects of OVShapes named without a prompt, from the set's 64 names and RAM's tags.

For lists of other length: objects with a box (IoU 0.5, score 0.3) whose first name is
theirs, or one of the first three; and the share of boxes whose first name is that of
an object there.

    python -m benchmarks.prompt_free --data data/ovshapes/*_seed0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.evaluation.image_boxes import box_iou
from fgclip2_det.vocabulary import load_list, normalize_name


def main(args: argparse.Namespace) -> None:
    truths = read_truths(args.data / 'val.json')
    own = [normalize_name(c['name']) for c in truths.categories]
    tags = [normalize_name(name) for name in load_list('ram').names]
    inferencer = OpenVocabInferencer(args.checkpoint, cache_size=len(truths.images))
    print('| names | objects found, first name | in three | boxes with a right name |')
    print('|---|---|---|---|')
    for names in (own, [*own, *(tag for tag in tags if tag not in own)]):
        inferencer.set_prompt_free(names)
        first = three = boxes = right = objects = 0
        for place, image in enumerate(tqdm(truths.images, disable=None)):
            file = args.data / 'val' / truths.file_names[image['id']]
            (found,) = inferencer(file, score_thr=args.score_thr)
            rows = (truths.image == place) & ~truths.crowd
            names_there = [own[c] for c in truths.category[rows]]
            corners = torch.cat(
                [found.bboxes[:, :2], found.bboxes[:, 2:] - found.bboxes[:, :2]], 1
            )
            over = box_iou(corners.double().numpy(), truths.bboxes[rows]) >= 0.5
            listed = [[name for name, _ in each] for each in found.candidates or ()]
            objects += len(names_there)
            for column, name in enumerate(names_there):
                there = [listed[row] for row in over[:, column].nonzero()[0]]
                first += any(name == each[0] for each in there)
                three += any(name in each for each in there)
            boxes += len(found)
            for row, each in enumerate(listed):
                right += any(
                    names_there[column] == each[0] for column in over[row].nonzero()[0]
                )
        print(f'| {len(names):,} | {first / objects:.3f} | {three / objects:.3f} | '
              f'{right / max(boxes, 1):.3f} |')  # fmt: skip


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--checkpoint', help='default: the embedded detector')
    parser.add_argument('--score-thr', type=float, default=0.3)
    main(parser.parse_args())
