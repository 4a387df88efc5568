"""Shards for tests: read as plain values, or written as other tools write them."""

import io
import json
import os
import tarfile
from itertools import chain

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import ShardDataset

LETTERS = 'eezeezzeeeeze' * 5  # 45 English, 20 Chinese


def digest(samples):
    return [
        (s.language, s.short, s.phrases, int(np.asarray(s.image, np.int64).sum()))
        for s in samples
    ]


def read(shards, batch_size=4, workers=0, epoch=0, skip=0, **kwargs):
    data = ShardDataset(
        shards, batch_size, **{'seed': 5, 'shuffle_buffer': 16} | kwargs
    )
    data.set_epoch(epoch)
    data.skip(skip)
    loader = DataLoader(
        data, batch_size=1, num_workers=workers, collate_fn=lambda item: digest(item[0])
    )
    return list(loader)


def shorts(batches):
    return [sample[1] for sample in chain(*batches)]


def write_tar(path, members, end=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        size = tar.offset
    if not end:
        os.truncate(path, size)


def pair(number, language='en', folder='', ending='jpg'):
    buffer = io.BytesIO()
    pixels = np.full((16, 16, 3), number, np.uint8)
    Image.fromarray(pixels).save(buffer, 'PNG')
    record = {'short_caption': f'{language} {number}'}
    record |= {'is_cn': 1} if language == 'zh' else {}
    key = f'{folder}{number:03d}'
    return [
        (f'{key}.txt', b'ignored'),
        (f'{key}.{ending}', buffer.getvalue()),
        (f'{key}.json', json.dumps(record).encode()),
    ]
