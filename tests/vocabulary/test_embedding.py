"""The cache of a folder, alias embeddings and class cosines."""

import copy
import os
import shutil
import time

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.checkpoint import ASSETS
from fgclip2_det.vocabulary import (
    TEMPLATE_SETS,
    Vocabulary,
    class_cosines,
    embedding,
    fingerprint,
)
from fgclip2_det.vocabulary.embedding import TextSource, embed_groups

ALIASES = [['sofa', 'couch', '沙发'], ['cat'], ['狗', 'dog']]


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.fixture
def folder(tmp_path):
    for path in ASSETS.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def test_second_run_loads_no_text_tower(encoder, tmp_path, monkeypatch):
    vocabulary = Vocabulary(ALIASES, 'chinese')
    first = vocabulary.embed('fgclip2_tiny', tmp_path)
    aliases = vocabulary.embed_aliases(str(ASSETS), tmp_path)
    torch.testing.assert_close(first, vocabulary.embed(encoder))
    monkeypatch.setattr(FGCLIP2, 'from_pretrained', None)
    monkeypatch.setattr(encoder, 'encode_text', None)
    assert torch.equal(vocabulary.embed('fgclip2_tiny', tmp_path), first)
    assert torch.equal(vocabulary.embed(ASSETS, tmp_path), first)
    assert torch.equal(vocabulary.embed_aliases(ASSETS, tmp_path), aliases)
    assert torch.equal(vocabulary.embed(encoder, tmp_path), first)  # the same key
    with pytest.raises(TypeError):  # another template: the tower is needed
        Vocabulary(ALIASES).embed(ASSETS, tmp_path)


def test_second_run_of_lvis_with_80_templates(tmp_path, monkeypatch):
    """96,240 prompts without an encoder; random vectors stand for the first run's."""
    generator = torch.Generator().manual_seed(0)
    unit = F.normalize(torch.randn(1203, 128, generator=generator), dim=-1)
    monkeypatch.setattr('fgclip2_det.vocabulary.embedding._embed', lambda *_: unit)
    vocabulary = Vocabulary.from_list_name('lvis', templates='imagenet80')
    assert sum(map(len, vocabulary.prompts())) == 96_240
    vocabulary.embed(ASSETS, tmp_path)
    monkeypatch.setattr('fgclip2_det.vocabulary.embedding._embed', None)
    monkeypatch.setattr(FGCLIP2, 'from_pretrained', None)
    assert torch.equal(vocabulary.embed(ASSETS, tmp_path), unit)


def test_fingerprint_tells_models_and_tokenizers_apart(encoder, folder):
    same = fingerprint(encoder)
    assert fingerprint(folder) == fingerprint(str(folder)) == same
    assert fingerprint(FGCLIP2.from_pretrained(folder, towers='text')) == same
    weights = load_file(folder / 'model.safetensors')
    for name, changes in (
        ('vision_model.head.probe', False), ('boxtext_head.weight', True)
    ):  # fmt: skip
        changed = dict(weights, **{name: weights[name] * 1.5})
        save_file(changed, folder / 'model.safetensors')
        assert (fingerprint(folder) != same) == changes
    save_file(weights, folder / 'model.safetensors')
    with open(folder / 'tokenizer.model', 'ab') as file:
        file.write(b'\x1a\x00')
    assert fingerprint(folder) != same
    (folder / 'tokenizer.model').unlink()
    with pytest.raises(ValueError, match='has no tokenizer'):
        fingerprint(folder)
    del weights['boxtext_head.weight']
    save_file(weights, folder / 'model.safetensors')
    with pytest.raises(ValueError, match='no text tower of FG-CLIP 2'):
        fingerprint(folder)
    with pytest.raises(ValueError, match='no text tower of FG-CLIP 2'):
        Vocabulary(['cat']).embed(FGCLIP2.from_size('tiny', towers='vision'))


@pytest.mark.parametrize('way', ['in place', '.data'])
def test_changed_token_rows_are_embedded_anew(tmp_path, way):
    """The rows of two names, one of many that a sample of the weights misses."""
    encoder, vocabulary = FGCLIP2.from_pretrained('fgclip2_tiny'), Vocabulary(ALIASES)
    before = vocabulary.embed(encoder, tmp_path)
    tokens = encoder.tokenizer(['cat', 'dog'], 64).unique()
    tokens = tokens[tokens > encoder.tokenizer.eos_id]
    table = encoder.text_model.embeddings.token_embedding.weight
    with torch.no_grad():
        (table if way == 'in place' else table.data)[tokens] *= -1
    after = vocabulary.embed(encoder, tmp_path)
    assert torch.equal(after, vocabulary.embed(encoder))
    assert (F.cosine_similarity(before, after)[1:] < 0.99).all()


def test_fingerprint_covers_the_config_and_sees_new_files(encoder, folder):
    path = folder / 'config.json'
    path.write_text(path.read_text().replace('"num_attention_heads": 4',
                                             '"num_attention_heads": 2'))  # fmt: skip
    other = fingerprint(folder)
    assert other != fingerprint(encoder)
    assert other == fingerprint(FGCLIP2.from_pretrained(folder))


def test_a_folder_is_read_once(encoder, folder, monkeypatch):
    old = time.time() - 60
    for path in folder.iterdir():
        os.utime(path, (old, old))
    now = time.time()
    monkeypatch.setattr('fgclip2_det.io.digests.time.time', lambda: now + 60)
    same = fingerprint(folder)
    monkeypatch.setattr('fgclip2_det.vocabulary.embedding.encoder_digest', None)
    assert fingerprint(folder) == same
    weights = load_file(folder / 'model.safetensors')
    save_file(weights, folder / 'model.safetensors')
    os.utime(folder / 'model.safetensors', (old, old))  # as an archive's files have
    with pytest.raises(TypeError):
        fingerprint(folder)


def test_aliases_one_by_one(encoder):
    vocabulary = Vocabulary(ALIASES, ['{}', 'a {}'])
    assert vocabulary.class_of_alias.tolist() == [0, 0, 0, 1, 2, 2]
    embeds = vocabulary.embed_aliases(encoder)
    names = [name for group in ALIASES for name in group]
    for name, embed in zip(names, embeds, strict=True):
        prompts = encoder.encode_text([name, f'a {name}'], 'box', normalize=True)
        torch.testing.assert_close(embed, F.normalize(prompts.mean(0), dim=-1))


@pytest.mark.parametrize('alias_reduce', ['max', 'mean'])
def test_class_cosines_against_a_loop(alias_reduce):
    generator = torch.Generator().manual_seed(0)
    regions, aliases = (
        F.normalize(torch.randn(n, 8, generator=generator), dim=-1) for n in (5, 6)
    )
    aliases.requires_grad_()
    owner = Vocabulary(ALIASES).class_of_alias
    actual = class_cosines(regions, aliases, owner, alias_reduce)
    assert actual.shape == (5, 3)
    expected = torch.stack(
        [
            torch.stack(
                [
                    getattr((region @ aliases[owner == k].T), alias_reduce)()
                    for k in range(3)
                ]
            )
            for region in regions
        ]
    )
    torch.testing.assert_close(actual, expected)
    for result in (actual, expected):
        result.square().sum().backward(inputs=[aliases])
    first, both = actual.square().sum(), aliases.grad
    grad = torch.autograd.grad(
        class_cosines(regions, aliases, owner, alias_reduce).square().sum(), aliases
    )[0]
    torch.testing.assert_close(both, 2 * grad)
    assert first > 0
    assert class_cosines(regions[:0], aliases, owner).shape == (0, 3)
    with pytest.raises(ValueError, match="must be 'max' or 'mean', got 'sum'"):
        class_cosines(regions, aliases, owner, 'sum')
    with pytest.raises(ValueError, match='each of 5 aliases'):
        class_cosines(regions, aliases[:5], owner)


def test_prompts_are_lower_case_and_chinese():
    assert Vocabulary(['Red_Cup'], ['A {}'], check=False).prompts() == [['a red cup']]
    templates = TEMPLATE_SETS['chinese']
    assert len(set(templates)) == len(templates)
    assert Vocabulary(['猫'], 'chinese').prompts()[0][:2] == ['猫', '一张猫的照片']


def test_progress_bar(encoder, monkeypatch):
    """It counts the prompts and stays away where nobody looks (disable=None)."""
    seen = []

    class Bar:
        def __init__(self, total, disable, **options):
            seen.append((total, disable))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def update(self, count):
            seen.append(count)

    monkeypatch.setattr('fgclip2_det.vocabulary.embedding.tqdm', Bar)
    Vocabulary(ALIASES).embed(encoder, batch_size=4)
    assert seen == [(6, None), 4, 2]


def test_a_prompt_is_encoded_once_whatever_groups_have_it(encoder, monkeypatch):
    """Groups that share prompts, one with a prompt twice; against one at a time."""
    groups = [['cat', 'a cat on a red chair'], ['dog', 'cat'], ['狗', '狗', 'dog']]
    seen = []
    own = FGCLIP2.encode_text

    def watched(self, texts, *args):
        seen.append(len(texts))
        return own(self, texts, *args)

    monkeypatch.setattr(FGCLIP2, 'encode_text', watched)
    monkeypatch.setattr(embedding, 'TOKENIZED', 3)
    actual = embed_groups(TextSource(encoder), groups, batch_size=3)
    assert seen == [3, 1]
    monkeypatch.undo()
    expected = torch.stack([
        encoder.encode_text(group, normalize=True).mean(0) for group in groups
    ])  # fmt: skip
    expected = F.normalize(expected, dim=-1).detach()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_long_prompt_is_refused_before_any_is_encoded(encoder, monkeypatch):
    monkeypatch.setattr(FGCLIP2, 'encode_text', None)
    with pytest.raises(ValueError, match='64 is the limit'):
        embed_groups(TextSource(encoder), [['cat'], ['cat ' * 80]], batch_size=1)


def test_bfloat16_text_towers_embed_nearly_the_same(encoder):
    low = copy.deepcopy(encoder).to(torch.bfloat16)
    names = Vocabulary(['red circle', '蓝色正方形', 'black star'], 'imagenet80')
    exact, half = names.embed(encoder), names.embed(low)
    assert half.dtype == torch.float32
    assert F.cosine_similarity(exact, half).min() > 0.999


def test_prompts_of_clips_tower_are_sorted_by_length():
    """Shortest first, ids as the tokenizer pads them."""
    encoder = FGCLIP1.from_size('tiny')
    texts = ['a photo of a large red circle.', 'cat', 'a cat']
    prompts = embedding._Prompts(encoder, texts)
    assert prompts.order.tolist() == [1, 2, 0]
    ids = encoder.tokenize(texts)[prompts.order]
    assert torch.equal(prompts.ids(0, 2), ids[:2])
    assert torch.equal(prompts.ids(2, 9), ids[2:])
