"""The data set's classes, or for a control the wrong ones, as vocabulary."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.models.test_time_augs import DetTTAModel
from mmengine.hooks import EMAHook
from mmengine.runner import BaseLoop

from fgclip2_det.engine.hooks.vocabulary_hook import OpenVocabVocabularyHook
from fgclip2_det.models.detectors.open_vocab_mixin import as_vocabulary
from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier

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


class Classifier(Detector, torch.nn.Module):
    """A detector's classifier; the embedding of a name is made of its letters."""

    def __init__(self, names):
        torch.nn.Module.__init__(self)
        self.classifier = RegionTextClassifier(3, 4, None, logit_scale=1.0)
        self.norm = torch.nn.BatchNorm1d(3)
        self.set_vocabulary(names)

    def set_vocabulary(self, names):
        vocabulary = as_vocabulary(names, self.templates, (), self.parts)
        embeds = [
            [ord(c) / 128 for c in name[:4].ljust(4)] for name in vocabulary.names
        ]
        is_base = torch.zeros(len(embeds), dtype=torch.bool)
        self.classifier.set_embeds(torch.tensor(embeds), is_base, '')


class Loop(BaseLoop):
    def __init__(self, names):
        dataset = SimpleNamespace(metainfo={'classes': names, 'base_classes': names})
        self.dataloader = SimpleNamespace(dataset=dataset)

    run = None


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('ema_goes_first', [False, True])
@pytest.mark.parametrize('before', [['fox', 'owl', 'elk', 'yak'], ['ant', 'bee']])
def test_an_average_has_the_names_of_the_data(before, update_buffers, ema_goes_first):
    """Weights of other names, as many or more, are loaded after EMAHook has copied the
    model; for validation there are other names again."""
    names, other = ['cat', 'dog'], ['hen', 'pig', 'cow']
    hook, ema = OpenVocabVocabularyHook(), EMAHook(
        momentum=0.5, update_buffers=update_buffers
    )  # fmt: skip
    hooks = [ema, hook] if ema_goes_first else [hook, ema]
    model = Classifier(names)
    Loop.__abstractmethods__ = frozenset()
    runner = SimpleNamespace(
        model=model, hooks=hooks, _resume=False, iter=0, max_iters=9,
        _train_loop=Loop(names), val_loop=Loop(other),
    )  # fmt: skip
    ema.before_run(runner)
    loaded = Classifier(before)
    torch.nn.init.constant_(loaded.classifier.project.weight, 1.0)
    checkpoint = {'state_dict': loaded.state_dict()}
    for each in hooks:
        each.after_load_checkpoint(runner, checkpoint)
    model.load_state_dict(checkpoint['state_dict'])
    for each in hooks:
        each.before_train(runner)
    for value in (2.0, 4.0):
        torch.nn.init.constant_(model.classifier.project.weight, value)
        torch.nn.init.constant_(model.norm.running_mean, value)
        ema.after_train_iter(runner, 0)
    average = ema.ema_model.module
    assert average.classifier.project.weight.unique().tolist() == [3.0]
    mean = 3.0 if update_buffers else 4.0  # buffers that names do not make
    assert average.norm.running_mean.unique().tolist() == [mean]
    for own in (model, average):
        torch.testing.assert_close(
            own.classifier.state_dict()['text_embeds'],
            Classifier(names).classifier.text_embeds, rtol=0, atol=0,
        )  # fmt: skip
    for each in hooks:
        each.before_val_epoch(runner)
    assert model.classifier.project.weight.unique().tolist() == [3.0]
    expected = Classifier(other).classifier.text_embeds
    torch.testing.assert_close(model.classifier.text_embeds, expected, rtol=0, atol=0)
    for each in hooks:
        each.after_val_epoch(runner)
    assert len(model.classifier.text_embeds) == len(average.classifier.is_base) == 2
    ema.after_train_iter(runner, 0)
