"""What the checker finds, and what it lets pass."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary import Vocabulary, check_names, check_vocabulary


@pytest.mark.parametrize(
    ('aliases', 'kind', 'names'),
    [
        ([['T-shirt'], ['dog'], ['t shirt']], 'duplicate', ('T-shirt', 't shirt')),
        ([['ＴＶ'], ['tv']], 'duplicate', ('ＴＶ', 'tv')),
        ([['cat', 'Cat']], 'duplicate', ('cat', 'Cat')),
        ([['skis', '滑雪板'], ['snowboard', '滑雪板']], 'shared', ('滑雪板', '滑雪板')),
        ([['sofa', 'couch'], ['couch']], 'shared', ('couch', 'couch')),
        ([['cats'], ['cat']], 'plural', ('cat', 'cats')),
        ([['tooth brush'], ['tooth brushes']], 'plural',
         ('tooth brush', 'tooth brushes')),
        ([['wall_knife'], ['wall knives']], 'plural', ('wall_knife', 'wall knives')),
        ([['baby'], ['kid', 'Babies']], 'plural', ('baby', 'Babies')),
        ([['people'], ['person']], 'plural', ('person', 'people')),
        ([['red_cup'], ['cat']], 'underscore', ('red_cup',)),
    ],
)  # fmt: skip
def test_one_finding(aliases, kind, names):
    findings = [f for f in check_names(aliases) if f.kind == kind]
    assert [f.names for f in findings] == [names]
    assert names[0] in findings[0].message
    others = {f.kind for f in check_names(aliases)} - {kind}
    assert others <= {'underscore'}


def test_what_is_fine():
    fine = [
        ['cat', '猫'],
        ['scissors'],
        ['glass'],
        ['bus'],
        ['child', 'children'],
        ['狗'],
    ]
    assert check_names(fine) == []


def test_warning_at_build():
    """One for a vocabulary; none when there is nothing to say or it is unwanted."""
    with pytest.warns(
        UserWarning, match=r"'cats' is the plural.* \(and 1 more\)"
    ) as caught:
        Vocabulary(['red_cup', 'cat', 'cats', 'dog', 'dogs', 'owl', 'owls'])
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Vocabulary(['cat', '狗'])
        Vocabulary(['cat', 'cats'], check=False)
    with pytest.raises(ValueError, match='names both class 0'):  # still refused
        Vocabulary([['skis', '滑雪板'], ['snowboard', '滑雪板']])


def test_near_synonyms_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    embeds = F.normalize(torch.randn(12, 4, generator=generator), dim=-1)
    vocabulary = Vocabulary([f'thing {k}' for k in 'abcdefghijkl'])
    findings = check_vocabulary(vocabulary, embeds=embeds, threshold=0.5)
    cosines = {
        (vocabulary.names[i], vocabulary.names[j]): float(embeds[i] @ embeds[j])
        for i in range(12)
        for j in range(i + 1, 12)
    }
    near = sorted((p for p in cosines if cosines[p] > 0.5), key=lambda p: -cosines[p])
    assert len(near) > 3
    assert [f.names for f in findings] == near
    assert f'{cosines[near[0]]:.3f}' in findings[0].message
    with pytest.raises(ValueError, match='each of 12 classes, got 11'):
        check_vocabulary(vocabulary, embeds=embeds[1:])


def test_encoder_finds_long_prompts_then_synonyms():
    for encoder in ('fgclip2_tiny', FGCLIP2.from_pretrained('fgclip2_tiny')):
        long = Vocabulary(['cat', 'wide ' * 80, '很' * 70])
        findings = check_vocabulary(long, encoder)
        assert [f.kind for f in findings] == ['long', 'long']
        assert '64 is the limit' in findings[0].message
        colours = Vocabulary(['red cup', 'white cup', '白色杯子'])
        findings = check_vocabulary(colours, encoder, threshold=-1)
        embeds = colours.embed(encoder)
        pairs = {
            float(embeds[i] @ embeds[j]): (i, j) for i, j in ((0, 1), (0, 2), (1, 2))
        }
        expected = [pairs[cosine] for cosine in sorted(pairs, reverse=True)]
        actual = [tuple(map(colours.names.index, f.names)) for f in findings]
        assert actual == expected
