"""The backbone: equal to the encoder, blind to padding, frozen as asked."""

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample

from fgclip2_det import FGCLIP2
from fgclip2_det.models import FGCLIP2DetDataPreprocessor, FGCLIP2ViT

TINY = dict(size='tiny', seed=5)


def images(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (3, h, w), generator=generator, dtype=torch.uint8)
        for h, w in sizes
    ]


def batch_of(inputs, preprocessor=None):
    preprocessor = preprocessor or FGCLIP2DetDataPreprocessor(pad_size_divisor=16)
    samples = [DetDataSample(metainfo=dict(img_shape=p.shape[1:])) for p in inputs]
    return preprocessor(dict(inputs=inputs, data_samples=samples))['inputs']


def test_maps_equal_the_encoder():
    """BGR image in, the encoder's dense map and tokens of the RGB image out."""
    image = images((96, 160))[0]
    tokens, dense = FGCLIP2ViT(TINY, output='both')(batch_of([image]))
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(5))
    batch = encoder.preprocess(image.flip(0), max_num_patches=60)
    assert batch.grid_sizes.tolist() == [[6, 10]]
    torch.testing.assert_close(
        dense[0], encoder.dense_features(batch)[0], atol=1e-5, rtol=1e-4
    )
    expected = encoder.encode_tokens(batch)[0][0].T.unflatten(1, (6, 10))
    torch.testing.assert_close(tokens[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    'sizes', [((96, 160), (64, 64)), ((50, 70), (33, 90), (96, 16))]
)
def test_padding_changes_nothing_real(sizes):
    backbone = FGCLIP2ViT(TINY, output='both', out_indices=(1, 3))
    inputs = images(*sizes)
    together = backbone(batch_of(inputs))
    assert len(together) == 3
    for i, image in enumerate(inputs):
        alone = backbone(batch_of([image]))
        for joint, single in zip(together, alone, strict=True):
            h, w = single.shape[-2:]
            torch.testing.assert_close(
                joint[i, :, :h, :w], single[0], atol=1e-5, rtol=1e-4
            )
            assert not joint[i, :, h:].any()
            assert not joint[i, :, :, w:].any()


@pytest.mark.parametrize(
    'sizes', [[(96, 160)], [(96, 160)] * 2, [(96, 160), (64, 64)], [(96, 16), (96, 16)]]
)
def test_maps_are_contiguous(sizes):
    """Compiled ops read a map's memory, whatever its strides say."""
    backbone = FGCLIP2ViT(TINY, output='both', out_indices=(1, 3))
    maps = backbone(batch_of(images(*sizes)))
    cached = backbone(torch.cat(maps[:2], 1))  # as a feature cache keeps them
    assert len(maps) == 3 and len(cached) == 2
    assert all(x.is_contiguous() for x in (*maps, *cached))
    for x, y in zip(maps, cached, strict=False):
        assert x.equal(y)


def test_plain_preprocessor_sees_the_whole_canvas():
    plain = DetDataPreprocessor([127.5] * 3, [127.5] * 3, 16, bgr_to_rgb=True)
    inputs = batch_of(images((32, 48), (64, 64)), plain)
    assert FGCLIP2ViT(TINY).grid_sizes(inputs) == [(4, 4), (4, 4)]


@pytest.mark.parametrize('output', ['tokens', 'dense'])
def test_one_map(output):
    (x,) = FGCLIP2ViT(TINY, output=output)(torch.zeros(1, 3, 40, 41))
    assert x.shape == (1, 128, 3, 3)


@pytest.mark.parametrize(
    ('frozen_stages', 'trained'),
    [
        (-1, {'embeddings', '0', '1', '2', '3', 'heads'}),
        (0, {'0', '1', '2', '3', 'heads'}),
        (2, {'2', '3', 'heads'}),
        (4, set()),
    ],
)
def test_frozen_stages(frozen_stages, trained):
    backbone = FGCLIP2ViT(TINY, output='both', frozen_stages=frozen_stages).train()
    maps = backbone(torch.zeros(1, 3, 32, 32))
    assert backbone.frozen == (not trained)
    actual = set()
    if trained:
        sum(x.square().sum() for x in maps).backward()
        for name, parameter in backbone.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
            if parameter.grad is not None:
                parts = name.split('.')
                actual.add(
                    parts[3] if 'layers' in parts
                    else 'embeddings' if 'embeddings' in parts else 'heads'
                )  # fmt: skip
    else:
        assert not any(x.requires_grad for x in maps)
    assert actual == trained


def test_every_trained_parameter_is_used():
    """DistributedDataParallel stops at unused parameters."""
    for options in (
        dict(output='tokens'),
        dict(output='tokens', out_indices=(0, 2)),
        dict(output='dense'),
    ):
        backbone = FGCLIP2ViT(TINY, **options)
        sum(x.sum() for x in backbone(torch.zeros(1, 3, 32, 32))).backward()
        unused = [
            name
            for name, parameter in backbone.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ]
        assert unused == [], options


def test_gradient_checkpointing():
    grads = []
    for with_cp in (False, True):
        backbone = FGCLIP2ViT(TINY, with_cp=with_cp)
        backbone(torch.zeros(1, 3, 32, 48))[0].square().sum().backward()
        grads.append(backbone.vision_model.embeddings.patch_embedding.bias.grad)
    torch.testing.assert_close(*grads)


def test_meta_device_builds_without_weights():
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='FGCLIP2ViT', encoder='so400m'))
    assert all(p.is_meta for p in backbone.parameters())


def test_pretrained_folder(tmp_path):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(9))
    encoder.save_pretrained(tmp_path / 'weights')
    backbone = FGCLIP2ViT(dict(pretrained=str(tmp_path / 'weights')))
    assert torch.equal(
        backbone.vision_model.post_layernorm.weight,
        encoder.vision_model.post_layernorm.weight,
    )
    expected = encoder.vision_model.encoder.layers[2].mlp.fc1.weight
    assert torch.equal(backbone.vision_model.encoder.layers[2].mlp.fc1.weight, expected)


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(encoder='nowhere'), 'hub id'),
        (dict(encoder=dict(size='tiny', width=3)), 'encoder must be'),
        (dict(encoder=dict(seed=3)), 'encoder must be'),
        (dict(encoder='tiny', output='all'), 'output must be'),
        (dict(encoder='tiny', out_indices=(0, 4)), r'0 to 3, got \(0, 4\)'),
        (dict(encoder='tiny', out_indices=3), 'out_indices: expected integers'),
        (dict(encoder='tiny', frozen_stages=99), r'-1 to 4, got \[99\]'),
        (dict(encoder=dict(size='tiny', seed='a')), "seed must be an integer, got 'a'"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        FGCLIP2ViT(**options)
