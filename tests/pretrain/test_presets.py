"""Weights and forms: the released ones against table D.2 of the reference's review."""

import pytest

from pretrain.presets import PRESETS, LossPreset, loss_preset

# row of the table -> (field, as published, as released)
TABLE = {
    'weight of both captions': ('short', 1.0, 1.0),
    '1 FGV weight': ('fgv', 0.1, 0.2),
    '2 FGT weight': ('fgt', 0.5, 1.5),
    '2 FGT form': ('fgt_form', 'binary', 'softmax'),
    '3 CMR weight': ('cmr', 0.4, 0.2),
    '4 TIC weight': ('tic', 0.1, 0.1),
    '5 extra loss': ('itc', 0.0, 0.3),
    '6 TIC filter': ('tic_similar', 'remove', 'zero'),
    '7 TIC reduction': ('tic_reduction', 'sum', 'mean'),
    '8 CMR similarity': ('cmr_scaled', False, True),
    '9 CMR margin per negative': ('cmr_per_negative', True, False),
    '11 margin clamp': ('cmr_clamp', None, (0.0, 10.0)),
    'duplicates are negatives': ('fgv_form', 'identity', 'identity'),
    'equal captions are negatives': ('same_text', 'negative', 'negative'),
}


@pytest.mark.parametrize('row', TABLE)
def test_presets_are_what_was_published_and_released(row):
    field, published, released = TABLE[row]
    assert getattr(PRESETS['paper'], field) == pytest.approx(published)
    assert getattr(PRESETS['released'], field) == pytest.approx(released)


def test_long_captions_weigh_as_much_as_short_ones():
    assert all(preset.long == preset.short for preset in PRESETS.values())


def test_default_treats_equal_texts_as_equal():
    preset = loss_preset()
    assert preset == PRESETS['default']
    assert (preset.fgv_form, preset.same_text) == ('distinct', 'positive')
    assert preset.tic_similar == 'remove'


def test_one_value_changes():
    changed = loss_preset('paper', tic=0, cmr_clamp=[0, 1])
    assert (changed.tic, changed.cmr_clamp) == (0, (0, 1))
    assert changed.fgt == PRESETS['paper'].fgt
    assert PRESETS['paper'] == LossPreset()


@pytest.mark.parametrize('preset', PRESETS)
def test_stage_1_is_the_global_loss_alone(preset):
    first, second = loss_preset(preset, stage=1), loss_preset(preset, stage=2)
    assert not first.regions and second.regions
    assert (first.short, first.long) == (second.short, second.long)
    assert second == PRESETS[preset]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(preset='papers'), r"preset must be one of .*'released'.*, got 'papers'"),
        (dict(fgw=1.0), r"unknown \['fgw'\]; a preset has .*'fgv'.* and stage"),
        (dict(stage=3), 'stage must be 1 or 2, got 3'),
        (dict(fgv=-1.0), 'fgv must be a weight >= 0, got -1.0'),
        (dict(tic=float('nan')), 'tic must be a weight >= 0, got nan'),
        (dict(cmr='0.4'), "cmr must be a weight >= 0, got '0.4'"),
        (dict(long=True), 'long must be a weight >= 0, got True'),
        (dict(fgt_form='sigmoid'), r"fgt_form must be one of .*, got 'sigmoid'"),
        (dict(fgv_form='pairs'), r"fgv_form must be one of .*'distinct'"),
        (dict(same_text='skip'), r"same_text must be one of .*, got 'skip'"),
        (dict(tic_similar='mask'), "tic_similar must be one of .*, got 'mask'"),
        (dict(tic_reduction='max'), "tic_reduction must be one of .*, got 'max'"),
        (dict(stage=1, short=0, long=0), 'all weights are 0'),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        loss_preset(**options)
