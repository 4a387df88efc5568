"""Text embeddings of prompts, and their cache on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config
from fgclip2_det.fgclip2.checkpoint import Weights, read_config, resolve_folder
from fgclip2_det.fgclip2.tokenizer import JSON_FILE, MODEL_FILE, FGCLIP2Tokenizer
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.digests import file_digest, file_state
from fgclip2_det.io.model_digests import encoder_digest

TEXT_TOWER = ('text_model.', 'boxtext_head.', 'longtext_head.')
POSITIONS = 'text_model.embeddings.position_embedding.weight'
_FOLDERS: dict[tuple | None, str] = {}  # state of a folder's files -> fingerprint


class TextSource:
    """A text tower: an encoder in memory, or a folder that is loaded on first use.

    Args:
        encoder: model with a text tower and a tokenizer; or a folder, or a hub id.

    Raises:
        ValueError: if there is no text tower of FG-CLIP 2 or no tokenizer.
    """

    def __init__(self, encoder: FGCLIP2 | str | os.PathLike) -> None:
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
        if not {POSITIONS, 'boxtext_head.weight'} <= self._names:
            raise ValueError(
                f'{self.folder or "the encoder"} has no text tower of FG-CLIP 2; '
                "expected a model loaded with towers='text' or 'both', or its folder"
            )

    @property
    def embed_dims(self) -> int:
        """Size D of an embedding."""
        return len(self._tensors['boxtext_head.weight'])

    @property
    def max_tokens(self) -> int:
        """Tokens that a prompt may have, EOS included."""
        return len(self._tensors[POSITIONS])

    @property
    def device(self) -> torch.device:
        """Device of the embeddings: the encoder's, or the CPU for a folder."""
        return self._tensors['boxtext_head.weight'].device

    def load(self) -> FGCLIP2:
        """The encoder; a folder's text tower is read once."""
        if self._encoder is None:
            assert self.folder is not None
            self._encoder = FGCLIP2.from_pretrained(self.folder, towers='text')
        return self._encoder

    def fingerprint(self) -> str:
        """See :func:`fingerprint`."""
        if self.folder is None:
            tower = {n: self._tensors[n] for n in self._tower_names()}
            encoder = self.load()
            tokenizer = checked_tokenizer(encoder.tokenizer)
            return _text_digest(tower, encoder.config, tokenizer.digest)
        if self._state is None or self._state not in _FOLDERS:
            # as FGCLIP2.from_pretrained loads them
            tower = {n: self._tensors[n].float() for n in self._tower_names()}
            assert isinstance(self._tensors, Weights)
            shapes = self._tensors.shapes()
            config = FGCLIP2Config.from_dict(read_config(self.folder), shapes)
            tokenizer = file_digest(_tokenizer_file(self.folder))
            _FOLDERS[self._state] = _text_digest(tower, config, tokenizer)
        return _FOLDERS[self._state]

    def _tower_names(self) -> list[str]:
        return [name for name in self._names if name.startswith(TEXT_TOWER)]


def fingerprint(encoder: FGCLIP2 | str | os.PathLike) -> str:
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
    batch_size: int = 256,
) -> Tensor:
    """One embedding for each group of prompts.

    Every prompt is normalised, averaged over its group and normalised again. A
    progress bar shows when this takes longer than a second.

    Args:
        source: the text tower; not loaded if the cache has the groups.
        groups: G lists of prompts.
        cache_dir: folder of safetensors files, or None.
        batch_size: prompts per batch.

    Returns:
        (G, D) float32 on the source's device, L2-normalised.

    Raises:
        ValueError: for a prompt beyond the token limit or a damaged cache file.
    """
    device = source.device
    if cache_dir is None:
        return _embed(source.load(), groups, batch_size)
    words = json.dumps([source.fingerprint(), groups])
    key = hashlib.sha256(words.encode()).hexdigest()
    path = Path(cache_dir) / f'{key[:32]}.safetensors'
    if path.exists():
        return _read_cache(path, key, (len(groups), source.embed_dims)).to(device)
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


def _text_digest(
    tower: Mapping[str, Tensor], config: FGCLIP2Config, tokenizer: str
) -> str:
    return encoder_digest(tower, [asdict(config.text), tokenizer])


def _folder_state(folder: Path) -> tuple | None:
    """State of the files that embeddings depend on; None if one is too new."""
    names = sorted([*folder.glob('*.safetensors'), *folder.glob('*.json')])
    paths = [*names, *folder.glob(MODEL_FILE)]
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
            f'the encoder has no tokenizer; load it from a folder with {JSON_FILE} or '
            f'{MODEL_FILE}'
        )
    return tokenizer


@torch.no_grad()
def _embed(
    encoder: FGCLIP2, groups: Sequence[Sequence[str]], batch_size: int
) -> Tensor:
    unique = list(dict.fromkeys(prompt for group in groups for prompt in group))
    length = encoder.text_model.embeddings.length('box')
    ids = checked_tokenizer(encoder.tokenizer)(unique, length, truncation=False)
    embeds = []
    with tqdm(total=len(ids), unit='prompt', disable=None, delay=1) as bar:
        for part in ids.split(batch_size):
            embeds.append(encoder.encode_text(part, 'box', True).float())
            bar.update(len(part))
    embeds = torch.cat(embeds)
    row = {prompt: i for i, prompt in enumerate(unique)}
    means = [embeds[[row[p] for p in group]].mean(0) for group in groups]
    return F.normalize(torch.stack(means), dim=-1)


def _write_cache(path: Path, key: str, embeds: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_path(path) as partial:
        save_file({'text_embeds': embeds.cpu()}, partial, metadata={'key': key})


def _read_cache(path: Path, key: str, shape: tuple[int, int]) -> Tensor:
    try:
        with safe_open(path, framework='pt') as file:
            stored_key = (file.metadata() or {}).get('key')
            embeds = file.get_tensor('text_embeds') if stored_key == key else None
    except (SafetensorError, OSError) as error:
        raise ValueError(f'{path} is truncated or damaged ({error}); delete it') from (
            error
        )
    if embeds is not None and tuple(embeds.shape) == shape:
        if embeds.dtype == torch.float32 and _are_unit(embeds):
            return embeds
        raise ValueError(f'{path} is damaged: expected unit vectors; delete it')
    raise ValueError(f'{path} was written for another model or vocabulary; delete it')


def _are_unit(embeds: Tensor) -> bool:
    ones = torch.ones(len(embeds))
    return torch.allclose(embeds.norm(dim=-1), ones, atol=1e-3)
