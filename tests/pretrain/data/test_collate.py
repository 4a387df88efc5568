"""Batches: texts, indices, resolution, transport."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.runner import Runner
from PIL import Image

from fgclip2_det.fgclip2 import FGCLIP2Tokenizer, preprocess
from fgclip2_det.fgclip2.model import ASSETS
from pretrain.data import AlignmentCollate, AlignmentDataset, Sample, text_key
from pretrain.data import preprocessor as preprocessor_module
from pretrain.data.preprocessor import AlignmentDataPreprocessor, with_budget

TOKENIZER = FGCLIP2Tokenizer.from_folder(ASSETS)


def make_sample(size=(64, 48), short='a', long='b', boxes=(), language='en', num_bad=0):
    """boxes: (phrase, positive, negatives, true texts) each."""
    n = len(boxes)
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3))
    columns = list(zip(*boxes, strict=True)) or [(), (), (), ()]
    phrases, positives, negatives, truths = map(list, columns)
    return Sample(
        image=Image.fromarray(pixels.astype(np.uint8)),
        language=language,
        short=short,
        long=long,
        bboxes=np.arange(4 * n, dtype=np.float32).reshape(n, 4),
        phrases=phrases,
        hard_positives=positives,
        hard_negatives=negatives,
        true_texts=truths,
        num_bad=num_bad,
    )


DOG = ('dog', 'dog', ['cat', 'cow'], ('dog', 'big dog'))
CAT = ('a cat', 'cat', ['dog'], ('cat', 'a cat'))
OLD = ('big dog', None, [], (None, 'big dog'))


def test_a_batch_by_hand():
    """Texts in order of appearance: dog, a cat, big dog, cat, cow."""
    first = make_sample(boxes=[DOG, CAT], num_bad=2)
    second = make_sample(short=None, long='Lang', boxes=[], num_bad=1, language='zh')
    third = make_sample(boxes=[OLD])
    batch = AlignmentCollate()([first, [second], [third]])
    texts = ['dog', 'a cat', 'big dog', 'cat', 'cow']
    assert torch.equal(batch.box_ids, TOKENIZER(texts, 64))
    assert batch.box_keys.tolist() == [text_key(text) for text in texts]
    assert batch.phrase_index.tolist() == [0, 1, 2]
    assert batch.hard_index.tolist() == [[0, 3, 4], [3, 0, -1]]
    assert batch.hard_region.tolist() == [0, 1]
    assert batch.true_index.tolist() == [[0, 2], [3, 1], [-1, 2]]
    key = text_key('big dog')
    assert batch.true_keys.tolist()[::2] == [[text_key('dog'), key], [-1, key]]
    assert [len(boxes) for boxes in batch.bboxes] == [2, 0, 1]
    assert batch.bboxes[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert torch.equal(batch.short_ids, TOKENIZER(['a', '', 'a'], 64))
    assert torch.equal(batch.long_ids, TOKENIZER(['b', 'lang', 'b'], 196))
    assert batch.short_keys.tolist() == [text_key('a'), -1, text_key('a')]
    assert batch.languages == ['en', 'zh', 'en'] and batch.num_bad == 3
    assert len(batch) == 3 and batch.budget == 128
    expected = preprocess([s.image for s in (first, second, third)], 128)
    assert torch.equal(batch.images.pixel_values, expected.pixel_values)


def test_no_boxes_at_all():
    batch = AlignmentCollate()([make_sample(), make_sample()])
    shapes = [
        (batch.box_ids, (0, 64)),
        (batch.box_keys, (0,)),
        (batch.phrase_index, (0,)),
        (batch.hard_index, (0, 1)),
        (batch.hard_region, (0,)),
        (batch.true_index, (0, 2)),
        (batch.true_keys, (0, 2)),
    ]
    for tensor, shape in shapes:
        assert tensor.shape == shape and tensor.dtype == torch.long
    assert [boxes.shape for boxes in batch.bboxes] == [(0, 4), (0, 4)]
    with pytest.raises(ValueError, match='at least one sample'):
        AlignmentCollate()([])


def test_keys_are_the_same_everywhere():
    """63 bits: ``printf dog | b2sum -l 64`` without its last bit."""
    assert text_key('dog') == 0x3984C7C1D25E9C9F >> 1
    assert text_key('') != -1 and text_key(None) == -1
    assert 0 <= text_key('白色杯子') < 2**63


def test_equal_images_have_equal_keys():
    """Two captions of an image are two samples; an unknown image is like no other."""
    samples = [make_sample() for _ in range(4)]
    for sample, name in zip(samples, ('a/1.jpg', 'a/2.jpg', 'a/1.jpg'), strict=False):
        sample.image_id = name
    keys = AlignmentCollate()(samples).image_keys.tolist()
    assert keys == [text_key('a/1.jpg'), text_key('a/2.jpg'), keys[0], -1]


def test_remembered_texts_stay_right(monkeypatch):
    monkeypatch.setattr('pretrain.data.collate._CACHED_IDS', 64 * 4)
    collate = AlignmentCollate()
    for texts in (['a', 'b'], ['b', 'c', 'b'], ['d', 'e', 'f'], ['a'] * 9, ['a', 'f']):
        assert torch.equal(collate.short_ids(texts), TOKENIZER(texts, 64))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(max_num_patches='all'), "must be 'auto' or a positive integer"),
        (dict(max_num_patches=0), "must be 'auto' or a positive integer"),
        (dict(tokenizer='nowhere'), 'found neither at nowhere'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        AlignmentCollate(**options)


def test_lengths_and_a_fixed_budget():
    collate = AlignmentCollate(str(ASSETS), 16, 32, 50, keep_images=True)
    batch = collate([make_sample((300, 200), boxes=[DOG])])
    assert batch.short_ids.shape[1] == batch.box_ids.shape[1] == 32
    assert batch.long_ids.shape[1] == 50
    assert batch.images.grid_sizes.prod() <= 16 and batch.budget == 16
    assert batch.original_images is None


def test_a_runner_builds_it_from_a_config(write_data):
    folder = write_data('eezz')
    config = dict(
        batch_size=2,
        num_workers=2,
        dataset=dict(type='AlignmentDataset', ann=str(folder), image_root=str(folder)),
        sampler=dict(type='BilingualSampler', shuffle=False),
        batch_sampler=dict(type='BilingualBatchSampler'),
        collate_fn=dict(type='AlignmentCollate', max_num_patches=128),
    )
    loader = Runner.build_dataloader(ConfigDict(config), seed=0)
    batches = list(loader)
    assert [batch.languages for batch in batches] == [['en'] * 2, ['zh'] * 2]
    direct = [AlignmentDataset(folder, folder)[i] for i in range(2)]
    expected = AlignmentCollate()(direct)
    for name in ('short_ids', 'long_keys'):  # through a worker's pipe
        assert torch.equal(getattr(batches[0], name), getattr(expected, name))
    assert torch.equal(batches[0].bboxes[1], expected.bboxes[1])


def test_transport_keeps_a_batch(monkeypatch):
    collate = AlignmentCollate(keep_images=True)
    batch = collate([make_sample(boxes=[DOG, CAT]), make_sample()])
    copy = pickle.loads(pickle.dumps(batch))
    assert [b.tolist() for b in copy.bboxes] == [b.tolist() for b in batch.bboxes]
    assert torch.equal(copy.original_images, batch.original_images)
    meta = batch.to('meta')
    moved = [meta.box_ids, meta.hard_index, *meta.bboxes, meta.images.pixel_values]
    assert all(tensor.is_meta for tensor in moved) and len(meta.bboxes) == 2
    assert meta.original_images is batch.original_images and meta.languages == [
        'en',
        'en',
    ]
    monkeypatch.setattr(torch.Tensor, 'pin_memory', torch.Tensor.clone)  # needs a GPU
    pinned = batch.pin_memory()
    assert pinned.original_images is batch.original_images
    assert torch.equal(pinned.hard_index, batch.hard_index)


# -------------------------------------------------------- one resolution per step
SMALL, LARGE = (100, 60), (500, 300)  # 18 and 558 patches: budgets 128 and 576


def test_views_get_a_place_in_their_scene():
    """64 x 48 pixels are 3 x 4 patches. In a 16 x 16 scene 14 rows and 13 columns are
    free: u = 0.5 and v = 0.99 choose row 7 and column 12."""
    view, whole = make_sample(), make_sample()
    view.window = (16, 0.5, 0.99)
    batch = AlignmentCollate(max_num_patches=12)([view, whole])
    assert batch.images.grid_sizes.tolist() == [[3, 4], [3, 4]]
    assert batch.images.windows.tolist() == [[7, 12, 16, 16], [0, 0, 3, 4]]
    assert batch.to('cpu').images.windows is not None
    assert AlignmentCollate(max_num_patches=12)([whole]).images.windows is None


def test_images_travel_only_where_they_may_be_needed(monkeypatch):
    small, large = make_sample(SMALL), make_sample((640, 480))
    assert AlignmentCollate()([small]).original_images is None
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert AlignmentCollate()([small]).original_images.numel() == 100 * 60 * 3
    assert AlignmentCollate()([small, large]).original_images is None  # 1024 already
    assert AlignmentCollate(max_num_patches=256)([small]).original_images is None
    assert AlignmentCollate(keep_images=False)([small]).original_images is None


def test_a_larger_budget_resizes_the_original_images():
    samples = [make_sample(SMALL), make_sample((90, 40))]
    batch = AlignmentCollate(keep_images=True)(samples)
    larger = with_budget(batch, 576)
    expected = preprocess([s.image for s in samples], 576)
    assert torch.equal(larger.images.pixel_values, expected.pixel_values)
    assert torch.equal(larger.images.image_sizes, expected.image_sizes)
    assert larger.budget == 576 and with_budget(batch, 128) is batch
    with pytest.raises(ValueError, match='no original images; set keep_images'):
        with_budget(AlignmentCollate()(samples), 576)


def test_a_larger_budget_keeps_the_places_in_scenes():
    """What one process with the larger budget gives: 21 x 15 patches of 32 x 32."""
    view, whole = make_sample(SMALL), make_sample((90, 40))
    view.window = (32, 0.5, 0.99)
    batch = AlignmentCollate(keep_images=True)([view, whole])
    larger = with_budget(batch, 576)
    expected = AlignmentCollate(max_num_patches=576)([view, whole])
    assert not torch.equal(batch.images.windows, larger.images.windows)
    for name in ('pixel_values', 'grid_sizes', 'windows'):
        actual = getattr(larger.images, name)
        assert torch.equal(actual, getattr(expected.images, name)), name


def test_evaluation_steps_are_not_coordinated(monkeypatch):
    monkeypatch.setattr(preprocessor_module, 'all_gather', None)  # would fail
    module = MODELS.build(dict(type='AlignmentDataPreprocessor'))
    batch = AlignmentCollate(keep_images=True)([make_sample(num_bad=1)])
    out = module(batch)['batch']
    assert out.budget == 128 and out.original_images is None and module.num_bad == 0
    monkeypatch.setattr(preprocessor_module, 'all_gather', lambda x: [x])
    module(batch, training=True)
    assert module(batch, training=True)['batch'].num_bad == module.num_bad == 2


def _step(folder, rank):
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    collate, module = AlignmentCollate(), AlignmentDataPreprocessor()
    sizes = ([SMALL, SMALL], [SMALL, LARGE])[rank]
    steps = [
        [make_sample(size, num_bad=rank + 1) for size in sizes],
        [make_sample(SMALL)],
    ]
    outs = []
    for samples in steps:
        batch = module(collate(samples), training=True)['batch']
        outs.append((batch.images.pixel_values.numpy(), batch.budget, batch.num_bad))
    with open(folder / f'{rank}.pkl', 'wb') as file:
        pickle.dump(outs, file)


def test_two_processes_see_what_one_would(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=_step, args=(tmp_path, r)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(1800)
    assert [process.exitcode for process in processes] == [0, 0]
    outs = [pickle.loads((tmp_path / f'{r}.pkl').read_bytes()) for r in range(2)]
    images = [make_sample(size).image for size in (SMALL, SMALL, SMALL, LARGE)]
    whole = preprocess(images).pixel_values.numpy()
    for rank in range(2):
        pixels, budget, num_bad = outs[rank][0]
        assert (budget, num_bad) == (576, 6)
        part = whole[2 * rank : 2 * rank + 2, : pixels.shape[1]]
        np.testing.assert_array_equal(pixels, part)
        assert outs[rank][1][1:] == (128, 6)
