"""Text embeddings of an exported encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.io import InputError
from fgclip2_det.onnx.folder import TEXT, ModelFolder
from fgclip2_det.onnx.sessions import CPU, Session

MODES = ('short', 'box', 'long')  # the graph counts them in this order


class TextEncoder:
    """The text tower, loaded when a text comes.

    Args:
        folder: of an export.
        threads, providers: see :class:`.Session`.
    """

    def __init__(
        self,
        folder: ModelFolder,
        threads: int | None = None,
        providers: Sequence[str] = CPU,
    ) -> None:
        self.folder, self._options = folder, (threads, providers)
        self._session: Session | None = None
        self._tokenizer: FGCLIP2Tokenizer | None = None

    def __call__(
        self,
        texts: str | Sequence[str],
        mode: str = 'box',
        normalize: bool = False,
        truncation: bool = True,
        batch_size: int = 64,
    ) -> np.ndarray:
        """Text embeddings (T, D) float32.

        Args:
            texts: T strings, in English or Chinese (FG-CLIP 1: English); or one.
            mode: 'short' (global captions), 'box' (regions) or 'long'.
            normalize: L2-normalise.
            truncation: cut texts beyond the mode's length; False raises.
            batch_size: texts at a time.

        Raises:
            InputError: another mode, a text that is too long or no string, or an export
                without the text tower.
        """
        mode = str(mode).lower()
        if mode not in MODES:
            raise InputError(f'mode must be one of {MODES}, got {mode!r}')
        session, tokenizer = self._load()
        length = int(self.folder['text']['lengths'][mode])
        several = [texts] if isinstance(texts, str) else list(texts)
        ids = tokenizer.ids(several, length, truncation)
        if self.folder.version == 1 and len(ids):  # looks only backwards from an EOS
            ids = ids[:, : int((ids == tokenizer.eos_id).argmax(1).max()) + 1]
        index = np.array(MODES.index(mode), np.int64)
        parts = [
            session(dict(ids=ids[start : start + batch_size], mode=index))[0]
            for start in range(0, len(ids), batch_size)
        ]
        embeds = np.zeros((0, self.folder['embed_dims']), np.float32)
        embeds = np.concatenate([embeds, *parts])
        return normalized(embeds) if normalize else embeds

    def of_groups(self, groups: Sequence[Sequence[str]]) -> np.ndarray:
        """One embedding for each group of prompts (G, D), L2-normalised: every prompt
        is normalised, averaged over its group and normalised again."""
        unique = list(dict.fromkeys(prompt for group in groups for prompt in group))
        embeds = self(unique, 'box', True, truncation=False)
        row = {prompt: i for i, prompt in enumerate(unique)}
        means = [embeds[[row[p] for p in group]].mean(0) for group in groups]
        return normalized(np.stack(means))

    def _load(self) -> tuple[Session, FGCLIP2Tokenizer]:
        if self._session is None or self._tokenizer is None:
            path = self.folder.need(TEXT, 'the text tower')
            self._tokenizer = self.folder.tokenizer()
            self._session = Session(path, *self._options)
        return self._session, self._tokenizer


def normalized(embeds: np.ndarray) -> np.ndarray:
    """L2-normalised along the last axis, as ``F.normalize`` does it."""
    norms = np.linalg.norm(embeds, axis=-1, keepdims=True)
    return embeds / np.maximum(norms, 1e-12).astype(embeds.dtype)
