"""Tokenizer: the same ids as transformers' Gemma tokenizer, and its edges."""

import pickle
import random
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

import fgclip2_det
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer

SHIPPED = Path(fgclip2_det.__file__).parent / 'assets' / 'fgclip2_tiny'
TOOL = Path(__file__).parents[2] / 'tools' / 'train_tokenizer.py'
SPECIALS = {f'{n}_token': f'<{n}>' for n in ('pad', 'eos', 'bos', 'unk', 'mask')}
TEXTS = [
    '', 'a red circle', 'A Photo of TWO Dogs.', '红色圆形', '白色杯子 and a cat',
    '😀 👩‍👩‍👧 naïve é', '日本語 한국어 العربية', '\x00\x01\t\x7f\u200b\ufeff\u3000x',
    '  two  spaces   three ', ' ', '\n\n\na\r\nb', '<eos>', 'a <EOS> b<pad><pad>c<bos>',
    '<unk><mask> <0x41>', '[@bos@]<h1>x</h1>', '▁▁a ▁ b', 'İ ß ﬁ', 'the ' * 200,
    '红' * 90,
]  # fmt: skip


def random_texts(count: int) -> list[str]:
    alphabet = 'aaeehrt      \n\n\t.,19ABé😀<>/▁红色圆形正方\u200d'
    generator = random.Random(0)
    return [
        ''.join(generator.choices(alphabet, k=generator.randint(1, 120)))
        for _ in range(count)
    ]


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """Folder with a ``tokenizer.model`` in Gemma's manner, with odd pieces."""
    folder = tmp_path_factory.mktemp('gemma')
    words = (
        'the other three red earth at heart tree aa aaa the\n\n\n  ((( 红色 圆形 正方形'
    )
    generator = random.Random(1)
    lines = [' '.join(generator.choices(words.split(' '), k=8)) for _ in range(400)]
    with open(folder / 'tokenizer.model', 'wb') as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=file, model_type='bpe',
            vocab_size=400, hard_vocab_limit=False, byte_fallback=True,
            normalization_rule_name='identity', add_dummy_prefix=False,
            remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
            pad_id=0, eos_id=1, bos_id=2, unk_id=3,
            pad_piece='<pad>', eos_piece='<eos>', bos_piece='<bos>',
            user_defined_symbols=['<mask>', '[@bos@]', '\n', '\n\n', '▁▁', '<h1>'],
            num_threads=1, minloglevel=2,
        )  # fmt: skip
    return folder


def gemma(folder: Path):
    """Transformers' tokenizer of the pieces that sentencepiece reads in a model."""
    pytest.importorskip('transformers', minversion='5.0')
    from transformers import GemmaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    model = SentencePieceProcessor(model_file=str(folder / 'tokenizer.model'))
    vocab = {model.id_to_piece(i): i for i in range(len(model))}
    odd = [piece for piece in ('[@bos@]', '\n', '\n\n', '▁▁', '<h1>') if piece in vocab]
    return GemmaTokenizer(
        vocab=vocab, merges=generate_merges(vocab), extra_special_tokens=odd,
        add_bos_token=False, add_eos_token=True, padding_side='right',
        model_input_names=['input_ids'], **SPECIALS,
    )  # fmt: skip


def assert_same_ids(ours: FGCLIP2Tokenizer, reference) -> None:
    texts = TEXTS + random_texts(1500)
    lowered = [text.lower() for text in texts]
    for length in (64, 5):
        expected = reference(
            lowered, padding='max_length', truncation=True, max_length=length
        )
        assert set(expected) == {'input_ids'}
        assert ours(texts, length).tolist() == expected['input_ids']


@pytest.fixture
def shipped() -> FGCLIP2Tokenizer:
    return FGCLIP2Tokenizer.from_folder(SHIPPED)


def test_model_file_gives_the_ids_of_transformers(trained):
    for folder in (SHIPPED, trained):
        assert_same_ids(FGCLIP2Tokenizer.from_folder(folder), gemma(folder))


def test_json_file_gives_the_ids_of_transformers(trained, tmp_path):
    """Also with the padding and truncation that its last user left in the file."""
    reference = gemma(trained)
    reference('a', padding='max_length', truncation=True, max_length=7)
    reference.save_pretrained(tmp_path)
    ours = FGCLIP2Tokenizer.from_folder(tmp_path)
    assert_same_ids(ours, reference)
    assert torch.equal(ours(TEXTS), FGCLIP2Tokenizer.from_folder(trained)(TEXTS))


def test_transformers_reads_the_shipped_folder_alike(shipped):
    transformers = pytest.importorskip('transformers', minversion='5.0')
    pytest.importorskip('google.protobuf', reason='transformers needs it for .model')
    assert_same_ids(shipped, transformers.AutoTokenizer.from_pretrained(SHIPPED))


def test_plain_text_gives_the_ids_of_sentencepiece(shipped):
    model = SentencePieceProcessor(model_file=str(SHIPPED / 'tokenizer.model'))
    for text in ('a red circle', '红色的圆形', 'two dogs, 3 cats.', '猫 and 😀'):
        tokens = [*model.encode(text), 1]
        assert shipped(text)[0].tolist() == tokens + [0] * (64 - len(tokens))


def test_what_sentencepiece_would_do_otherwise(shipped):
    """'<eos>' in a text is the special token, as the fast tokenizer has it."""
    assert shipped('<eos>', 4).tolist() == [[1, 1, 0, 0]]
    model = SentencePieceProcessor(model_file=str(SHIPPED / 'tokenizer.model'))
    assert 1 not in model.encode('<eos>')


@pytest.mark.parametrize(
    ('name', 'pad_id', 'eos_id'),
    [
        ('spm_google/test_model.model', 0, 2),
        ('spm_google/test_ja_model.model', 0, 2),
        ('spm_torchtune/m.model', 0, 2),
        ('spm_torchtune/sentencepiece.model', 0, 1),
    ],
)
def test_other_models_run_as_their_file_says(shared, tmp_path, name, pad_id, eos_id):
    """Unigram models with a normaliser and a dummy prefix: sentencepiece decides."""
    source = shared / 'data' / 'metadata' / name
    shutil.copyfile(source, tmp_path / 'tokenizer.model')
    ours = FGCLIP2Tokenizer.from_folder(tmp_path)
    model = SentencePieceProcessor(model_file=str(source))
    assert ours.vocab_size == len(model)
    for text, row in zip(TEXTS, ours(TEXTS).tolist(), strict=True):
        tokens = [*model.encode(text.lower())[:63], eos_id]
        assert row == tokens + [pad_id] * (64 - len(tokens))


def test_shape_padding_and_case(shipped):
    ids = shipped(['', 'Red CIRCLE', 'red circle'], 196)
    assert ids.shape == (3, 196) and ids.dtype == torch.int64
    assert ids[0].tolist() == [1] + [0] * 195
    assert torch.equal(ids[1], ids[2])
    assert shipped([]).shape == (0, 64)
    assert torch.equal(shipped('red circle'), shipped(['red circle']))


def test_truncation_keeps_eos_or_raises(shipped):
    """'a dog' repeated: 2 tokens each and EOS, so 31 fit in 64 and 32 do not."""
    assert shipped.count('a dog') == 3
    full, over = 'a dog' + ' a dog' * 30, 'a dog' + ' a dog' * 31
    assert shipped.count(full) == 63 and shipped.count(over) == 65
    assert shipped(over)[0, -1] == 1
    assert shipped(over, 5)[0].tolist() == [*shipped(over)[0, :4].tolist(), 1]
    assert torch.equal(shipped(full, truncation=False), shipped(full))
    with pytest.raises(ValueError, match="65 tokens, 64 is the limit: 'a dog a dog"):
        shipped(['cat', over], truncation=False)


def test_json_wins_over_model(trained, tmp_path):
    shutil.copyfile(SHIPPED / 'tokenizer.model', tmp_path / 'tokenizer.model')
    engine = FGCLIP2Tokenizer.from_folder(trained).engine
    engine.save(str(tmp_path / 'tokenizer.json'))
    vocab_size = FGCLIP2Tokenizer.from_folder(tmp_path).vocab_size
    assert vocab_size == engine.get_vocab_size() != 2048


def test_round_trips(shipped, tmp_path):
    shipped.save(tmp_path / 'new')
    again = FGCLIP2Tokenizer.from_folder(tmp_path / 'new')
    again.save(tmp_path / 'new')  # onto itself
    names = ['tokenizer.model', 'tokenizer_config.json']
    assert sorted(file.name for file in (tmp_path / 'new').iterdir()) == names
    for name in names:
        assert (tmp_path / 'new' / name).read_bytes() == (SHIPPED / name).read_bytes()
    for copy in (again, pickle.loads(pickle.dumps(shipped))):
        assert torch.equal(copy(TEXTS), shipped(TEXTS))


def test_missing_and_damaged_files(tmp_path, trained):
    with pytest.raises(ValueError, match='holds neither'):
        FGCLIP2Tokenizer.from_folder(tmp_path)
    data = (trained / 'tokenizer.model').read_bytes()
    for cut in (0, 1, 100, len(data) // 2, len(data) - 100, len(data) - 1):
        (tmp_path / 'tokenizer.model').write_bytes(data[:cut])
        with pytest.raises(ValueError, match='model is damaged'):
            FGCLIP2Tokenizer.from_folder(tmp_path)
    (tmp_path / 'tokenizer.json').write_text('{"version": "1.0", "added')
    with pytest.raises(ValueError, match='json is damaged'):
        FGCLIP2Tokenizer.from_folder(tmp_path)


def test_bad_input(shipped):
    with pytest.raises(ValueError, match='text 1 must be a string, got int'):
        shipped(['cat', 3])
    with pytest.raises(ValueError, match='text 0 must be a string, got NoneType'):
        shipped(None)
    with pytest.raises(ValueError, match='text 0 is not valid Unicode'):
        shipped('\ud83d')
    with pytest.raises(ValueError, match='length must be 1 or more, got 0'):
        shipped('cat', 0)
    with pytest.raises(TypeError, match='attention_mask'):
        shipped('cat', attention_mask=torch.ones(1, 64))


def test_shipped_tokenizer_knows_colours_and_shapes(shipped):
    words = runpy.run_path(str(TOOL))
    assert (shipped.vocab_size, shipped.pad_id, shipped.eos_id) == (2048, 0, 1)
    assert sum(file.stat().st_size for file in SHIPPED.glob('tokenizer*')) < 100_000
    for english, chinese in (words['COLOURS'] | words['SHAPES']).items():
        for text in (english, f' {english}', chinese):
            assert shipped.count(text) == 2, text  # one piece and EOS


def test_the_tool_makes_the_shipped_files(shared, tmp_path):
    tags = shared / 'data' / 'metadata' / 'ram_tags'
    command = [sys.executable, TOOL, '--tags', tags, '--out', tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    for name in ('tokenizer.model', 'tokenizer_config.json'):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()


def test_the_tool_refuses_a_folder_without_tags(tmp_path):
    command = [sys.executable, TOOL, '--tags', tmp_path, '--out', tmp_path]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2 and 'ram_tag_list.txt is missing' in run.stderr
