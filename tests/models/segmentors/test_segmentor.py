"""The segmentor: images on their own grids, base names in the loss, any names after."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.dist import all_reduce, get_rank
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

import fgclip2_det.registration
from fgclip2_det.engine.runner import leave_process_group
from fgclip2_det.evaluation.label_maps import count_pixels
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.zeroshot.confusion import confusion
from tests.processes import fork_two

NAMES = ['red circle', 'blue square', 'green star']
HEAD = dict(
    type='OpenVocabCostHead',
    embed_dims=128,
    map_channels=128,
    hidden_channels=8,
    num_layers=1,
    num_heads=2,
    appearance_channels=4,
    text_channels=4,
    window_size=3,
    guidance_channels=(4, 4),
    guidance_proj_channels=(4, 2),
    decoder_channels=(4, 4),
)


def build(head=HEAD, frozen: int = 4, names=NAMES, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='OpenVocabSegmentor',
            data_preprocessor=dict(type='FGCLIP2DetDataPreprocessor', pad_seg=True),
            backbone=dict(
                type='FGCLIP2ViT',
                encoder=dict(pretrained='fgclip2_tiny'),
                output='both',
                out_indices=(0, 1),
                frozen_stages=frozen,
            ),
            decode_head=head,
            **options,
        )
    )
    if names:
        model.set_vocabulary(Vocabulary(names, base_classes=NAMES[:2], check=False))
    return model


def pictures(*sizes, seed: int = 0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)
        for size in sizes
    ]


def samples(*sizes, labels=None) -> list[DetDataSample]:
    made = []
    for i, size in enumerate(sizes):
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        random = torch.Generator().manual_seed(i)
        known = torch.randint(0, 2, size, generator=random)
        known = known if labels is None else labels[i]
        sample.gt_sem_seg = PixelData(sem_seg=known[None].to(torch.uint8))
        made.append(sample)
    return made


def test_predictions_depend_on_no_other_image():
    """Sizes that are no multiples of 16, padded to one batch."""
    model, sizes = build().eval(), [(70, 50), (40, 90)]
    images = pictures(*sizes)
    both = model.test_step(dict(inputs=images, data_samples=samples(*sizes)))
    for image, size, sample in zip(images, sizes, both, strict=True):
        [alone] = model.test_step(dict(inputs=[image], data_samples=samples(size)))
        got = sample.pred_sem_seg
        assert got.sem_seg.shape == got.scores.shape == (1, *size)
        torch.testing.assert_close(got.scores, alone.pred_sem_seg.scores)
        assert (got.sem_seg == alone.pred_sem_seg.sem_seg).float().mean() > 0.999


def test_prediction_is_the_best_enlarged_logit():
    """Slowly: logits to the padded canvas, cut to the image, then to its first size."""
    model = build().eval()
    [image] = pictures((50, 70))
    sample = DetDataSample(metainfo=dict(img_shape=(50, 70), ori_shape=(50, 70)))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]))
    with torch.no_grad():
        [logits] = model.logits(data['inputs'])
        [got] = model.predict(data['inputs'], [sample])
    assert logits.shape == (3, 16, 20)  # 4 x 5 patches
    slow = F.interpolate(logits[None], (64, 80), mode='bilinear')[0, :, :50, :70]
    torch.testing.assert_close(got.pred_sem_seg.scores[0], slow.max(0)[0].sigmoid())
    assert (got.pred_sem_seg.sem_seg[0] == slow.argmax(0)).float().mean() > 0.999


@pytest.mark.parametrize('head', [None, HEAD])
def test_zero_shot_is_that_of_the_benchmarks(head):
    model = build(head, zero_shot=True).eval()
    [image] = pictures((64, 96))
    labels = torch.randint(0, 3, (40, 60), generator=torch.Generator().manual_seed(1))
    sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(40, 60)))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]))
    [got] = model.predict(data['inputs'], [sample])
    with torch.no_grad():
        _, dense = model.backbone.extract(data['inputs'])
    expected = confusion(
        F.normalize(dense[0], dim=0), model.text_embeds, torch.arange(3), labels
    )
    actual = count_pixels(got.pred_sem_seg.sem_seg[0], labels, 3)
    assert torch.equal(actual, expected)


def slow_loss(logits, labels, background):
    """Pixel by pixel and name by name, of (T, h, w) logits at four cells a patch."""
    h, w = labels.shape
    side = [4 * n for n in logits.shape[1:]]
    logits = F.interpolate(logits[None], side, mode='bilinear')[0]
    terms = []
    for y in range(h):
        for x in range(w):
            label = int(labels[y, x])
            if label == 255:
                continue
            for t in range(len(logits)):
                right = label != background and label == t
                sign = 1.0 if right else -1.0
                terms.append(F.softplus(-sign * logits[t, y, x]))
    return terms


@pytest.mark.parametrize('sizes', [[(32, 48), (32, 48)], [(20, 48), (32, 30)]])
def test_loss_equals_a_slow_loop(sizes):
    """With pixels of the background and others that count for nothing; of gradients
    too, in batches with and without padding."""
    model = build(background_label=254)
    random = torch.Generator().manual_seed(3)
    choices = torch.tensor([0, 1, 254, 255])
    labels = [choices[torch.randint(0, 4, s, generator=random)] for s in sizes]
    data = dict(inputs=pictures(*sizes), data_samples=samples(*sizes, labels=labels))
    data = model.data_preprocessor(data, True)
    loss = model.loss(data['inputs'], data['data_samples'])['loss_seg']
    each = iter(labels)
    terms = [
        term
        for part in model._parts(data['inputs'])
        for logits in model._score(*part, model.text_embeds[:2])
        for term in slow_loss(logits, next(each), 254)
    ]
    slow = torch.stack(terms).mean()
    torch.testing.assert_close(loss, slow, atol=1e-5, rtol=1e-4)
    weights = list(model.decode_head.parameters())
    for one, other in zip(
        torch.autograd.grad(loss, weights),
        torch.autograd.grad(slow, weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_novel_names_are_not_in_the_loss():
    model = build(names=[*NAMES, 'black ring'])
    seen = []
    model.decode_head.register_forward_pre_hook(lambda _, args: seen.append(args[2]))
    data = dict(inputs=pictures((32, 32)), data_samples=samples((32, 32)))
    data = model.data_preprocessor(data, True)
    model.loss(data['inputs'], data['data_samples'])
    assert torch.equal(seen[0], model.text_embeds[:2])
    labels = [torch.full((32, 32), 2)]
    wrong = samples((32, 32), labels=labels)
    with pytest.raises(ValueError, match='class 2, which is not one of the 2 base'):
        model.loss(data['inputs'], wrong)


@pytest.mark.parametrize('frozen', [4, 2])
def test_what_gets_a_gradient(frozen):
    """A frozen encoder gets none; one that is trained along does from its open part."""
    model = build(frozen=frozen).train()
    data = dict(inputs=pictures((32, 48)), data_samples=samples((32, 48)))
    data = model.data_preprocessor(data, True)
    model.loss(data['inputs'], data['data_samples'])['loss_seg'].backward()
    blocks = model.backbone.vision_model.encoder.layers
    got = [any(p.grad is not None for p in b.parameters()) for b in blocks]
    assert got == [False] * frozen + [True] * (4 - frozen)
    assert all(p.grad is not None for p in model.decode_head.parameters())


def test_thirty_steps_bring_the_loss_down():
    model = build(background_label=254).train()
    labels = torch.full((48, 48), 254)
    labels[:24, :24], labels[24:, 24:] = 0, 1
    own = samples((48, 48), labels=[labels])
    data = dict(inputs=pictures((48, 48)), data_samples=own)
    data = model.data_preprocessor(data, True)
    weights = list(model.decode_head.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model.loss(data['inputs'], data['data_samples'])['loss_seg']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]


def test_other_names_after_training():
    """Order and number of names may change; a name's map goes with it."""
    model = build().eval()
    [image] = pictures((48, 64))
    data = model.data_preprocessor(dict(inputs=[image], data_samples=samples((48, 64))))
    with torch.no_grad():
        before = model.logits(data['inputs'])[0]
        model.set_vocabulary([NAMES[2], NAMES[0], NAMES[1]])
        after = model.logits(data['inputs'])[0]
        torch.testing.assert_close(after, before[[2, 0, 1]], atol=1e-4, rtol=1e-3)
        model.set_vocabulary('黑色圆环')
        assert model.logits(data['inputs'])[0].shape == (1, 12, 16)
    assert not [name for name in model.state_dict() if 'text_embeds' in name]


def test_fgclip1():
    init_default_scope('mmdet')
    backbone = dict(type='FGCLIP1ViT', encoder=dict(size='tiny', version=1))
    head = dict(HEAD, embed_dims=80, map_channels=96)
    vit = MODELS.build(dict(backbone, output='both', out_indices=(0, 1)))
    head['map_channels'] = vit.embed_dims
    model = MODELS.build(
        dict(
            type='OpenVocabSegmentor',
            backbone=dict(backbone, output='both', out_indices=(0, 1)),
            decode_head=head,
            vocabulary=dict(names=NAMES, novel_classes=[]),
        )
    )
    with torch.no_grad():
        [logits] = model.logits(torch.rand(1, 3, 48, 64) * 2 - 1)
    assert logits.shape == (3, 12, 16)


def test_bad_input():
    with pytest.raises(ValueError, match='needs as many blocks of the encoder, got'):
        build(dict(HEAD, guidance_channels=(4,), guidance_proj_channels=(4,),
                   decoder_channels=(4,)))  # fmt: skip
    with pytest.raises(ValueError, match='num_train_names must be at least 1'):
        build(num_train_names=0)
    model = build(names=None)
    with pytest.raises(ValueError, match='the segmentor has no vocabulary; call set_v'):
        model.logits(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor'"):
        model(torch.zeros(1, 3, 32, 32), mode='both')
    with pytest.raises(ValueError, match='without decode_head has nothing to train'):
        build(None).loss(torch.zeros(1, 3, 32, 32), samples((32, 32)))
    with pytest.raises(ValueError, match='training needs label maps; put LoadAnno'):
        build().loss(torch.zeros(1, 3, 32, 32), [DetDataSample()])


def step_that_draws(images, maps):
    """Loss of a step that draws names, and the weights."""
    model = build(num_train_names=4, names=None)
    names = [f'thing {i}' for i in range(9)]
    model.set_vocabulary(Vocabulary(names, base_classes=names[:8], check=False))
    own = samples(*(m.shape for m in maps), labels=maps)
    data = model.data_preprocessor(dict(inputs=images, data_samples=own), True)
    torch.manual_seed(get_rank())  # as OpenVocabReproducibleHook, another a process
    loss = model.loss(data['inputs'], data['data_samples'])['loss_seg']
    return loss, list(model.decode_head.parameters())


def step_of_all(images, maps):
    """Its loss and gradients, means over the processes."""
    loss, weights = step_that_draws(images, maps)
    grads = torch.autograd.grad(loss, weights)
    for part in (result := [loss.detach(), *grads]):
        all_reduce(part, 'mean')
    return result


def _steps_of_two(images, batches, path):
    torch.distributed.init_process_group('gloo')
    own = slice(None, 2) if get_rank() == 0 else slice(2, None)
    torch.save([step_of_all(images[own], maps[own]) for maps in batches], path)
    with pytest.raises(ValueError, match='has pixels of class 8, which is not one'):
        step_that_draws(images[own], [m + 8 * get_rank() for m in batches[2][own]])
    leave_process_group()


def test_two_processes_are_one(tmp_path):
    """Names are those in the images of both, pixels count alike wherever they are;
    one process has hardly any, or none, or there is a single one."""
    few = torch.full((32, 48), 255)
    few[:4, :4], few[8:, 8:12] = 6, 1
    none, zeros = torch.full((32, 48), 255), torch.zeros(32, 48, dtype=torch.long)
    halves = zeros.clone()
    halves[:16] = 2
    single = none.clone()
    single[0, 0] = 3
    images = pictures(*[(32, 48)] * 3)
    batches = [[zeros, halves, few], [zeros, halves, none], [zeros, zeros, zeros]]
    batches.append([none, single, none])
    path = tmp_path / 'two.pt'
    fork_two(_steps_of_two, images, batches, path)
    for maps, two in zip(batches, torch.load(path), strict=True):
        one = step_of_all(images, maps)
        torch.testing.assert_close(two, one, atol=1e-6, rtol=1e-4)
