"""CCMB's five sets in their released layouts, with a few small images."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SETS = 'icr', 'iqr', 'icm', 'iqm', 'flickr30k-cna'
IMAGES = 'ccmb/IQR_IQM_ICR_ICM_images'
# image -> texts; 3 has two, the text of 0 and 1 is the same but for case
TEXTS = {
    0: ['一只猫在桌子上'],
    1: ['Two red cups', '两个红色杯子'],
    2: ['two Red cups'],
    3: ['街道上的公共汽车', '一辆公交车'],
    4: ['穿绿色衣服的男孩'],
    5: ['a dog runs on the beach'],
    6: ['雪山'],
}
SIZES = (64, 48), (48, 64), (96, 64), (64, 48), (64, 64), (48, 64), (64, 48)


def write_images(folder: Path, names: list[str]) -> list[Path]:
    """Noise of several shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for number, (path, (width, height)) in enumerate(zip(paths, SIZES, strict=False)):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)
    return paths


def write_lines(path: Path, rows: list[dict]) -> Path:
    """JSON lines as they are released: Chinese unescaped, no list around them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + '\n' for row in rows]
    path.write_text(''.join(lines), encoding='utf-8')
    return path


def row(image: int, text: str, **more: object) -> dict:
    """A line; its image_path has a folder of its own, of which the last part counts."""
    return {'text': text, 'image_path': f'./images/{image:04d}.jpg', **more}


def matching_rows() -> list[dict]:
    """Each text with its image (1) and with another one (0)."""
    rows = [
        row(shown, text, label=int(shown == image))
        for image, texts in TEXTS.items()
        for text in texts
        for shown in (image, (image + 3) % len(TEXTS))
    ]
    return [*rows, row(4, '雪山', label=0)]


def write_set(root: Path, name: str) -> list[Path]:
    """One of the sets with seven images, whose paths are returned."""
    if name == 'flickr30k-cna':
        lines = [
            f'{1000 + i}#{k}\t{t}' for i, ts in TEXTS.items() for k, t in enumerate(ts)
        ]
        path = root / 'flickr30k_cna/flickr30k_cna_test.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(lines), encoding='utf-8')
        names = [f'{1000 + i}.jpg' for i in TEXTS]
        return write_images(root / 'flickr30k/flickr30k-images', names)
    length = 'long' if name in ('icr', 'icm') else 'short'
    task = 'itr' if name.endswith('r') else 'itm'
    rows = matching_rows()
    if task == 'itr':
        rows = [row(image, text) for image, texts in TEXTS.items() for text in texts]
    folder = root / 'ccmb' / name.upper()
    write_lines(folder / f'val/{length}_{task}_val.json', rows)
    return write_images(root / IMAGES, [f'{i:04d}.jpg' for i in TEXTS])
