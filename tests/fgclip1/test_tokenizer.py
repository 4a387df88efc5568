"""CLIP's tokenizer: the same ids as transformers', and its edges."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE

from fgclip2_det.fgclip1.tokenizer import BOS, EOS, FGCLIP1Tokenizer

TEXTS = [
    '', 'a photo of a cat', 'A Photo of TWO Dogs.', "it's the dog's; they'll we've",
    '红色圆形', '😀 👩‍👩‍👧 naïve é', 'e\u0301 \u00e9', '日本語 한국어 العربية',
    '\x00\x01\t\x7f\u200b\ufeff\u3000x', '  two  spaces   three ', ' ', '\n\na\r\nb',
    '12345 3.14 !!! a--b', '<|endoftext|>', 'a <|startoftext|> b<|endoftext|>c',
    '<|EndOfText|>', 'İ ß ﬁ ΟΔΟΣ', 'the ' * 200, '红' * 90,
]  # fmt: skip


def write_small(folder: Path) -> Path:
    """``vocab.json`` and ``merges.txt`` in the released layout, trained here."""
    generator = random.Random(1)
    words = (
        "the other photo of a cat dog dogs red earth at heart it's they'll 红色 圆形"
    )
    lines = [' '.join(generator.choices(words.split(), k=8)) for _ in range(300)]
    engine = Tokenizer(BPE(end_of_word_suffix='</w>', unk_token=EOS))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, end_of_word_suffix='</w>',
        show_progress=False,
    )  # fmt: skip
    engine.train_from_iterator([line.replace(' ', '\n') for line in lines], trainer)
    merges = [tuple(m) for m in json.loads(engine.to_str())['model']['merges']]
    pieces = [*alphabet, *(f'{c}</w>' for c in alphabet), *map(''.join, merges)]
    vocab = {piece: i for i, piece in enumerate([*dict.fromkeys(pieces), BOS, EOS])}
    folder.mkdir(exist_ok=True)
    (folder / 'vocab.json').write_text(json.dumps(vocab), encoding='utf-8')
    rows = ['#version: 0.2', *(' '.join(pair) for pair in merges)]
    (folder / 'merges.txt').write_text('\n'.join(rows) + '\n', encoding='utf-8')
    return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return write_small(tmp_path_factory.mktemp('bpe'))


def random_texts(count: int) -> list[str]:
    alphabet = "aaeehrtdogc      \n\t.,'19ABé😀<|>/红色圆形"
    generator = random.Random(0)
    return [
        ''.join(generator.choices(alphabet, k=generator.randint(1, 120)))
        for _ in range(count)
    ]


@pytest.fixture(scope='module')
def theirs(folder):
    transformers = pytest.importorskip('transformers', minversion='5.0')
    return transformers.CLIPTokenizer.from_pretrained(folder)


def assert_same_ids(ours: FGCLIP1Tokenizer, theirs) -> None:
    texts = TEXTS + random_texts(500)
    for length in (77, 248):
        options = dict(padding='max_length', truncation=True, max_length=length)
        wanted = theirs(texts, return_tensors='pt', **options)['input_ids']
        actual = ours(texts, length)
        wrong = (actual != wanted).any(1).nonzero()[:, 0].tolist()
        assert [texts[i] for i in wrong] == []
        assert (actual == ours.eos_id).any(1).all()


def test_same_ids_from_vocab_and_merges(folder, theirs):
    ours = FGCLIP1Tokenizer.from_folder(folder)
    assert len(ours.files) == 2
    assert ours.count('a photo of a cat') == 7
    assert_same_ids(ours, theirs)


def test_same_ids_from_tokenizer_json(folder, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / 'tokenizer.json').is_file()
    assert_same_ids(FGCLIP1Tokenizer.from_folder(tmp_path), theirs)


def test_eos_is_kept_and_class_names_stay_whole(folder):
    tokenizer = FGCLIP1Tokenizer.from_folder(folder)
    ids = tokenizer('red cat ' * 90)
    assert ids[0, 0] == tokenizer.start[0] and ids[0, -1] == tokenizer.eos_id
    assert (ids[0, 1:-1] < tokenizer.start[0]).all()
    with pytest.raises(ValueError, match=r'182 tokens, 77 is the limit: .*shorten'):
        tokenizer('red cat ' * 90, 77, truncation=False)
    with pytest.raises(ValueError, match='length must be 2 or more, got 1'):
        tokenizer('cat', 1)


def test_files_are_saved_byte_for_byte(folder, tmp_path):
    tokenizer = FGCLIP1Tokenizer.from_folder(folder)
    tokenizer.save(tmp_path)
    for name in ('vocab.json', 'merges.txt'):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert FGCLIP1Tokenizer.from_folder(tmp_path).digest == tokenizer.digest


def test_a_tokenizer_of_bytes_is_written(tmp_path):
    tokenizer = FGCLIP1Tokenizer.of_bytes()
    tokenizer.save(tmp_path)
    again = FGCLIP1Tokenizer.from_folder(tmp_path)
    texts = ['red cat', '红色', '']
    assert again(texts).equal(tokenizer(texts)) and again.eos_id == 513


def remove(folder: Path) -> None:
    (folder / 'merges.txt').unlink()


@pytest.mark.parametrize(
    ('damage', 'match'),
    [
        (remove, 'neither tokenizer.json nor vocab.json and merges.txt'),
        (lambda f: (f / 'vocab.json').write_text('[1]'), 'vocab.json is damaged'),
        (lambda f: (f / 'vocab.json').write_text('{"a": 0}'), 'does not fit'),
        (lambda f: (f / 'merges.txt').write_text('a b c\n'), 'expected two pieces'),
        (lambda f: (f / 'tokenizer.json').write_text('{'), 'tokenizer.json is damaged'),
    ],
    ids=['no merges', 'a list', 'one piece', 'three pieces', 'half a file'],
)
def test_damaged_files(tmp_path, damage, match):
    folder = write_small(tmp_path / 'bpe')
    damage(folder)
    with pytest.raises(ValueError, match=match):
        FGCLIP1Tokenizer.from_folder(folder)


def test_a_tokenizer_of_another_model(fgclip2_tiny, tmp_path):
    engine = Tokenizer(BPE({'a': 0, '<unk>': 1}, [], unk_token='<unk>'))
    engine.save(str(tmp_path / 'tokenizer.json'))
    with pytest.raises(ValueError, match=r"names no <\|startoftext\|> .*CLIP's"):
        FGCLIP1Tokenizer.from_folder(tmp_path)
