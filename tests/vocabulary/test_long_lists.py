"""Long lists: languages, and names that do not compete."""

import pytest
import torch

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.vocabulary import load_list
from fgclip2_det.vocabulary.long_lists import read_long_list, select_among


def test_the_tags_in_each_language():
    tags = load_list('ram')
    english = read_long_list()
    assert len(english) == 4585 and english.entries[3] == ('abalone',)
    assert english.meanings[3] == ('abalone', '鲍鱼')
    chinese = read_long_list('ram', 'zh')
    assert len(chinese) == len(set(tags.chinese)) == 4379
    both = read_long_list('ram', 'both')
    assert both.entries[3] == ('abalone', '鲍鱼')
    for listed in english, chinese, both:  # a vocabulary refuses a name of two classes
        names = Vocabulary([list(entry) for entry in listed.entries], check=False)
        assert len(names) == len(listed) == len(listed.meanings)


def test_files_and_names(tmp_path):
    (tmp_path / 'own.txt').write_text('sofa | couch\n猫\n', 'utf-8')
    wanted = (('sofa', 'couch'), ('猫',))
    assert read_long_list(tmp_path / 'own.txt').entries == wanted
    assert read_long_list(str(tmp_path / 'own.txt')).meanings == wanted
    assert read_long_list([['sofa', 'couch'], '猫']).entries == wanted
    for names, language, message in (
        ('openimages', 'zh', "has no Chinese name; take language 'en'"),
        ('ram', 'de', "language must be one of .*'de'"),
        (str(tmp_path / 'none.txt'), 'en', 'cannot be read'),
    ):
        with pytest.raises(ValueError, match=message):
            read_long_list(names, language)


def test_what_can_be_right_together():
    """By the words, by a shared Chinese name, by the built-in lists, by the embedding;
    names of the training exclude each other as they did there."""
    meanings = [
        ('sofa', '沙发'), ('couch',), ('bottle',), ('wine bottle',), ('belt', '皮带'),
        ('leash', '皮带'), ('cat',), ('kitten',), ('dog',), ('hot dog',),
    ]  # fmt: skip
    embeds = torch.eye(10)
    embeds[7] = torch.nn.functional.normalize(embeds[7] + 4 * embeds[6], dim=0)
    found = select_among(meanings, embeds, ['dog', 'hot dog'])
    assert found.names == () and found.apart.shape == (10, 10)
    pairs = {(a, b) for a, b in found.apart.nonzero().tolist()}
    assert pairs == {(a, b) for x, y in ((0, 1), (2, 3), (4, 5), (6, 7))
                     for a, b in ((x, y), (y, x))}  # fmt: skip
    assert found.known.tolist() == [False] * 8 + [True] * 2
    untrained = select_among(meanings, embeds)
    assert untrained.apart[8, 9]  # a hot dog may be a kind of dog


def test_an_encoder_that_tells_nothing_apart():
    """Words decide, or all names would be right for everything."""
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    names = [['cat'], ['dog'], ['bottle'], ['wine bottle'], ['tree']]
    embeds = Vocabulary(names).embed(encoder)
    assert (embeds @ embeds.T).min() > 0.95
    found = select_among(names, embeds)
    assert found.apart.nonzero().tolist() == [[2, 3], [3, 2]]
