"""Caches of text embeddings, and files of image prompts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.vocabulary.embedding import embed_groups
from fgclip2_det.vocabulary.image_prompts import (
    ImageEmbeds,
    ImagePrompt,
    parse_example,
)
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP
from tests.hostile.vocabulary_rows import encoder


# ---------------------------------------------------------------------- the cache
def _cache(folder: Path, damage) -> object:
    """Two names embedded, the file damaged, and embedded again."""
    from fgclip2_det.vocabulary.embedding import TextSource

    source = TextSource(encoder())
    embed_groups(source, [['cat'], ['dog']], folder)
    (path,) = folder.glob('*.safetensors')
    damage(path)
    return embed_groups(source, [['cat'], ['dog']], folder)


def _rewrite(change, **metadata):
    """Damage: the tensors changed, and a metadata that agrees."""

    def damage(path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, 'pt') as file:
            kept = dict(file.metadata())
        tensors = {name: x.clone() for name, x in load_file(path).items()}
        save_file(change(tensors) or tensors, path, kept | metadata)

    return damage


def _swap(tensors: dict) -> None:
    tensors['text_embeds'] = tensors['text_embeds'].flip(0)


def _nudge(tensors: dict) -> None:
    tensors['text_embeds'][0, 3] += 1e-4


def _turn(tensors: dict) -> None:
    """Still of unit length."""
    tensors['text_embeds'][1] = tensors['text_embeds'][1].roll(1)


def _nan(tensors: dict) -> None:
    tensors['text_embeds'][0, 0] = float('nan')


def _flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)


def _header(size: int, text: bytes = b'{}'):
    def damage(path: Path) -> None:
        path.write_bytes(size.to_bytes(8, 'little') + text)

    return damage


def _claim(tensors: dict[str, list], end: int):
    """A safetensors header that claims shapes and an end."""
    text = json.dumps(
        {
            name: {'dtype': 'F32', 'shape': shape, 'data_offsets': [0, end]}
            for name, shape in tensors.items()
        }
    ).encode()

    def damage(path: Path) -> None:
        path.write_bytes(len(text).to_bytes(8, 'little') + text + bytes(64))

    return damage


def _to(change):
    def damage(path: Path) -> None:
        change(path)

    return damage


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe_instead(path: Path) -> None:
    import os

    path.unlink()
    os.mkfifo(path)


DAMAGE = {
    'as written': (lambda path: None, None),
    'empty': (lambda path: path.write_bytes(b''), 'delete it'),
    'half': (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        'delete it',
    ),
    'a byte more': (
        lambda path: path.write_bytes(path.read_bytes() + b'x'), 'delete it',
    ),
    'one bit': (_flip_bit, 'delete it'),
    'text': (lambda path: path.write_text('hello'), 'delete it'),
    'pickle': (lambda path: path.write_bytes(b'\x80\x04]\x94.'), 'delete it'),
    'header of 2 ** 62 bytes': (_header(2**62), 'delete it'),
    'header of 100 MB': (_header(100_000_000), 'delete it'),
    'header nested 100,000 deep': (_header(DEEP, b'[' * DEEP), 'delete it'),
    'header no json': (_header(2, b'xx'), 'delete it'),
    'array of 2 ** 60 numbers': (_claim({'text_embeds': [2**60]}, 2**62), 'delete it'),
    'shape that overflows': (_claim({'text_embeds': [2**33] * 2}, 64), 'delete it'),
    'shape negative': (_claim({'text_embeds': [-1, 3]}, 64), 'delete it'),
    'two arrays in one place': (_claim({'a': [16], 'b': [16]}, 64), 'delete it'),
    'no array': (_rewrite(lambda t: {'other': t['text_embeds']}), 'delete it'),
    'another key': (_rewrite(lambda t: None, written='0 ' * 2), 'delete it'),
    'half precision': (
        _rewrite(lambda t: {'text_embeds': t['text_embeds'].half()}), 'delete it',
    ),
    'integers': (
        _rewrite(lambda t: {'text_embeds': t['text_embeds'].int()}), 'delete it',
    ),
    'one row less': (
        _rewrite(lambda t: {'text_embeds': t['text_embeds'][:1].clone()}), 'delete it',
    ),
    'nan': (_rewrite(_nan), 'delete it'),
    'zeros': (_rewrite(lambda t: {'text_embeds': t['text_embeds'] * 0}), 'delete it'),
    'one number by 0.0001': (_rewrite(_nudge), 'delete it'),
    'a row turned, of unit length': (_rewrite(_turn), 'delete it'),
    'rows exchanged': (_rewrite(_swap), 'delete it'),
    'a folder': (_folder_instead, 'folder'),
    'a named pipe': (_pipe_instead, ('.safetensors', 'pipe')),
}  # fmt: skip


# --------------------------------------------------------------------- image prompts
def _prompts(folder: Path, change) -> object:
    """A file of image prompts, written by hand."""
    model = encoder()
    content = dict(
        kind='fgclip2_det image prompts 1', names=['cup', 'pen'], texts=[None, None],
        weights=[1.0, 1.0], encoder=encoder_digest(model, model.settings()),
        text_tower='x',
    )  # fmt: skip
    embeds = torch.nn.functional.normalize(torch.ones(2, 128), dim=-1)
    content, embeds = change(content, embeds)
    text = content if isinstance(content, str) else json.dumps(content)
    path = folder / 'like.safetensors'
    save_file({'embeds': embeds.contiguous()}, path, {'prompts': text})
    return ImageEmbeds.load(path, model)


def _with(**changes):
    return lambda content, embeds: (content | changes, embeds)


def _embeds(change):
    return lambda content, embeds: (content, change(embeds))


PROMPTS = {
    'fine': (_with(), None),
    'no json': (lambda c, e: ('{', e), 'image prompts'),
    'a list': (lambda c, e: ('[]', e), 'image prompts'),
    'a number': (lambda c, e: ('3', e), 'image prompts'),
    '100,000 deep': (lambda c, e: ('[' * DEEP, e), 'image prompts'),
    'another kind': (_with(kind='x'), 'image prompts'),
    'no names': (_with(names=[]), 'image prompts'),
    'names: null': (_with(names=None), 'image prompts'),
    'names: number': (_with(names=3), 'image prompts'),
    'names: a text': (_with(names='ab'), 'image prompts'),
    'names: numbers': (_with(names=[1, 2]), 'image prompts'),
    'names: a blank': (_with(names=['cup', ' ']), 'image prompts'),
    'names: twice': (_with(names=['cup', 'Cup']), ('like.safetensors', 'two image')),
    'one name more': (_with(names=['a', 'b', 'c']), 'image prompts'),
    'texts: one less': (_with(texts=[None]), 'image prompts'),
    'texts: null': (_with(texts=None), 'image prompts'),
    'texts: numbers': (_with(texts=[1, 2]), 'image prompts'),
    'weights: one less': (_with(weights=[1.0]), 'image prompts'),
    'weights: texts': (_with(weights=['a', 'b']), 'image prompts'),
    'weights: 7': (_with(weights=[1.0, 7.0]), 'image prompts'),
    'weights: nan': (_with(weights=[1.0, float('nan')]), 'image prompts'),
    'another encoder': (_with(encoder='0'), 'another encoder'),
    'encoder: number': (_with(encoder=3), 'like.safetensors'),
    'embeds: one row': (_embeds(lambda e: e[:1]), 'image prompts'),
    'embeds: flat': (_embeds(lambda e: e.ravel()), 'image prompts'),
    'embeds: nan': (_embeds(lambda e: e * float('nan')), 'image prompts'),
    'embeds: zeros': (_embeds(lambda e: e * 0), 'image prompts'),
    'embeds: long': (_embeds(lambda e: e * 100), 'image prompts'),
    'embeds: integers': (_embeds(lambda e: e.int()), 'image prompts'),
    'embeds: bool': (_embeds(lambda e: e > 0), 'image prompts'),
    'embeds: complex': (_embeds(lambda e: e.to(torch.complex64)), 'image prompts'),
    'embeds: another size': (_embeds(lambda e: e[:, :64]), 'like.safetensors'),
}
EXAMPLES = {
    'no box': ('a.png=cup', 'is written'),
    'no name': ('a.png:1,2,3,4=', 'is written'),
    'no image': (':1,2,3,4=cup', 'is written'),
    'three numbers': ('a.png:1,2,3=cup', 'is written'),
    'letters': ('a.png:a,b,c,d=cup', 'is written'),
    'name with an equals sign': ('a.png:1,2,3,4=b=c', 'is written'),
    'path with a colon': ('c:/a.png:1,2,3,4=cup', None),
}
BOXES = {
    'nan': ([0, 0, float('nan'), 5], 'cup'),
    'infinite': ([0, 0, float('inf'), 5], 'cup'),
    'empty': ([3, 3, 3, 5], 'is empty'),
    'turned': ([5, 5, 1, 1], 'is empty'),
    'outside': ([0, 0, 500, 5], 'not within'),
    'negative': ([-1, 0, 5, 5], 'not within'),
    'three numbers': ([0, 0, 5], 'x1, y1, x2, y2'),
    'letters': (['a', 0, 5, 5], 'cup'),
    'none': (None, 'cup'),
}


def _box(folder: Path, box: object) -> object:
    from PIL import Image

    example = Image.new('RGB', (32, 32)), box
    return ImageEmbeds.encode([ImagePrompt('cup', [example])], encoder())


ROWS: list[Row] = [
    *table('image prompt', lambda folder, text: parse_example(text), EXAMPLES),
    *table('vocabulary cache', _cache, DAMAGE, '.safetensors'),
    *table('image prompts', _prompts, PROMPTS, ()),
    *table('image prompt box', _box, BOXES),
]
