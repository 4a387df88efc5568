"""Re-scored rows of a reproduction."""

import numpy as np
import torch
from PIL import Image

from fgclip2_det import FGCLIP2
from fgclip2_det.reproduce.benchmarks import BENCHMARKS
from fgclip2_det.reproduce.fusing import ItemRescorer
from fgclip2_det.reproduce.questions import Ask, Item, Questions
from fgclip2_det.reproduce.shards import make_rows


def test_boxes_are_clipped_to_the_image(tmp_path):
    """Those that were re-scored are those that are written."""
    Image.new('RGB', (96, 64), (200, 40, 40)).save(tmp_path / 'a.png')
    item = Item(1, tmp_path / 'a.png', (Ask((0, 1), (7, 8)),))
    names = ('red square', 'cat')
    questions = Questions(names, names, (item,), {})
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    rescore = ItemRescorer(encoder, BENCHMARKS['coco'], questions, None)
    given = make_rows(0, 0, [0, 1], [[-9, 5, 40, 70], [50, -3, 99, 30]], [0.8, 0.6])
    rows = rescore(item, given, 0)
    limit = np.array([96, 64, 96, 64], np.float32)
    clipped = torch.from_numpy(given.boxes).clamp(min=0).numpy()
    expected = np.minimum(clipped, limit).tolist()
    assert len(rows) >= 2
    assert {tuple(box) for box in rows.boxes.tolist()} == set(map(tuple, expected))
