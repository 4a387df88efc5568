"""What else might help novel names that are made of parts: attempts on photographs.

The recipe is ``configs/chess/ovd_fgclip2-parts_chess.py``. Each
attempt adds one thing to it and is trained as it is, so that its metrics compare with
those of ``--attempt recipe``:

- ``color`` and ``piece``: FGT negatives. A region of a base name is compared with the
  base names that differ in the colour alone, or in the piece alone, once more;
- ``tic``: names and parts go through an adapter, and TIC pushes base names apart, each
  from those that share a part with it;
- ``paste``: base pieces are pasted into other photographs, before all are recoloured;
- ``continued``: before the detector's training the embedded model sees unlabelled
  regions of the photographs. A region of its dense map learns to be what the model, as
  it was, says of the region cut out (CLIPSelf, arXiv:2310.01403).

    python -m benchmarks.name_parts data/chess --attempt tic --seed 0 \\
        --novel white-rook black-bishop white-queen --work-dir work_dirs/tic

writes ``metrics.json`` into the work dir; one training of 1,000 steps.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

CONFIG = Path(__file__).parents[1] / 'configs' / 'chess' / 'ovd_fgclip2-parts_chess.py'
ATTEMPTS = 'recipe', 'color', 'piece', 'tic', 'paste', 'continued'
HEAD = 'model.roi_head.bbox_head'
REGIONS = 16  # of an image, without a label
STEPS, BATCH, RATE = 300, 2, 1e-4  # of continuing the embedded model
GRID = 1024  # patches of a photograph
CROP = 64  # patches of a region cut out


def negatives(
    parts: Mapping[str, Sequence[str]], base: Sequence[str], place: int
) -> dict[str, list[str]]:
    """Base names that differ from a base name at ``place`` of their parts alone."""

    def rest(name: str) -> list[str]:
        return [part for i, part in enumerate(parts[name]) if i != place]

    table = {
        name: [other for other in base if other != name and rest(other) == rest(name)]
        for name in base
    }
    return {name: others for name, others in table.items() if others}


def options_of(attempt: str, folder: Path) -> dict[str, Any]:
    """Options of the config that an attempt sets, apart from those of its data."""
    if attempt == 'tic':
        return {
            f'{HEAD}.classifier.text_adapter': 64,
            f'{HEAD}.tic': dict(loss_weight=0.1, topk=5),
        }
    if attempt == 'continued':
        return {'model.backbone.encoder.pretrained': str(folder)}
    return {}


def free_boxes(
    labelled: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """(REGIONS, 4) xyxy: boxes of the labelled ones' sizes, once to twice as large,
    that lie at random and touch a label by less than a tenth."""
    width, height = size
    found: list[np.ndarray] = []
    sides = labelled[:, 2:] - labelled[:, :2]
    for _ in range(100 * REGIONS):
        if len(found) == REGIONS:
            break
        side = np.minimum(sides[rng.integers(len(sides))] * rng.uniform(1, 2), size)
        corner = rng.uniform(0, 1, 2) * (np.array([width, height]) - side)
        box = np.concatenate([corner, corner + side])
        low = np.maximum(labelled[:, :2], box[:2])
        high = np.minimum(labelled[:, 2:], box[2:])
        if (np.clip(high - low, 0, None).prod(1) < 0.1 * side.prod()).all():
            found.append(box)
    return np.array(found, np.float32).reshape(-1, 4)


def continue_encoder(
    photographs: list[tuple[Path, np.ndarray]], seed: int, steps: int = STEPS
) -> Any:
    """The embedded model, continued on unlabelled regions.

    Args:
        photographs: an image file and its (n, 4) xyxy labelled boxes, n >= 1.
        seed: of order and regions.
        steps: of ``BATCH`` photographs.

    L = mean over regions of 1 - cos(region of the dense map, crop), where the crop is
    embedded whole by the model as it was.
    """
    from fgclip2_det import FGCLIP2

    teacher = FGCLIP2.from_pretrained('fgclip2_tiny').requires_grad_(False)
    student = copy.deepcopy(teacher).requires_grad_(True)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(student.vision_model.parameters(), RATE)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        images, boxes, crops = [], [], []
        for i in rng.choice(len(photographs), BATCH, replace=False):
            file, labelled = photographs[i]
            image = Image.open(file).convert('RGB')
            images.append(image)
            boxes.append(free_boxes(labelled, image.size, rng))
            crops += [image.crop(tuple(box.round().tolist())) for box in boxes[-1]]
        regions = student.region_features(
            student.preprocess(images, GRID), boxes, normalize=True
        )
        with torch.no_grad():
            targets = teacher.encode_image(teacher.preprocess(crops, CROP), True)
        loss = 1 - F.cosine_similarity(torch.cat(regions), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        if step % 50 == 0 or step + 1 == steps:
            print(f'step {step + 1} of {steps}: 1 - cos {loss:.3f}', flush=True)
    return student.eval()


def images_of(cfg: Any) -> Any:
    """The training set, without what is done to its images."""
    from mmdet.registry import DATASETS

    return DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': []})


def photographs_of(cfg: Any) -> list[tuple[Path, np.ndarray]]:
    """Images of the training set and the boxes of base names."""
    data = images_of(cfg)
    rows = [data.get_data_info(i) for i in range(len(data))]
    return [
        (Path(r['img_path']), np.array([o['bbox'] for o in r['instances']], np.float32))
        for r in rows
    ]


def train(args: argparse.Namespace) -> None:
    """Train an attempt, and write the last validation's figures."""
    import fgclip2_det.registration
    from fgclip2_det.engine.config import load_config
    from fgclip2_det.engine.runner import build_runner
    from fgclip2_det.engine.start import prepare_training

    encoder = args.work_dir / 'encoder'
    options = {'data_root': str(args.folder), 'novel_classes': args.novel}
    options |= options_of(args.attempt, encoder)
    if args.epochs:
        options['max_epochs'] = args.epochs
    cfg = load_config(CONFIG, options, str(args.work_dir))
    data = cfg.train_dataloader.dataset
    if args.attempt in ('color', 'piece'):
        base = images_of(cfg).metainfo['base_classes']
        place = ('color', 'piece').index(args.attempt)
        cfg.model.roi_head.bbox_head.hard_names = dict(
            texts=negatives(cfg.model.parts, base, place)
        )
    if args.attempt == 'paste':
        from benchmarks.paste_objects import PasteObjects

        kinds = [step['type'] for step in data.pipeline]
        data.pipeline.insert(
            kinds.index('RecolorObjects'), dict(type=PasteObjects.__name__)
        )
    if args.attempt == 'continued' and not encoder.is_dir():
        continue_encoder(photographs_of(cfg), args.seed).save_pretrained(encoder)
    prepare_training(cfg, None, False, False, args.seed)
    build_runner(cfg).train()


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = own.add_argument
    add('folder', type=Path, help='images/, train.json and valid.json')
    add('--attempt', choices=ATTEMPTS, default='recipe')
    add('--novel', nargs='+', required=True, help='names without boxes in training')
    add('--seed', type=int, default=0)
    add('--epochs', type=int, help="default: the recipe's")
    add('--work-dir', type=Path, required=True)
    return own


if __name__ == '__main__':
    train(parser().parse_args())
