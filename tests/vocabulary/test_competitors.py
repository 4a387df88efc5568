"""What names compete with: texts that are wrong wherever the name is right."""

import pytest
import torch
import torch.nn.functional as F

from fgclip2_det.models.open_softmax import open_softmax
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.competitors import (
    CompetitorOptions,
    add_negatives,
    combine_names,
    combined_names,
    select_competitors,
    split_words,
)
from fgclip2_det.vocabulary.name_lists import load_list


def spread(count: int, dims: int = 64) -> torch.Tensor:
    """Embeddings of texts that all mean something else."""
    return F.normalize(
        torch.randn(count, dims, generator=torch.Generator().manual_seed(0)), dim=1
    )


def select(names, candidates, trained=(), embeds=None):
    aliases = [[name] if isinstance(name, str) else name for name in names]
    embeds = spread(len(names) + len(candidates)) if embeds is None else embeds
    own, others = embeds[: len(names)], embeds[len(names) :]
    return select_competitors(aliases, own, candidates, others, trained)


@pytest.mark.parametrize(
    'names, combined',
    [
        (['red star', 'red ring', 'blue star'], []),  # neither blue nor ring recurs
        (['red star', 'red ring', 'blue star', 'blue ring'], []),  # nothing is missing
        (['red star', 'red ring', 'red cube', 'blue star', 'Blue_cube', 'green ring',
          'green star'], ['blue ring', 'green cube']),
        (['White_Rook', 'black rook', 'white king', 'black king', 'white queen',
          'black bishop', 'dog'], []),
        (['red star'] * 4, []),
    ],
)  # fmt: skip
def test_words_that_recur_combine(names: list[str], combined: list[str]):
    assert combine_names(names) == combined


def test_a_colour_and_shape_grid_is_completed():
    colours, shapes = ('red', 'green', 'blue', 'black'), ('star', 'ring', 'cube')
    grid = [f'{colour} {shape}' for colour in colours for shape in shapes]
    given = [name for i, name in enumerate(grid) if i % 4 != 1]
    assert sorted(given + combine_names(given)) == sorted(grid)


@pytest.mark.parametrize('name', ['coco', 'lvis', 'objects365', 'openimages'])
def test_everyday_names_do_not_combine(name: str):
    assert combine_names(load_list(name).names) == []


def test_words_of_both_languages():
    assert split_words('Red_circle  x') == ('red', 'circle', 'x')
    assert split_words('红色 U型管') == ('红', '色', 'u', '型', '管')


@pytest.mark.parametrize(
    'name, candidate, competes',
    [
        ('bottle', 'wine bottle', False),  # a kind of it
        ('bottle', 'bottle opener', True),  # something else
        ('wine bottle', 'bottle', False),  # what it is
        ('wine bottle', 'beer bottle', True),
        ('striped red circle', 'red circle', False),
        ('a dog that eats a hot dog', 'hot dog', False),
        ('a dog that eats a hot dog', 'cat', True),
        ('cat', 'caterpillar', True),  # no word of it
        ('圆形', '红色圆形', False),
        ('圆形', '圆形红', True),
        ('红色圆形', '蓝色圆形', True),
        ('Traffic_Light', 'traffic light', False),  # equal
    ],
)
def test_kinds_and_parts_do_not_compete(name: str, candidate: str, competes: bool):
    chosen = select([name], [candidate])
    assert chosen.rivals(0) == ([candidate] if competes else [])
    assert chosen.embeds.shape == (len(chosen.names), 64)


@pytest.mark.parametrize(
    'name, candidate, competes',
    [
        ('狗', 'dog', False),
        ('dog', '狗', False),
        ('杯子', 'Cup', False),
        ('sofa', 'Couch', False),  # LVIS's alias of COCO's class
        ('tvmonitor', 'tv', False),  # PASCAL VOC's word
        ('bowl', 'Bowl/Basin', False),  # Objects365 writes two words for one class
        ('手机', 'Cell Phone', False),
        ('computer mouse', 'mouse (computer equipment)', False),
        ('man', 'person', False),
        ('man', 'woman', True),  # both are aliases of LVIS's person
        ('狗', 'cat', True),
        ('热狗', 'dog', True),
    ],
)
def test_the_built_in_lists_tell_what_is_the_same(name, candidate, competes):
    assert select([name], [candidate]).rivals(0) == ([candidate] if competes else [])
    apart = select([name, candidate], []).apart
    assert apart.tolist() == [[False, not competes], [not competes, False]]
    known = select([name], [candidate], [candidate]).known
    assert known.tolist() == [not competes]  # a trained name in other words


def test_a_candidate_related_to_any_alias_does_not_compete():
    chosen = select([['sofa', 'couch'], 'dog'], ['chair', 'leather couch'])
    assert chosen.rivals(0) == ['chair']
    assert chosen.rivals(1) == ['leather couch', 'chair']  # with another name it does
    assert torch.equal(chosen.embeds, spread(4)[[3, 2]])  # in the order of the names


def test_names_of_the_training_exclude_each_other():
    trained = ['dog', 'hot dog', 'cat']
    assert select(['dog'], trained, trained).rivals(0) == ['hot dog', 'cat']
    assert select(['dog'], trained).rivals(0) == ['cat']


def test_texts_that_mean_the_same_do_not_compete():
    """The threshold is that of TIC, 0.95, on either side."""
    own = torch.tensor([[1.0, 0.0]])
    angles = torch.tensor([0.96, 0.94]).acos()
    others = torch.stack([angles.cos(), angles.sin()], 1)
    names = ['couch', 'chair']
    chosen = select(['sofa'], names, embeds=torch.cat([own, others]))
    assert chosen.rivals(0) == ['chair']
    torch.testing.assert_close(chosen.embeds, others)
    kept = select(['sofa'], names, ['sofa', *names], torch.cat([own, others]))
    assert kept.rivals(0) == ['couch', 'chair']  # different classes in training


def test_an_untrained_encoder_says_nothing_of_meaning():
    """Its texts lie close together: only words are compared."""
    embeds = torch.nn.functional.normalize(1 + 0.01 * torch.randn(5, 32), dim=1)
    chosen = select(['dog', 'cat'], ['red cat', 'bird', 'fish'], embeds=embeds)
    assert chosen.rivals(1) == ['bird', 'fish']
    assert not chosen.apart[:, :2].any() and not chosen.known.any()


def test_what_means_a_trained_name_is_known():
    embeds = torch.nn.functional.normalize(torch.randn(6, 32), dim=1)
    embeds[1] = embeds[4]  # 沙发 means couch
    names, trained = ['dog', '沙发', 'red cube', 'bird'], ['couch', 'dog']
    chosen = select_competitors(
        [[name] for name in names], embeds[:4], trained, embeds[4:], trained,
        ['red cube'],
    )  # fmt: skip
    assert chosen.known.tolist() == [True, True, False, False]


def test_names_asked_together():
    """A name and a kind of it, and two words for one thing, are both right."""
    embeds = spread(5)
    embeds[3] = embeds[2]
    names = ['circle', 'red circle', 'sofa', 'couch', 'dog']
    apart = select(names, [], embeds=embeds).apart
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[2, 3] = expected[3, 2] = True
    assert torch.equal(apart, expected)
    assert not select(names, [], trained=names, embeds=embeds).apart.any()


def test_options_gather_texts_once():
    options = CompetitorOptions(lists=['coco'], names=['狗', 'Fire_hydrant'])
    names = options.candidates(['person', 'zebra finch'])
    assert names[:2] == ['person', 'zebra finch'] and names[-1] == '狗'
    assert len(names) == 80 + 2  # person and fire hydrant are in the list
    assert 'Fire_hydrant' not in names and 'fire hydrant' in names
    assert CompetitorOptions(trained=False).candidates(['person']) == []


PIECES = {
    'white king piece': ['white', 'king'],
    'black rook piece': ['black', 'rook'],
    'White  Rook piece': ['white', 'rook'],
    'black king piece': ['black', 'king'],
    'white elephant piece': ['white', 'elephant'],
}


def test_what_is_made_of_parts_of_trained_names_is_combined():
    """Whatever the names are; parts that no trained name has say nothing yet."""
    trained = ['white king piece', 'Black_rook piece']
    new = ['White  Rook piece', 'black king piece']
    assert combined_names(trained, PIECES) == new
    assert combined_names(trained) == combined_names([], PIECES) == []
    assert combined_names([*trained, 'white rook piece'], PIECES) == new[1:]
    grid = ['red star', 'red ring', 'red cube', 'blue star', 'blue cube', 'green star']
    words = combine_names([*grid, 'green ring'])
    assert words == ['blue ring', 'green cube']
    assert combined_names([*grid, 'green ring', *trained], PIECES) == [*words, *new]
    assert CompetitorOptions().candidates(trained, PIECES) == [*trained, *new]
    assert CompetitorOptions(combine=False).candidates(trained, PIECES) == trained


def test_names_of_the_same_parts_exclude_each_other():
    """Asked for one of them, the others compete, however near their texts are."""
    trained = ['white king piece', 'black rook piece']
    asked = [['white rook piece']]
    candidates = CompetitorOptions().candidates(trained, PIECES)
    near = torch.nn.functional.normalize(torch.ones(4, 8) + 0.01 * torch.eye(4, 8))
    found = select_competitors(
        asked, near[2:3], candidates, near, trained, combined_names(trained, PIECES)
    )
    assert sorted(found.rivals(0)) == [
        'black king piece', 'black rook piece', 'white king piece',
    ]  # fmt: skip
    assert not found.known.any()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(lists=['coco80']), 'coco80'),
        (dict(names='dog'), "must be a list of texts, got 'dog'"),
        (dict(names=[' ']), 'must be a list of texts'),
        (dict(same_meaning=0), r'same_meaning.*\(0, 1\], got 0'),
    ],
)
def test_options_that_cannot_be_meant(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        CompetitorOptions(**options)


def world(count: int = 30) -> tuple[list[str], torch.Tensor]:
    """Candidates of a detector's training, spread evenly."""
    return [f'thing{i}' for i in range(count)], spread(count + 6)


def test_outsiders_leave_the_scores_of_others_alone():
    """okapi and tapir are new and unlike each other, both scarves share a word."""
    trained, embeds = world()
    names = ['thing3', 'okapi', 'tapir', 'red scarf', 'blue scarf', 'thing4']
    own = torch.cat([embeds[3:4], embeds[30:34], embeds[4:5]])
    alone = select_competitors(
        [[n] for n in names], own, trained, embeds[:30], trained
    ).apart
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[:, 1:5] = True  # the columns of outsiders count for nobody
    expected[3, 4] = expected[4, 3] = False  # but for each other's siblings
    expected.fill_diagonal_(False)
    assert torch.equal(alone, expected)


def test_outsiders_that_are_near_compete():
    trained, embeds = world()
    near = F.normalize(embeds[30] + 0.5 * embeds[31], dim=0)
    own = torch.stack([embeds[30], near, embeds[2]])
    names = [['alligator'], ['crocodile'], ['thing2']]
    apart = select_competitors(names, own, trained, embeds[:30], trained).apart
    assert apart.tolist() == [[False, False, False], [False, False, False],
                              [True, True, False]]  # fmt: skip


def test_a_candidate_competes_in_the_place_of_its_translation():
    """With the trained name; its translation is as good, and one of them is enough."""
    trained, embeds = world()
    trained[:2] = ['dog', 'cat']
    own = torch.stack([embeds[30], embeds[31], embeds[5]])
    chosen = select_competitors(
        [['狗'], ['小狗'], ['thing5']], own, trained, embeds[:30], trained
    )
    assert 'dog' not in chosen.rivals(0) and 'cat' in chosen.rivals(0)
    assert 'dog' in chosen.rivals(2)
    assert chosen.apart[:, 0].tolist() == [False, True, True]  # 狗 counts for nobody


def test_few_candidates_are_no_world():
    trained, embeds = world(19)
    own = embeds[[19, 20, 1]]
    names = [['okapi'], ['tapir'], ['thing1']]
    apart = select_competitors(names, own, trained, embeds[:19], trained).apart
    assert not apart.any()


def test_unrelated_names_move_no_score():
    """Through the softmax, with a thousand of them: of a trained name to the last
    digits of float32, of an outsider but for those that happen to be near it."""
    trained, embeds = world()
    more = spread(1200, dims=64)[200:]
    names = ['thing3', 'okapi', *(f'other{i}' for i in range(1000))]
    own = torch.cat([embeds[3:4], embeds[30:31], more])
    regions = F.normalize(own[:2] + 0.3 * embeds[7] + 0.2 * more[5], dim=1)

    def scores(count):
        given = [[name] for name in names[:count]]
        rivals = select_competitors(given, own[:count], trained, embeds[:30], trained)
        return open_softmax(
            regions @ own[:count].T / 0.05, regions @ rivals.embeds.T / 0.05,
            rivals.apart,
        )  # fmt: skip

    few, many = scores(2), scores(1002)
    assert 0.3 < few[0, 0] < 1 and 0.3 < few[1, 1] < 1
    torch.testing.assert_close(many[:, 0], few[:, 0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(many[:, 1], few[:, 1], atol=1e-3, rtol=0)


@pytest.mark.parametrize('given', [{'circle': ['red circle']}, ['red circle']])
def test_a_negative_competes_that_would_be_free(given):
    """'red circle' is a kind of circle: silent, it leaves circles alone; asked against
    'circle', it competes. For other names nothing changes."""
    trained = ['red circle', 'blue circle', 'red square', 'blue star']
    names, embeds = ['circle', 'star'], spread(7)
    chosen = select(names, trained, trained, embeds[:6])
    assert sorted(chosen.rivals(0)) == ['blue star', 'red square']
    vocabulary = Vocabulary(names, negatives=given)
    after = add_negatives(chosen, vocabulary.negatives, embeds[2:3])
    assert sorted(after.rivals(0)) == ['blue star', 'red circle', 'red square']
    others = ['blue circle', 'red circle', 'red square']
    assert sorted(after.rivals(1)) == sorted(chosen.rivals(1)) == others
    rows = {name: embeds[2 + trained.index(name)] for name in trained}
    expected = torch.stack([rows[name] for name in after.names])
    assert torch.equal(after.embeds, expected)
