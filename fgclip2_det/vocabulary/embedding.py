"""Text embeddings of prompts, and their cache on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.fgclip2 import DualEncoder, FGCLIP2Config
from fgclip2_det.fgclip2.checkpoint import Weights, resolve_folder
from fgclip2_det.fgclip2.tokenizer import JSON_FILE, MODEL_FILE, FGCLIP2Tokenizer
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.digests import file_digest, file_state
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.io.text import kind_of

# a version's head of box texts -> prefixes of the text tower's names; CLIP has the
# second, too, and all that box texts of FG-CLIP 1 depend on
TEXT_TOWERS = {
    'boxtext_head.weight': ('text_model.', 'boxtext_head.', 'longtext_head.'),
    'text_projection.weight': ('text_model.', 'text_projection.'),
}
POSITIONS = 'text_model.embeddings.position_embedding.weight'
LONG_POSITIONS = tuple(POSITIONS.replace('.weight', f'_{n}.') for n in ('res', 'ori'))
_LAYOUT = 2  # of a file; those of another are of other names
TOKENIZED = 4096  # prompts at once
_ENTRY = re.compile(r'[0-9a-f]{32}\.safetensors')
_FOLDERS: dict[tuple | None, str] = {}  # state of a folder's files -> fingerprint


class TextSource:
    """A text tower: an encoder in memory, or a folder that is loaded on first use.

    Args:
        encoder: model with a text tower and a tokenizer; or a folder, or a hub id, of
            FG-CLIP 2, FG-CLIP 1 or CLIP.

    Raises:
        ValueError: if there is no text tower of these or no tokenizer.
    """

    def __init__(self, encoder: DualEncoder | str | os.PathLike) -> None:
        if isinstance(encoder, str | os.PathLike):
            self.folder, self._encoder = resolve_folder(encoder), None
            self._state = _folder_state(self.folder)  # before anything is read
            weights = Weights(self.folder)  # maps the file, reads what is touched
            self._tensors: Weights | Mapping[str, Tensor] = weights
            self._names = weights.names()
        else:
            self.folder, self._encoder = None, encoder
            self._tensors = encoder.state_dict(keep_vars=True)
            self._names = set(self._tensors)
        heads = [name for name in TEXT_TOWERS if name in self._names]
        if POSITIONS not in self._names or not heads:
            raise ValueError(
                f'{self.folder or "the encoder"} has no text tower of FG-CLIP 2 or 1; '
                "expected a model loaded with towers='text' or 'both', or its folder"
            )
        self._head = heads[0]

    @property
    def embed_dims(self) -> int:
        """Size D of an embedding."""
        return len(self._tensors[self._head])

    @property
    def max_tokens(self) -> int:
        """Tokens that a prompt may have, EOS included."""
        return len(self._tensors[POSITIONS])

    @property
    def device(self) -> torch.device:
        """Device of the embeddings: the encoder's, or the CPU for a folder."""
        return self._tensors[self._head].device

    @property
    def is_first_version(self) -> bool:
        """Whether the tower is FG-CLIP 1's or CLIP's."""
        return self._head == 'text_projection.weight'

    def tokenizer(self) -> FGCLIP2Tokenizer:
        """The encoder's tokenizer, or the folder's, without its weights."""
        if self._encoder is not None or self.folder is None:
            return checked_tokenizer(self.load().tokenizer)
        if not self.is_first_version:
            return FGCLIP2Tokenizer.from_folder(self.folder)
        from fgclip2_det.fgclip1 import FGCLIP1Tokenizer

        return FGCLIP1Tokenizer.from_folder(self.folder)

    def load(self) -> DualEncoder:
        """The encoder; a folder's text tower is read once."""
        if self._encoder is None:
            from fgclip2_det.fgclip1 import load_encoder  # slow to import

            assert self.folder is not None
            self._encoder = load_encoder(self.folder, towers='text')
        return self._encoder

    def fingerprint(self) -> str:
        """See :func:`fingerprint`."""
        if self.folder is None:
            tower = {n: self._tensors[n] for n in self._tower_names()}
            encoder = self.load()
            tokenizer = checked_tokenizer(encoder.tokenizer)
            return _text_digest(tower, encoder.config, tokenizer.digest)
        if self._state is None or self._state not in _FOLDERS:
            # as load_encoder loads them
            tower = {n: self._tensors[n].float() for n in self._tower_names()}
            assert isinstance(self._tensors, Weights)
            shapes = self._tensors.shapes()
            read = _first_version if self.is_first_version else _second_version
            _FOLDERS[self._state] = _text_digest(tower, *read(self.folder, shapes))
        return _FOLDERS[self._state]

    def _tower_names(self) -> list[str]:
        names = [n for n in self._names if n.startswith(TEXT_TOWERS[self._head])]
        if self.is_first_version:  # only long texts depend on them; CLIP has none
            names = [name for name in names if not name.startswith(LONG_POSITIONS)]
        return names


def fingerprint(encoder: DualEncoder | str | os.PathLike) -> str:
    """Digest of everything that text embeddings depend on, without running the model.

    It covers the weights of the text tower and its heads, their dtypes, the text
    tower's config and the tokenizer file. A folder and the float32 model loaded from it
    have the same digest. A folder is read once, until one of its files changes; for a
    model in memory see :func:`fgclip2_det.io.model_digests.encoder_digest`.

    Args:
        encoder: with a text tower; or a folder, or a hub id.

    Raises:
        ValueError: see :class:`TextSource`.
    """
    return TextSource(encoder).fingerprint()


def embed_groups(
    source: TextSource,
    groups: Sequence[Sequence[str]],
    cache_dir: str | os.PathLike | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """One embedding for each group of prompts.

    Every prompt is normalised, averaged over its group and normalised again. A
    progress bar shows when this takes longer than a second.

    Args:
        source: the text tower; not loaded if the cache has the groups.
        groups: G lists of prompts.
        cache_dir: folder of safetensors files, or None. Beyond
            ``FGCLIP2_CACHE_SIZE`` those used least recently are removed.
        batch_size: prompts per batch; None: what suits the device.

    Returns:
        (G, D) float32 on the source's device, L2-normalised.

    Raises:
        ValueError: for a prompt beyond the token limit or a damaged cache file.
    """
    device = source.device
    if cache_dir is None:
        return _embed(source.load(), groups, batch_size)
    words = json.dumps([_LAYOUT, source.fingerprint(), groups])
    key = hashlib.sha256(words.encode()).hexdigest()
    path = Path(cache_dir) / f'{key[:32]}.safetensors'
    cached = _read_cache(path, key, (len(groups), source.embed_dims))
    if cached is not None:
        return cached.to(device)
    embeds = _embed(source.load(), groups, batch_size)
    _write_cache(path, key, embeds)
    return embeds


def class_cosines(
    region_embeds: Tensor,
    alias_embeds: Tensor,
    class_of_alias: Tensor,
    alias_reduce: str = 'max',
) -> Tensor:
    """Cosines of regions and classes, from those of regions and aliases.

    Args:
        region_embeds: (K, D), L2-normalised. K may be 0.
        alias_embeds: (A, D), L2-normalised; ``Vocabulary.embed_aliases``.
        class_of_alias: (A,) int64, ``Vocabulary.class_of_alias``.
        alias_reduce: 'max' takes the best alias, 'mean' the average cosine.

    Returns:
        (K, C) float32, differentiable in both embeddings.

    Raises:
        ValueError: another ``alias_reduce``, or another number of aliases.
    """
    if alias_reduce not in ('max', 'mean'):
        raise ValueError(f"alias_reduce must be 'max' or 'mean', got {alias_reduce!r}")
    if class_of_alias.shape != alias_embeds.shape[:1] or not len(alias_embeds):
        raise ValueError(
            f'class_of_alias must name the class of each of {len(alias_embeds)} '
            f'aliases, got shape {tuple(class_of_alias.shape)}; take both from one '
            'vocabulary'
        )
    cosines = region_embeds.float() @ alias_embeds.float().T  # (K, A)
    index = class_of_alias.to(cosines.device).expand_as(cosines)
    num_classes = int(class_of_alias.max()) + 1
    reduce = {'max': 'amax', 'mean': 'mean'}[alias_reduce]
    empty = cosines.new_zeros(len(cosines), num_classes)
    return empty.scatter_reduce(1, index, cosines, reduce, include_self=False)


def _second_version(folder: Path, shapes: Mapping[str, tuple]) -> tuple[Any, str]:
    """Config and digest of the tokenizer of a folder of FG-CLIP 2."""
    config = FGCLIP2Config.of_folder(folder, shapes)
    return config, file_digest(_tokenizer_file(folder))


def _first_version(folder: Path, shapes: Mapping[str, tuple]) -> tuple[Any, str]:
    """Config and digest of the tokenizer of a folder of FG-CLIP 1 or CLIP."""
    from fgclip2_det.fgclip1 import FGCLIP1Config
    from fgclip2_det.fgclip1.tokenizer import digest_of_files

    return FGCLIP1Config.of_folder(folder, shapes), digest_of_files(folder)


def _text_digest(tower: Mapping[str, Tensor], config: Any, tokenizer: str) -> str:
    return encoder_digest(tower, [asdict(config.text), tokenizer])


def _folder_state(folder: Path) -> tuple | None:
    """State of the files that embeddings depend on; None if one is too new."""
    names = sorted([*folder.glob('*.safetensors'), *folder.glob('*.json')])
    paths = [*names, *folder.glob(MODEL_FILE), *folder.glob('merges.txt')]
    states = [file_state(path) for path in paths if path.is_file()]
    return None if None in states else tuple(states)


def _tokenizer_file(folder: Path) -> Path:
    for name in (JSON_FILE, MODEL_FILE):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f'{folder} has no tokenizer; put {JSON_FILE} or {MODEL_FILE} of the released '
        'model there'
    )


def checked_tokenizer(tokenizer: FGCLIP2Tokenizer | None) -> FGCLIP2Tokenizer:
    """Return the tokenizer; ValueError for an encoder without one."""
    if tokenizer is None:
        raise ValueError(
            f'the encoder has no tokenizer; load it from a folder with {JSON_FILE}, or '
            f'{MODEL_FILE} (FG-CLIP 2), or vocab.json and merges.txt (FG-CLIP 1)'
        )
    return tokenizer


def text_batch(device: torch.device) -> int:
    """Texts per batch: 32 on a CPU, where 256 leave the cache and take 1.3 times the
    time (``benchmarks/low_precision.py``); else 256."""
    return 32 if device.type == 'cpu' else 256


@torch.no_grad()
def _embed(
    encoder: DualEncoder, groups: Sequence[Sequence[str]], batch_size: int | None
) -> Tensor:
    """(G, D): a prompt is encoded once, however many groups have it, and only groups'
    sums are kept. Prompts of like lengths share a batch: a tower that computes it up to
    its longest text, as FG-CLIP 1's, has less to do."""
    device = encoder.logit_scale.device
    size = batch_size or text_batch(device)
    unique = dict.fromkeys(prompt for group in groups for prompt in group)
    row = {prompt: i for i, prompt in enumerate(unique)}
    prompts = _Prompts(encoder, list(row))
    # (prompt, group) pairs in the order in which prompts are encoded
    place = torch.empty(len(row), dtype=torch.long)
    place[prompts.order] = torch.arange(len(row))
    places = place[torch.tensor([row[p] for group in groups for p in group])]
    counts = torch.tensor([len(group) for group in groups])
    places, order = places.sort(stable=True)
    owners = torch.arange(len(groups)).repeat_interleave(counts)[order]
    sums = torch.zeros(len(groups), encoder.embed_dims)
    done = 0
    with tqdm(total=len(row), unit='prompt', disable=None, delay=1) as bar:
        for start in range(0, len(row), size):
            ids = prompts.ids(start, start + size)
            embeds = encoder.encode_text(ids, 'box', True).float().cpu()
            end = int(torch.searchsorted(places, start + len(ids)))
            pairs = slice(done, end)
            sums.index_add_(0, owners[pairs], embeds[places[pairs] - start])
            done = end
            bar.update(len(ids))
    return F.normalize(sums / counts[:, None], dim=-1).to(device)


class _Prompts:
    """Ids of P prompts without their padding, in 4 bytes each, shortest prompts first.

    Attributes:
        order: (P,) int64, the prompt at each place.
    """

    def __init__(self, encoder: DualEncoder, prompts: Sequence[str]) -> None:
        self._length = encoder.text_model.embeddings.length('box')
        tokenizer = checked_tokenizer(encoder.tokenizer)
        self._pad, ids, lengths = tokenizer.pad_id, [], []
        for start in range(0, len(prompts), TOKENIZED):
            part = list(prompts[start : start + TOKENIZED])
            padded = tokenizer.ids(part, self._length, truncation=False)
            lengths.append(self._length - (padded[:, ::-1] != self._pad).argmax(1))
            real = np.arange(self._length) < lengths[-1][:, None]
            ids.append(padded[real].astype(np.int32))
        self._ids = torch.from_numpy(np.concatenate(ids))
        self._lengths = torch.from_numpy(np.concatenate(lengths))
        self._ends = self._lengths.cumsum(0)
        self.order = self._lengths.argsort(stable=True)

    def ids(self, start: int, end: int) -> Tensor:
        """(n, L) int64, padded, of the prompts at places ``start`` to ``end``."""
        chosen = self.order[start:end]
        ids = torch.full((len(chosen), self._length), self._pad)
        for row, last, count in zip(
            ids, self._ends[chosen], self._lengths[chosen], strict=True
        ):
            row[:count] = self._ids[last - count : last]
        return ids


def _write_cache(path: Path, key: str, embeds: Tensor) -> None:
    from fgclip2_det.io.cache_size import TEXT_BYTES, cache_limit, trim  # for writers

    limit = cache_limit(TEXT_BYTES)
    with temporary_path(path) as partial:
        embeds = embeds.cpu().contiguous()
        # one entry: safetensors 0.8 writes several in another order each time
        metadata = {'written': f'{key} {_digest(embeds)}'}
        save_file({'text_embeds': embeds}, partial, metadata=metadata)
    files = [f for f in path.parent.iterdir() if _ENTRY.fullmatch(f.name)]
    trim(files, limit, path)


def _read_cache(path: Path, key: str, shape: tuple[int, int]) -> Tensor | None:
    """The embeddings; None if there is no such file."""
    if not path.exists():
        return None
    from fgclip2_det.io.cache_size import mark_used  # for who keeps a cache

    mark_used(path)
    try:
        if kind := kind_of(path.stat().st_mode):
            raise InputError(f'{path} cannot be read: it is {kind}; delete it')
        with safe_open(path, framework='pt') as file:
            stored, digest = _key_and_digest(file.metadata() or {})
            right = stored == key
            embeds = file.get_tensor('text_embeds') if right else None
    except FileNotFoundError:  # removed a moment ago, to make room
        return None
    except (SafetensorError, OSError) as error:
        raise InputError(f'{path} is truncated or damaged ({error}); delete it') from (
            error
        )
    if embeds is None or tuple(embeds.shape) != shape:
        raise InputError(
            f'{path} was written for another model or vocabulary; delete it'
        )
    if embeds.dtype != torch.float32 or _digest(embeds) != digest:
        raise InputError(
            f'{path} is damaged: expected the unit vectors that were written; delete it'
        )
    return embeds


def _key_and_digest(metadata: dict[str, str]) -> tuple[str | None, str | None]:
    if 'written' not in metadata:  # by an earlier version
        return metadata.get('key'), metadata.get('sha256')
    key, _, digest = metadata['written'].rpartition(' ')
    return key, digest


def _digest(embeds: Tensor) -> str:
    """SHA-256 of a contiguous float32 tensor's bytes."""
    return hashlib.sha256(embeds.numpy().tobytes()).hexdigest()
