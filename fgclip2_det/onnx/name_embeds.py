"""Names with their embeddings and what they compete with, as a graph takes them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import open_atomic
from fgclip2_det.io.text import check_regular
from fgclip2_det.vocabulary.class_names import ClassNames
from fgclip2_det.vocabulary.competitor_rules import (
    CompetitorOptions,
    choose_competitors,
    combined_names,
    place_negatives,
)
from fgclip2_det.vocabulary.names import parts_of

MAX_FILE = 1 << 30  # bytes of saved names
MAX_OFF_UNIT = 1e-3  # of an embedding's length
Embed = Callable[[ClassNames], np.ndarray]


@dataclass(frozen=True)
class NameEmbeds:
    """What an exported detector takes for its names.

    Attributes:
        classes: C names in label order.
        names: (C, D) float32, L2-normalised.
        is_base: (C,) bool, names that the training had boxes of.
        competitors: (S, D) float32, L2-normalised.
        apart: (C, C + S) bool, what does not compete with the name of the row.
        shift: (C,) float32, calibration of the scores on the logit scale.
        encoder: digest of the text tower that embedded them.
    """

    classes: tuple[str, ...]
    names: np.ndarray
    is_base: np.ndarray
    competitors: np.ndarray
    apart: np.ndarray
    shift: np.ndarray
    encoder: str

    def inputs(self) -> dict[str, np.ndarray]:
        """Arrays by the names of a graph's inputs."""
        return {name: getattr(self, name) for name in ARRAYS}

    def check(self, encoder: str, embed_dims: int, source: object = 'names') -> None:
        """Raise InputError unless they are of an encoder and consistent."""
        if self.encoder != encoder:
            raise InputError(
                f'{source}: these names were embedded by another encoder '
                f'({self.encoder[:12]}..., expected {encoder[:12]}...); embed them '
                'with the one of this folder'
            )
        count, rivals = len(self.classes), (*self.competitors.shape, 0)[0]
        shapes = dict(
            names=(count, embed_dims), is_base=(count,), apart=(count, count + rivals),
            competitors=(rivals, embed_dims), shift=(count,),
        )  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != ARRAYS[name] or not count:
                raise InputError(
                    f'{source}: {name} must be {shape} {ARRAYS[name].__name__}, got '
                    f'{array.shape} {array.dtype}; embed the names again'
                )
        rows = np.concatenate([self.names, self.competitors])
        off = abs(np.linalg.norm(rows, axis=1) - 1)
        if not (off <= MAX_OFF_UNIT).all() or not np.isfinite(self.shift).all():
            raise InputError(
                f'{source}: embeddings must be L2-normalised and shifts finite; embed '
                'the names again'
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write them to an .npz file."""
        arrays: Any = dict(
            classes=np.array(self.classes), encoder=np.array(self.encoder)
        )
        with open_atomic(path) as file:
            np.savez(file, **(arrays | self.inputs()))

    @classmethod
    def load(cls, path: str | os.PathLike) -> NameEmbeds:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: another file, or a damaged one.
        """
        arrays = read_arrays(path, ('classes', 'encoder', *ARRAYS))
        names, encoder = arrays.pop('classes'), arrays.pop('encoder')
        if names.ndim != 1 or encoder.ndim:
            raise InputError(
                f'{path} holds no names of an exported detector (classes has the shape '
                f'{names.shape}, encoder {encoder.shape}); write it with '
                'NameEmbeds.save'
            )
        return cls(tuple(map(str, names)), encoder=str(encoder), **arrays)


ARRAYS: dict[str, Any] = dict(
    names=np.float32, is_base=np.bool_, competitors=np.float32, apart=np.bool_,
    shift=np.float32,
)  # fmt: skip


def read_arrays(path: str | os.PathLike, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an .npz file, nothing pickled.

    Raises:
        InputError: another file, a damaged one, or one without one of ``keys``.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:  # sizes first: they may be compressed
            size = sum(each.file_size for each in archive.infolist())
        if size > MAX_FILE:
            raise InputError(f'it has {size:,} bytes, at most {MAX_FILE:,} are read')
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in keys}
    except Exception as error:  # zip, header, key: all kinds
        raise InputError(
            f'{path} holds no names of an exported detector ({error!r:.200}); write it '
            'with NameEmbeds.save'
        ) from error


def embed_names(
    vocabulary: ClassNames,
    is_open: bool,
    embed: Embed,
    detector: Mapping[str, Any],
    candidates: Callable[[ClassNames, list[str]], np.ndarray],
    encoder: str,
) -> NameEmbeds:
    """Embeddings of names, and the competitors that a detector gives them.

    Args:
        vocabulary: resolved, with a split.
        is_open: names of a user, which compete with more than each other; False for the
            classes of a data set.
        embed: gives the embeddings of names.
        detector: section of the description: ``competitors``, ``trained_classes``,
            ``calibration``, ``parts``.
        candidates: gives the embeddings of candidates, with the templates of a
            vocabulary.
        encoder: digest of the text tower.
    """
    embeds = embed(vocabulary).astype(np.float32)
    count, dims = embeds.shape
    is_base = np.array(vocabulary.is_base_class, bool)
    options = detector.get('competitors')
    names, rows = [], np.zeros((0, dims), np.float32)
    apart, known = np.zeros((count, count), bool), np.zeros(count, bool)
    if is_open and options is not None:
        names, rows, apart, known = _silent(
            vocabulary, embeds, CompetitorOptions(**options),
            detector['trained_classes'], candidates, detector.get('parts'),
        )  # fmt: skip
    if is_open and vocabulary.negatives is not None:
        own = _with_templates(
            list(vocabulary.negatives.texts), vocabulary, detector.get('parts')
        )
        others = embed(own) if own is not None else rows[:0]
        order, apart = place_negatives(names, apart, vocabulary.negatives)
        rows = np.concatenate([others.astype(np.float32), rows])[order]
    is_base = is_base | known
    free = np.zeros((count, count + len(rows)), bool)
    free[:, : apart.shape[1]] = apart
    calibration = detector['calibration']
    shift = np.zeros(count, np.float32)
    if is_open and options is not None:
        shift = np.where(is_base, calibration['base'], calibration['novel'])
    return NameEmbeds(
        tuple(vocabulary.names), embeds, is_base, rows, free,
        shift.astype(np.float32), encoder,
    )  # fmt: skip


def _silent(
    vocabulary: ClassNames,
    embeds: np.ndarray,
    options: CompetitorOptions,
    trained: Sequence[str],
    candidates: Callable[[ClassNames, list[str]], np.ndarray],
    parts: Mapping[str, Sequence[str]] | None,
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Texts, embeddings, ``apart`` and ``known`` of silent competitors."""
    texts = options.candidates(trained, parts)
    others = candidates(vocabulary, texts) if texts else embeds[:0]
    choice = choose_competitors(
        vocabulary.aliases,
        embeds,
        texts,
        others,
        trained,
        combined_names(trained, parts),
        options.same_meaning,
    )
    names = [texts[i] for i in choice.kept]
    return names, others[choice.kept], choice.apart, choice.known


def _with_templates(
    texts: list[str],
    vocabulary: ClassNames,
    parts: Mapping[str, Sequence[str]] | None,
) -> ClassNames | None:
    """Texts with the templates of a vocabulary; None without any."""
    if not texts:
        return None
    return ClassNames(
        texts, vocabulary.templates, base_classes=[], check=False,
        parts=parts_of(texts, parts),
    )  # fmt: skip
