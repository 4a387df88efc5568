"""Small data: coloured images and their records in both languages."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def mmdet_scope() -> None:
    """The registry's scope, as a runner would set it."""
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')


def make_record(number: int, language: str = 'en', num_boxes: int = 2) -> dict:
    """Record ``number``: box k starts at (k / 10, 0.25) and is half as wide as high."""
    name = f'Cat {number}' if language == 'en' else f'猫{number}'
    boxes = [
        {
            'bbox': [k / 10, 0.25, k / 10 + 0.25, 0.75, 0.9],
            'short_expr': f'{name} No. {k}',
            'long_expr': f'The long {name} No. {k}',
            'flag_short_neg': 1,
            'short_expr_negs': {str(j): f'{name} not {k}-{j}' for j in range(11)},
        }
        for k in range(num_boxes)
    ]
    record = {
        'f_path': f'images/{number}.jpg',
        'caption': f'A long text of {name}',
        'short_caption': f'Text of {name}',
        'bbox_info': boxes,
    }
    return record | ({'is_cn': True} if language == 'zh' else {})


def save_image(path: Path, number: int, size: tuple[int, int] = (64, 48)) -> None:
    """An image whose left half tells the number by its brightness."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    pixels[:, : size[0] // 2] = number * 4 % 256
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., Path]:
    """write_data('eezz') -> folder with images/ and records.json, one record per
    letter (e: English, z: Chinese)."""

    def write(letters: str, name: str = 'records.json', **kwargs) -> Path:
        records = []
        for number, letter in enumerate(letters):
            language = {'e': 'en', 'z': 'zh'}[letter]
            records.append(make_record(number, language, **kwargs))
            save_image(tmp_path / records[-1]['f_path'], number)
        write_records(tmp_path / name, records)
        return tmp_path

    return write


def write_records(path: Path, records: list) -> Path:
    """A .json or .jsonl file."""
    if path.suffix == '.jsonl':
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        text = '\n'.join(lines) + '\n'
    else:
        text = json.dumps(records, ensure_ascii=False, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
    return path


@pytest.fixture(scope='session')
def record() -> Callable[..., dict]:
    return make_record


@pytest.fixture(scope='session')
def write() -> Callable[..., Path]:
    return write_records


@pytest.fixture(scope='session', name='save_image')
def save_image_fixture() -> Callable[..., None]:
    return save_image


@pytest.fixture
def shards(write_data: Callable[..., Path]) -> Path:
    """Folder with 7 shards of 10 samples, the last of 5."""
    from pretrain.data import write_shards
    from tests.pretrain.data.shard_files import LETTERS

    folder = write_data(LETTERS)
    write_shards(folder / 'records.json', folder, folder / 'shards', max_per_shard=10)
    return folder / 'shards'
