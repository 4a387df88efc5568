"""A good file of every kind that is read, and its reader."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from fgclip2_det.apis.detections import Detections
from fgclip2_det.coco.annotation_file import read_coco, stream_coco
from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.mmdet_pickle import read_mmdet_pickle
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.embedded_config import embedded_config
from fgclip2_det.evaluation.comparison import read_result
from fgclip2_det.fgclip2.checkpoint import ASSETS
from fgclip2_det.fgclip2.config import FGCLIP2Config
from fgclip2_det.fgclip2.image import load_image
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import stream_lines
from fgclip2_det.io.text import read_json, read_text
from fgclip2_det.models.checkpoints import read_checkpoint
from fgclip2_det.prepare import odvg_to_coco, voc_to_coco
from fgclip2_det.prepare.yolo import read_names
from fgclip2_det.rescoring.score_dump import ScoreDump, write_names, write_shard
from fgclip2_det.vocabulary.hard_negatives import read_lexicon
from fgclip2_det.vocabulary.image_prompts import KIND, ImageEmbeds
from fgclip2_det.vocabulary.names import read_coco_names, read_names_file
from pretrain.data import ShardDataset, read_records, to_sample
from tests.hostile.annotation_rows import coco
from tests.hostile.dump_rows import _header, _scores
from tests.hostile.image_rows import encoded
from tests.hostile.model_rows import _vocab
from tests.hostile.odvg_rows import odvg
from tests.hostile.record_rows import _axis, record
from tests.hostile.result_rows import ROW, instances
from tests.hostile.shard_rows import sample, tar
from tests.hostile.state_rows import PIPELINE, _detections, _saved
from tests.hostile.text_rows import _voc, write

Make = Callable[[Path], bytes]
Read = Callable[[Path], object]


def _const(data: bytes | str | object) -> Make:
    if isinstance(data, str):
        data = data.encode()
    elif not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return lambda folder: data


def _checkpoint(folder: Path) -> bytes:
    buffer = BytesIO()
    torch.save(_saved(), buffer)
    return buffer.getvalue()


def _table(folder: Path) -> bytes:
    buffer = BytesIO()
    np.save(buffer, np.array([[512, 9, 1536, 9, 0]]))
    return buffer.getvalue()


def _prompts(folder: Path) -> bytes:
    text = dict(kind=KIND, names=['cup'], texts=[None], weights=[1.0], encoder='x',
                text_tower='x')  # fmt: skip
    return save({'embeds': torch.eye(1, 128)}, {'prompts': json.dumps(text)})


def _shard(folder: Path) -> bytes:
    write(folder, 'dump.json', _header())
    write_names(folder, torch.eye(2, 8))
    path = folder / 'scores-00000.safetensors'
    write_shard(path, [_scores()])
    return path.read_bytes()


def _rows(folder: Path) -> object:
    truths = read_truths(write(folder, 'ann.json', coco()))
    return read_results(folder / 'dt.json', truths)


def _odvg(folder: Path) -> object:
    names = folder / 'map.json'
    if not names.is_file():
        write(folder, 'map.json', {'0': 'cat'})
    if not (folder / 'a.jsonl').is_file():
        write(folder, 'a.jsonl', odvg())
    return odvg_to_coco(folder / 'a.jsonl', names, folder / 'out.json')


def _image(name: str) -> Read:
    return lambda folder: load_image(folder / name)


def _samples(folder: Path) -> object:
    from PIL import Image

    rng = np.random.default_rng(0)
    name = str(folder / 'train.json')
    given = read_records(folder / 'train.json')
    return [to_sample(r, Image.new('RGB', (9, 9)), rng, name=name) for r in given]


def _tar(folder: Path) -> object:
    return list(ShardDataset(folder / 'x.tar', 1, shuffle=False))


def _index(folder: Path) -> object:
    write(folder, 'x.tar', tar(*sample()))
    return list(ShardDataset(folder, 1, shuffle=False))


def _embedded(folder: Path) -> object:
    text = (folder / 'a.txt').read_bytes().decode('utf-8', 'replace')
    return embedded_config(text, folder / 'a.txt')


def _detected(folder: Path) -> object:
    try:
        return Detections.from_json(read_text(folder / 'a.json'))
    except ValueError as error:
        raise InputError(f'{folder}: {error}') from error


def _sizes(folder: Path) -> object:
    return FGCLIP2Config.of_folder(folder)


_CONFIG = (ASSETS / 'config.json').read_bytes()
_SPM = (ASSETS / 'tokenizer.model').read_bytes()
_MODEL = f"model = dict(type='RetinaNet', neck=dict(type='FPN'))\n{PIPELINE}"
# name -> file, its bytes, its reader
FILES: dict[str, tuple[str, Make, Read]] = {
    **{
        f'image {kind}': ('a.img', _const(encoded(kind)), _image('a.img'))
        for kind in ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'TGA', 'PPM')
    },
    'names': ('n.txt', _const('cat\nsofa|couch\nred {cup|mug}\n'),
              lambda folder: read_names_file(folder / 'n.txt')),
    'json': ('a.json', _const(coco()), lambda folder: read_json(folder / 'a.json')),
    'lines': ('a.jsonl', _const('{"a": 1}\n{"b": [2]}\n'),
              lambda folder: list(stream_lines(folder / 'a.jsonl'))),
    'stream': ('a.json', _const(coco()),
               lambda folder: list(stream_coco(folder / 'a.json'))),
    'results': ('dt.json', _const([ROW]), _rows),
    'records': ('train.json', _const([record()]), _samples),
    'yaml names': ('d.yaml', _const('names: [cat, dog]\nnc: 2\n'),
                   lambda folder: read_names(folder / 'd.yaml')),
    'voc': ('a.xml', _const(_voc()),
            lambda folder: voc_to_coco(folder, folder / 'out.json')),
    'odvg': ('a.jsonl', _const(odvg()), _odvg),
    'shard': ('x.tar', _const(tar(*sample('0'), *sample('1'))), _tar),
    'pickle': ('dt.pkl', _const(pickle.dumps([instances()])),
               lambda folder: read_mmdet_pickle(folder / 'dt.pkl', [1, 2])),
    'checkpoint': ('e.pth', _checkpoint,
                   lambda folder: read_checkpoint(folder / 'e.pth')),
    'image prompts': ('p.safetensors', _prompts,
                      lambda folder: ImageEmbeds.load(folder / 'p.safetensors')),
    'dump': ('scores-00000.safetensors', _shard,
             lambda folder: list(ScoreDump(folder))),
    'tokenizer.json': ('tokenizer.json', _const(_vocab()),
                       lambda folder: FGCLIP2Tokenizer.from_folder(folder)(['a'])),
    'tokenizer.model': ('tokenizer.model', _const(_SPM[:2000]),
                        lambda folder: FGCLIP2Tokenizer.from_folder(folder)(['a'])),
    'encoder config': ('config.json', _const(_CONFIG), _sizes),
    'config in a checkpoint': ('a.txt', _const(_MODEL), _embedded),
    'yaml config': ('a.yaml', _const('model: {type: RetinaNet, x: &a [1], y: *a}'),
                    lambda folder: load_config(folder / 'a.yaml')),
}  # fmt: skip
# name -> file, its content as JSON, its reader
TREES: dict[str, tuple[str, object, Read]] = {
    'coco': ('ann.json', coco(), lambda folder: read_coco(folder / 'ann.json')),
    'truths': ('ann.json', coco(), lambda folder: read_truths(folder / 'ann.json')),
    'coco names': ('ann.json', coco(),
                   lambda folder: read_coco_names(folder / 'ann.json', aliases=True)),
    'results': ('dt.json', [ROW], _rows),
    'records': ('train.json', [record()], _samples),
    'odvg': ('a.jsonl', odvg(), _odvg),
    'label map': ('map.json', {'0': 'cat'}, _odvg),
    'shard index': (
        'index.json',
        {'complete': True,
         'shards': [{'name': 'x.tar', 'bytes': len(tar(*sample())), 'samples': 1}]},
        _index,
    ),
    'encoder config': ('config.json', json.loads(_CONFIG), _sizes),
    'json config': ('a.json', {'model': {'type': 'RetinaNet'}, 'custom_hooks': [{}]},
                    lambda folder: load_config(folder / 'a.json')),
    'metrics': ('m.json', {'metrics': {'ap': 0.5}, 'protocol': {'name': 'coco'}},
                lambda folder: read_result(folder / 'm.json')),
    'detections': ('a.json', _detections(), _detected),
    'lexicon': ('l.json', _axis(rule='free', entries=['sunny', 'rainy']),
                lambda folder: read_lexicon(folder / 'l.json')),
}  # fmt: skip
