"""Small sets of labels with images that do not look alike."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw() -> Callable[..., Path]:
    """draw(path, size=(48, 32), seed=0): an image of coarse noise."""

    def one(path: Path, size: tuple[int, int] = (48, 32), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (8, 9), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(path)
        return path

    return one


@pytest.fixture
def coco(draw) -> Callable[..., Path]:
    """coco(folder, images, boxes, names): images (name, seed), boxes (image from 1,
    class from 1, bbox)."""

    def one(
        path: Path,
        images: list[tuple[str, int]],
        boxes: list[tuple],
        names: list[str],
        /,
        **changes: list,
    ) -> Path:
        content = dict(
            images=[
                dict(id=i, file_name=name, width=48, height=32)
                for i, (name, _) in enumerate(images, 1)
            ],
            annotations=[
                dict(
                    id=i,
                    image_id=image,
                    category_id=label,
                    bbox=bbox,
                    area=_area(bbox),
                )
                for i, (image, label, bbox) in enumerate(boxes, 1)
            ],
            categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)],
        )
        for key, extra in changes.items():
            content[key] += extra
        for name, seed in images:
            if seed >= 0:
                draw(path.parent / name, seed=seed)
        path.write_text(json.dumps(content), encoding='utf-8')
        return path

    return one


def _area(bbox: list) -> float:
    """Of a good box; a bad one has some."""
    try:
        return float(bbox[2] * bbox[3]) or 1.0
    except (TypeError, IndexError):
        return 1.0
