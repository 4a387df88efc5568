"""Class names of a detector and their text embeddings."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary.templates import resolve_templates


def normalize_name(name: str) -> str:
    """Lower case, underscores as spaces, single spaces; what makes names equal."""
    return ' '.join(name.replace('_', ' ').lower().split())


def fingerprint(encoder: FGCLIP2) -> str:
    """Digest of a text tower and its tokenizer: shapes and 64 values a tensor.

    Training changes every tensor, so samples tell two models apart without
    hashing a gigabyte.
    """
    digest = hashlib.sha256()
    heads = ('text_model.', 'boxtext_head.', 'longtext_head.')
    for name, tensor in sorted(encoder.state_dict().items()):
        if name.startswith(heads):
            flat = tensor.detach().flatten()
            sample = flat[:: max(1, len(flat) // 64)][:64].float().cpu()
            digest.update(f'{name}{tuple(tensor.shape)}'.encode())
            digest.update(sample.numpy().tobytes())
    probe = encoder.tokenize('aä 白色杯子 #5')  # another tokenizer, other ids
    digest.update(probe.numpy().tobytes())
    return digest.hexdigest()


def _says_something(name: str) -> bool:
    """Whether a letter, a digit or a symbol (emoji) is in the name."""
    return any(unicodedata.category(character)[0] in 'LNS' for character in name)


class Vocabulary:
    """Names in label order, with aliases, prompts and the base/novel split.

    Args:
        names: C entries, each one name or a list of aliases (the first is shown).
            English and Chinese may be mixed.
        templates: a named set ('raw', 'photo', 'imagenet80') or a list of strings
            with '{}'.
        novel_classes: names without boxes in training; the others are base.
        base_classes: the base names instead, if that is shorter to say.

    Raises:
        ValueError: no names, an empty name, names equal up to case, spaces and
            underscores, a split that names unknown classes.

    Example:
        >>> vocabulary = Vocabulary(['cat', '狗', ['sofa', 'couch']])
        >>> vocabulary.embed(FGCLIP2.from_size('tiny')).shape
        torch.Size([3, 128])
    """

    def __init__(
        self,
        names: Sequence[str | Sequence[str]],
        templates: str | Sequence[str] = 'raw',
        novel_classes: Sequence[str] | None = None,
        base_classes: Sequence[str] | None = None,
    ) -> None:
        if isinstance(names, str):
            names = parse_texts(names)
        for given in (names, base_classes or [], novel_classes or []):
            if not isinstance(given, Sequence) or isinstance(given, str):
                raise ValueError(f'expected a list of names, got {given!r}')
        self.aliases = [list(n) if isinstance(n, list | tuple) else [n] for n in names]
        self.templates = resolve_templates(templates)
        self._check()
        self.names = [aliases[0] for aliases in self.aliases]
        self.is_base = self._split(base_classes, novel_classes)

    def _check(self) -> None:
        if not self.aliases:
            raise ValueError(
                "a vocabulary needs at least one name, got none; e.g. ['cat', '狗']"
            )
        seen: dict[str, int] = {}
        for index, aliases in enumerate(self.aliases):
            if not aliases:
                raise ValueError(f'class {index} has an empty list of aliases')
            for name in aliases:
                if not isinstance(name, str) or not _says_something(name):
                    raise ValueError(
                        f'name of class {index} must be a non-empty string, got '
                        f'{name!r}'
                    )
                other = seen.setdefault(normalize_name(name), index)
                if other != index:
                    raise ValueError(
                        f'{name!r} names both class {other} '
                        f'({self.aliases[other][0]!r}) and class {index}; '
                        f'remove one or make it an alias'
                    )

    def _split(self, base: Sequence[str] | None, novel: Sequence[str] | None) -> Tensor:
        """(C,) bool, True = base; all base when no split is given."""
        index = {normalize_name(name): i for i, name in enumerate(self.names)}
        for names in (base, novel):
            for name in names or ():
                if normalize_name(name) not in index:
                    raise ValueError(
                        f'{name!r} of the base/novel split is not in the vocabulary '
                        f'({", ".join(self.names[:5])}, ...)'
                    )
        is_base = torch.full((len(self),), base is None)
        if base is not None:
            is_base[[index[normalize_name(name)] for name in base]] = True
        if novel is not None:
            rows = [index[normalize_name(name)] for name in novel]
            if base is not None and is_base[rows].any():
                both = self.names[rows[int(is_base[rows].nonzero()[0])]]
                raise ValueError(f'{both!r} is listed as base and as novel')
            is_base[rows] = False
        return is_base

    def __len__(self) -> int:
        return len(self.aliases)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        shown = ', '.join(self.names[:4]) + (', ...' if len(self) > 4 else '')
        return f'Vocabulary({len(self)} classes: {shown})'

    @property
    def base_classes(self) -> list[str]:
        """Names that training has boxes of."""
        return [n for n, base in zip(self.names, self.is_base, strict=True) if base]

    @property
    def novel_classes(self) -> list[str]:
        """Names that are only tested."""
        return [n for n, base in zip(self.names, self.is_base, strict=True) if not base]

    def prompts(self) -> list[list[str]]:
        """Texts of every class: aliases x templates, underscores as spaces."""
        return [
            [t.format(a.replace('_', ' ')) for a in aliases for t in self.templates]
            for aliases in self.aliases
        ]

    def embed(
        self,
        encoder: FGCLIP2,
        cache_dir: str | os.PathLike | None = None,
        batch_size: int = 256,
    ) -> Tensor:
        """Text embeddings in 'box' mode.

        Every prompt is normalised, averaged over its class and normalised again.

        Args:
            encoder: has a text tower and a tokenizer.
            cache_dir: folder of safetensors files, keyed by encoder and prompts;
                no disk cache when None.
            batch_size: prompts at once.

        Returns:
            (C, D) float32 on the encoder's device, L2-normalised.

        Raises:
            ValueError: a prompt beyond the token limit; a damaged cache file.

        Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2; CLIP's prompt
        ensembling (arXiv:2103.00020), section 3.1.4.
        """
        device = encoder.logit_scale.device
        prompts = self.prompts()
        if cache_dir is None:
            return _embed_prompts(encoder, prompts, batch_size)
        key = hashlib.sha256(
            json.dumps([fingerprint(encoder), prompts]).encode()
        ).hexdigest()
        path = Path(cache_dir) / f'{key[:32]}.safetensors'
        if path.exists():
            shape = (len(self), encoder.config.text.hidden_size)
            return _read_cache(path, key, shape).to(device)
        embeds = _embed_prompts(encoder, prompts, batch_size)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f'.{os.getpid()}.tmp')
        save_file({'text_embeds': embeds.cpu()}, partial, metadata={'key': key})
        partial.replace(path)
        return embeds


def parse_texts(texts: str) -> list[str]:
    """Names of a string such as ``'black cat. 白色杯子'``.

    Names end with '.', '。', ';', '；', a comma of either script, or a line break.

    Raises:
        ValueError: if no name is left.
    """
    for mark in '。;；,，、\n':
        texts = texts.replace(mark, '.')
    names = [name.strip() for name in texts.split('.') if name.strip()]
    if not names:
        raise ValueError(f"expected names such as 'black cat. 白色杯子', got {texts!r}")
    return names


@torch.no_grad()
def _embed_prompts(
    encoder: FGCLIP2, prompts: list[list[str]], batch_size: int
) -> Tensor:
    unique = list(dict.fromkeys(prompt for group in prompts for prompt in group))
    length = encoder.text_model.embeddings.length('box')
    ids = encoder.tokenizer(unique, length, truncation=False)
    embeds = torch.cat(
        [
            encoder.encode_text(part, 'box', True).float()
            for part in ids.split(batch_size)
        ]
    )
    row = {prompt: i for i, prompt in enumerate(unique)}
    means = [embeds[[row[p] for p in group]].mean(0) for group in prompts]
    return F.normalize(torch.stack(means), dim=-1)


def _read_cache(path: Path, key: str, shape: tuple[int, int]) -> Tensor:
    try:
        with safe_open(path, framework='pt') as file:
            found = (file.metadata() or {}).get('key')
            embeds = file.get_tensor('text_embeds') if found == key else None
    except (SafetensorError, OSError) as error:
        raise ValueError(f'{path} is cut short or damaged ({error}); delete it') from (
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
