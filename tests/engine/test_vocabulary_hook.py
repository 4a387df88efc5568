"""The data set's classes, or for a control the wrong ones, as vocabulary."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.models.test_time_augs import DetTTAModel

from fgclip2_det.engine.hooks.vocabulary_hook import OpenVocabVocabularyHook
from fgclip2_det.models.detectors.open_vocab_mixin import as_vocabulary

META = {'classes': ('cat', 'dog', 'cow', 'pig', 'hen'), 'base_classes': ('dog', 'hen')}


class Detector:
    templates, configured_vocabulary, parts = 'raw', None, None

    def set_vocabulary(self, names):
        self.vocabulary = as_vocabulary(names, self.templates, (), self.parts)


class AugmentedDetector(Detector, torch.nn.Module):
    data_preprocessor = test_step = None


def run_test_epoch(
    hook: OpenVocabVocabularyHook, parts: dict | None = None
) -> Detector:
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=META))
    runner = SimpleNamespace(
        model=Detector(), test_loop=SimpleNamespace(dataloader=loader)
    )
    runner.model.parts = parts
    hook.before_test_epoch(runner)
    return runner.model


def test_the_vocabulary_is_the_data_sets():
    vocabulary = run_test_epoch(OpenVocabVocabularyHook()).vocabulary
    assert vocabulary.names == list(META['classes'])
    assert vocabulary.base_classes == ['dog', 'hen']


def test_parts_are_the_models():
    hook = OpenVocabVocabularyHook(shift_novel=1)
    assert run_test_epoch(hook).vocabulary.parts == {}
    parts = {'dog': ['bark', 'fur'], 'cow': ['milk', 'fur'], 'cat hair': ['fur']}
    vocabulary = run_test_epoch(hook, parts).vocabulary
    prompts = [['milk', 'fur'], ['bark', 'fur'], ['pig'], ['cat'], ['hen']]
    assert vocabulary.prompts() == prompts  # they move along with their names


def test_augmentation_at_test_time_is_looked_through():
    """The names must reach the detector inside, or it answers to those of training."""
    detector = AugmentedDetector()
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=META))
    runner = SimpleNamespace(
        model=DetTTAModel(module=detector), test_loop=SimpleNamespace(dataloader=loader)
    )
    OpenVocabVocabularyHook().before_test_epoch(runner)
    assert detector.vocabulary.names == list(META['classes'])


@pytest.mark.parametrize(
    ('shift', 'names'),
    [
        (1, ['cow', 'dog', 'pig', 'cat', 'hen']),
        (2, ['pig', 'dog', 'cat', 'cow', 'hen']),
    ],
)
def test_the_control_moves_novel_names_alone(shift, names):
    hook = OpenVocabVocabularyHook(shift_novel=shift)
    assert run_test_epoch(hook).vocabulary.names == names


def test_a_control_that_changes_nothing_is_refused():
    with pytest.raises(ValueError, match='moves none of the 3 novel names'):
        run_test_epoch(OpenVocabVocabularyHook(shift_novel=3))
