"""CLIP's byte-level BPE through `tokenizers`, as FG-CLIP 1 uses it.

``tokenizer.json`` is run unchanged; where there is none, the same tokenizer is made of
``vocab.json`` and ``merges.txt``.

Reference: CLIP (arXiv:2103.00020), section 2.4; ids as transformers' CLIPTokenizer.
"""

from __future__ import annotations

import os
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from fgclip2_det.fgclip2.tokenizer import (
    COMPANION_FILES,
    JSON_FILE,
    MAX_FILE,
    FGCLIP2Tokenizer,
    caught,
    read_json,
)
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.digests import file_digest
from fgclip2_det.io.text import check_regular, parse_json, read_text

VOCAB_FILE, MERGES_FILE = 'vocab.json', 'merges.txt'
BOS, EOS = '<|startoftext|>', '<|endoftext|>'
_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|"
    r'[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+'
)


class FGCLIP1Tokenizer(FGCLIP2Tokenizer):
    """BOS, the lower-cased text, EOS, and EOS again as padding.

    The text tower reads the first EOS and looks only backwards, so padding has no
    effect; a text that is cut keeps EOS as its last token.

    Example:
        >>> tokenizer = FGCLIP1Tokenizer.from_folder(folder)
        >>> tokenizer('a photo of a cat', 77).shape
        torch.Size([1, 77])
    """

    def __init__(self, engine: Tokenizer, files: tuple[Path, ...] = ()) -> None:
        super().__init__(engine, files)
        bos, eos = (engine.token_to_id(name) for name in (BOS, EOS))
        if bos is None or eos is None:
            raise InputError(
                f'{files[0] if files else "the tokenizer"} names no {BOS} or no {EOS}; '
                "expected CLIP's tokenizer"
            )
        self.start, self.eos_id, self.pad_id = (bos,), eos, eos

    @classmethod
    def from_folder(cls, folder: str | os.PathLike) -> FGCLIP1Tokenizer:
        """Read ``tokenizer.json`` or, where there is none, ``vocab.json`` and
        ``merges.txt``.

        Raises:
            ValueError: if they are missing or damaged, or not CLIP's.
        """
        folder = Path(folder)
        names = files_of(folder)
        if not names:
            raise _missing(folder)
        paths = [folder / name for name in names]
        for path in paths:
            if (size := check_regular(path)) > MAX_FILE:
                raise InputError(
                    f'{path} has {size:,} bytes, at most {MAX_FILE:,} are read'
                )
        engine = read_json(paths[0]) if len(paths) == 1 else _read_bpe(*paths)
        others = (VOCAB_FILE, MERGES_FILE, *COMPANION_FILES)
        beside = [folder / n for n in others if (folder / n).is_file()]
        tokenizer = cls(engine, tuple(dict.fromkeys([*paths, *beside])))
        tokenizer._file_digest = digest_of_files(folder)
        return tokenizer

    @classmethod
    def of_bytes(cls, vocab_size: int = 514) -> FGCLIP1Tokenizer:
        """A tokenizer without merges, one id for each byte, for random weights."""
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        pieces = [*letters, *(f'{letter}</w>' for letter in letters)]
        if vocab_size < len(pieces) + 2:
            raise InputError(
                f'vocab_size must be {len(pieces) + 2} or more, got {vocab_size}'
            )
        vocab = {piece: index for index, piece in enumerate(pieces)}
        vocab |= {BOS: vocab_size - 2, EOS: vocab_size - 1}
        return cls(_engine(vocab, []))

    def save(self, folder: str | os.PathLike) -> None:
        """Copy the tokenizer's files into a folder; without any, write
        ``tokenizer.json``."""
        if self.files:
            super().save(folder)
            return
        assert isinstance(self.engine, Tokenizer)
        with temporary_path(Path(folder) / JSON_FILE) as partial:
            partial.write_text(self.engine.to_str(), encoding='utf-8')

    @staticmethod
    def _prepare(text: str) -> str:
        return text  # the tokenizer's own normalizer lower-cases


def _missing(folder: Path) -> InputError:
    return InputError(
        f'{folder} holds neither {JSON_FILE} nor {VOCAB_FILE} and {MERGES_FILE}; copy '
        'them there from the released model'
    )


def files_of(folder: Path) -> tuple[str, ...]:
    """Names of the files that are read: one, two, or none where they are missing."""
    for names in ((JSON_FILE,), (VOCAB_FILE, MERGES_FILE)):
        if all((folder / name).is_file() for name in names):
            return names
    return ()


def digest_of_files(folder: Path) -> str:
    """Digest of the files that are read; InputError where they are missing."""
    if not files_of(folder):
        raise _missing(folder)
    return '+'.join(file_digest(folder / name) for name in files_of(folder))


def _read_bpe(vocab_file: Path, merges_file: Path) -> Tokenizer:
    try:
        vocab = parse_json(read_text(vocab_file))
        right = isinstance(vocab, dict) and all(type(i) is int for i in vocab.values())
        if not right:
            raise ValueError('it must be an object of piece and id')
    except ValueError as error:
        raise InputError(f'{vocab_file} is damaged: {error!s:.200}') from error
    lines = read_text(merges_file).splitlines()
    pairs = [tuple(line.split()) for line in lines if line[:9] != '#version:']
    merges = [pair for pair in pairs if pair]
    if any(len(pair) != 2 for pair in merges):
        raise InputError(f'{merges_file} is damaged: expected two pieces on a line')
    with caught(f'{merges_file} does not fit {vocab_file.name}'):
        return _engine(vocab, [(pair[0], pair[1]) for pair in merges])


def _engine(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    engine = Tokenizer(
        BPE(vocab, merges, end_of_word_suffix='</w>', unk_token=EOS, fuse_unk=False)
    )
    engine.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r'\s+'), ' '),
            normalizers.Lowercase(),
        ]
    )
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior='removed', invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    engine.add_special_tokens([name for name in (BOS, EOS) if name in vocab])
    return engine
