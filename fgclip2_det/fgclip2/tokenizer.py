"""Tokenization of texts, as in FG-CLIP 2's training.

The released models use Gemma's vocabulary through the fast (`tokenizers`)
implementation, which is the reference here, for both kinds of file:

* ``tokenizer.json`` is run by `tokenizers` unchanged;
* ``tokenizer.model`` of Gemma's kind (BPE, no normaliser, no dummy prefix) is
  turned into the same fast tokenizer. SentencePiece itself would differ on odd
  texts: it spells out special tokens (``'<eos>'`` is one id here), it lets
  user-defined runs of ``▁`` match spaces, and between two places for the same
  merged piece it takes the left one, the fast tokenizer the shorter left part;
* any other ``tokenizer.model`` (unigram, or with a normaliser) has no fast twin
  to agree with and is run by SentencePiece, as the file says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.digests import file_digest
from fgclip2_det.io.text import check_regular, read_bytes

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from torch import Tensor

JSON_FILE, MODEL_FILE = 'tokenizer.json', 'tokenizer.model'
COMPANION_FILES = ('tokenizer_config.json', 'special_tokens_map.json')
MAX_FILE = 1 << 28  # bytes; Gemma's tokenizer.json has 34 million
MAX_PIECE = 1024  # letters of a piece: its merges grow with their square
PAD_ID, EOS_ID = 0, 1  # Gemma's, for files that do not name <pad> and <eos>

# Numbers of sentencepiece_model.proto
PIECES, TRAINER, NORMALIZER = 1, 2, 3  # fields of the file
MODEL_TYPE, BPE_MODEL = 3, 2  # field of the trainer spec and its value
CHARSMAP, DUMMY_PREFIX = 2, 3  # fields of the normaliser spec
TEXT, TYPE = 1, 3  # fields of a piece
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # values of a piece's type


class FGCLIP2Tokenizer:
    """Lower-case, tokenize, end with EOS and pad on the right to a fixed length.

    The text tower reads its last position and was trained without an attention
    mask, so padding to exactly 64 (or 196) is part of the model, and there is
    no mask to request or to pass.

    Args:
        engine: tokenizer that splits a text, without special tokens.
        files: the files it was read from, for :meth:`save`.

    Example:
        >>> tokenizer = FGCLIP2Tokenizer.from_folder(folder)
        >>> tokenizer(['a red circle', '红色圆形']).shape
        torch.Size([2, 64])
    """

    start: tuple[int, ...] = ()  # ids before every text

    def __init__(
        self, engine: Tokenizer | SentencePieceProcessor, files: Sequence[Path]
    ) -> None:
        self.engine = engine
        self.files = tuple(files)
        self._file_digest: str | None = None
        if isinstance(engine, Tokenizer):
            ids = [engine.token_to_id(name) for name in ('<pad>', '<eos>')]
            self.vocab_size = engine.get_vocab_size()
        else:
            special_ids = (engine.pad_id(), engine.eos_id())
            ids = [index if index >= 0 else None for index in special_ids]
            self.vocab_size = engine.get_piece_size()
        self.pad_id = PAD_ID if ids[0] is None else ids[0]
        self.eos_id = EOS_ID if ids[1] is None else ids[1]

    @classmethod
    def from_folder(cls, folder: str | os.PathLike) -> FGCLIP2Tokenizer:
        """Read ``tokenizer.json`` or, where there is none, ``tokenizer.model``.

        Raises:
            ValueError: if both are missing, or the file is damaged.
        """
        folder = Path(folder)
        names = (JSON_FILE, MODEL_FILE, *COMPANION_FILES)
        files = [folder / name for name in names if (folder / name).is_file()]
        if not files or files[0].name not in (JSON_FILE, MODEL_FILE):
            raise InputError(
                f'{folder} holds neither {JSON_FILE} nor {MODEL_FILE}; '
                'copy one of them there from the released model'
            )
        if (size := check_regular(files[0])) > MAX_FILE:
            raise InputError(
                f'{files[0]} has {size:,} bytes, at most {MAX_FILE:,} are read'
            )
        read = read_json if files[0].name == JSON_FILE else _read_model
        tokenizer = cls(read(files[0]), files)
        tokenizer._file_digest = file_digest(files[0])
        return tokenizer

    @property
    def digest(self) -> str:
        """SHA-256 of the file it was read from; without one, of its content."""
        if self._file_digest is not None:
            return self._file_digest
        if isinstance(self.engine, Tokenizer):
            return sha256(self.engine.to_str().encode()).hexdigest()
        return sha256(self.engine.serialized_model_proto()).hexdigest()

    def __call__(
        self, texts: str | Sequence[str], length: int = 64, truncation: bool = True
    ) -> Tensor:
        """Token ids of texts.

        Args:
            texts: one text or T texts; lower-cased here.
            length: ids per text: 64 for short texts and boxes, 196 for long.
            truncation: cut longer texts, keeping EOS as their last token;
                False raises instead, for class names that must stay whole.

        Returns:
            (T, length) int64. There is no attention mask, on purpose.

        Raises:
            ValueError: if a text is not a string, or is too long without truncation.
        """
        import torch  # not for :meth:`ids`

        return torch.from_numpy(self.ids(texts, length, truncation))

    def ids(
        self, texts: str | Sequence[str], length: int = 64, truncation: bool = True
    ) -> np.ndarray:
        """The same as an array (T, length) int64, without PyTorch."""
        least = len(self.start) + 1
        if length < least:
            raise InputError(f'length must be {least} or more, got {length}')
        given: list[Any] = [*texts] if isinstance(texts, list | tuple) else [texts]
        ids = np.full((len(given), length), self.pad_id, np.int64)
        for row, text, tokens in zip(ids, given, self._encode(given), strict=True):
            tokens = [*self.start, *tokens]
            if len(tokens) >= length and not truncation:
                raise InputError(
                    f'text of {len(tokens) + 1} tokens, {length} is the limit: '
                    f'{_shorten(text)}; shorten it'
                )
            tokens = [*tokens[: length - 1], self.eos_id]
            row[: len(tokens)] = tokens
        return ids

    def count(self, text: str) -> int:
        """Number of tokens of a text with its EOS, before any truncation."""
        return len(self.start) + len(self._encode([text])[0]) + 1

    def save(self, folder: str | os.PathLike) -> None:
        """Copy the tokenizer's files into a folder, byte for byte."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for source in self.files:
            target = folder / source.name
            if not (target.exists() and target.samefile(source)):
                with temporary_path(target) as partial:
                    shutil.copyfile(source, partial)

    @staticmethod
    def _prepare(text: str) -> str:
        return text.lower()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                kind = type(text).__name__
                raise InputError(f'text {index} must be a string, got {kind}')
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f'text {index} is not valid Unicode: {_shorten(text)}; decode its '
                    'bytes as UTF-8'
                ) from error
        texts = [self._prepare(text) for text in texts]
        name = self.files[0] if self.files else 'tokenizer'
        with caught(f'the tokenizer {name} gives up on {len(texts)} texts'):
            if not isinstance(self.engine, Tokenizer):
                return self.engine.encode(texts)
            encoded = self.engine.encode_batch(texts, add_special_tokens=False)
            return [encoding.ids for encoding in encoded]


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + '...')


@contextmanager
def caught(what: str) -> Iterator[None]:
    """Turn what the tokenizers' library raises into a sentence.

    It raises nothing narrower than Exception, and a panic of its Rust code, such as a
    regular expression that gives up, is not even that.
    """
    try:
        yield
    except BaseException as error:
        panics = type(error).__name__ == 'PanicException'
        if not (panics or isinstance(error, Exception)):
            raise
        reason = str(error) or type(error).__name__
        raise InputError(f'{what} ({reason:.200}); use its own files') from error


def read_json(path: Path) -> Tokenizer:
    """A ``tokenizer.json``, without its settings for truncation and padding."""
    with caught(f'{path} is damaged or no tokenizer file'):
        tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()  # settings of whoever saved the file
    tokenizer.no_padding()
    return tokenizer


def _read_model(path: Path) -> Tokenizer | SentencePieceProcessor:
    data = read_bytes(path, MAX_FILE)
    try:
        fields = list(_fields(data))
        specs = {number: dict(_fields(v)) for number, v in fields if number in (2, 3)}
        trainer, normalizer = specs[TRAINER], specs[NORMALIZER]
        pieces = [dict(_fields(value)) for number, value in fields if number == PIECES]
        names = [piece[TEXT].decode() for piece in pieces]
        if max(map(len, names)) > MAX_PIECE:
            raise InputError(f'a piece has more than {MAX_PIECE} letters')
        bpe = trainer.get(MODEL_TYPE) == BPE_MODEL
        plain = not normalizer.get(CHARSMAP) and not normalizer.get(DUMMY_PREFIX, 1)
        if not (bpe and plain):
            from sentencepiece import SentencePieceProcessor  # not for Gemma's kind

            return SentencePieceProcessor(model_proto=data)
    except (
        AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise InputError(
            f'{path} is damaged or no SentencePiece model; copy it again'
        ) from error
    with caught(f'{path} is damaged or no SentencePiece model'):
        return _gemma_tokenizer(names, [piece.get(TYPE, NORMAL) for piece in pieces])


def _gemma_tokenizer(names: list[str], types: list[int]) -> Tokenizer:
    """Fast tokenizer of a Gemma model.

    A piece's merges rank by its id and then by the length of their left part,
    and special and user-defined pieces are matched before anything is split, as
    `transformers` (5.23) reads such a file.
    """
    vocab = {name: index for index, name in enumerate(names)}
    merges = [
        (name[:cut], name[cut:])
        for name in names
        for cut in range(1, len(name))
        if name[:cut] in vocab and name[cut:] in vocab
    ]
    tokenizer = Tokenizer(
        BPE(vocab, merges, unk_token='<unk>', fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(' ', '▁')
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_tokens(
        [
            AddedToken(name, normalized=False, special=kind != USER_DEFINED)
            for name, kind in zip(names, types, strict=True)
            if kind in (UNKNOWN, CONTROL, USER_DEFINED)
        ]
    )
    return tokenizer


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a protocol buffer message's fields, in file order.

    Written out because the protobuf package is not a requirement.
    Reference: https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(wire_type)
            if size is None:
                size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise InputError('message ends inside a field')
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Variable-length integer at a position, and the position after it."""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1
