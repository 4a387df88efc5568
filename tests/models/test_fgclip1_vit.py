"""The backbone of version 1: equal to its encoder, blind to padding."""

import pytest
import torch

from fgclip2_det import FGCLIP1
from fgclip2_det.engine.layer_decay import _depth
from fgclip2_det.fgclip1.preprocess import clip_normalize
from fgclip2_det.fgclip2.preprocess import ImageBatch, patchify
from fgclip2_det.models import FGCLIP1ViT, FGCLIP2ViT
from fgclip2_det.models.backbones.lora import TARGETS
from tests.models.test_fgclip2_vit import batch_of, images

TINY = dict(size='tiny', version=1, seed=5)


def encoder() -> FGCLIP1:
    return FGCLIP1.from_size('tiny', generator=torch.Generator().manual_seed(5))


def plain_batch(image: torch.Tensor) -> ImageBatch:
    """A (3, h, w) BGR image as patches of 16 pixels, at its own size."""
    h, w = (side // 16 for side in image.shape[1:])
    pixels = clip_normalize(image.flip(0)[None].float() / 255)
    patches = patchify(pixels, 16)
    return ImageBatch(
        patches, torch.ones(1, h * w, dtype=torch.bool), torch.tensor([[h, w]]),
        torch.tensor([[16 * h, 16 * w]]),
    )  # fmt: skip


@pytest.mark.parametrize('size', [(96, 160), (224, 224)], ids=str)
def test_maps_equal_the_encoder(size):
    """BGR image in, the encoder's dense map and tokens of the RGB image out."""
    image = images(size)[0]
    tokens, dense = FGCLIP1ViT(TINY, output='both')(batch_of([image]))
    model, batch = encoder(), plain_batch(image)
    assert dense.shape[:2] == (1, 80) and tokens.shape[:2] == (1, 96)
    wanted = model.dense_features(batch)[0]
    torch.testing.assert_close(dense[0], wanted, atol=1e-5, rtol=1e-4)
    grid = batch.grid_sizes[0].tolist()
    wanted, _ = model.vision_model(batch.pixel_values, [grid])
    wanted = wanted[0].T.unflatten(1, grid)
    torch.testing.assert_close(tokens[0], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('out_indices', [(), (1, 3), (0, 2)], ids=str)
def test_padding_changes_nothing_real(out_indices):
    backbone = FGCLIP1ViT(TINY, output='both', out_indices=out_indices)
    inputs = images((50, 70), (33, 90), (96, 16))
    together = backbone(batch_of(inputs))
    assert len(together) == max(len(out_indices), 1) + 1
    for i, image in enumerate(inputs):
        alone = backbone(batch_of([image]))
        for joint, single in zip(together, alone, strict=True):
            h, w = single.shape[-2:]
            torch.testing.assert_close(
                joint[i, :, :h, :w], single[0], atol=1e-5, rtol=1e-4
            )
            assert not joint[i, :, h:].any() and not joint[i, :, :, w:].any()


def test_patches_of_14_pixels_have_stride_16(tmp_path):
    """ViT-L/14's layout: the image is resized, so that a cell is 16 pixels."""
    import json

    from safetensors.torch import load_file, save_file

    folder = encoder().save_pretrained(tmp_path / 'model')
    state = load_file(folder / 'model.safetensors')
    name = 'vision_model.embeddings.patch_embedding.weight'
    state[name] = state[name][..., :14, :14].contiguous()
    save_file(state, folder / 'model.safetensors')
    config = json.loads((folder / 'config.json').read_text())
    config['vision_config'].update(patch_size=14, image_size=196)
    (folder / 'config.json').write_text(json.dumps(config))
    backbone = FGCLIP1ViT(dict(pretrained=str(folder)), output='both')
    image = torch.zeros(3, 96, 160, dtype=torch.uint8)
    image[:, :, 80:] = 255
    tokens, dense = backbone(batch_of([image]))
    assert tokens.shape == (1, 96, 6, 10) and dense.shape == (1, 80, 6, 10)
    assert backbone.patch_size == 16
    # inside the halves, the patches are uniform: black and white
    patches = backbone._cut(batch_of([image])).unflatten(1, (6, 10))
    assert patches.shape[-1] == 3 * 14 * 14
    for column, value in ((0, 0.0), (9, 1.0)):
        wanted = clip_normalize(torch.full((1, 3, 14, 14), value))
        actual = patches[:, 2, column].reshape(1, 14, 14, 3).permute(0, 3, 1, 2)
        torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    'options',
    [
        dict(output='dense'),
        dict(output='both'),
        dict(output='both', out_indices=(0, 2)),
        dict(output='tokens', out_indices=(1,)),
        dict(output='tokens'),
        dict(output='both', frozen_stages=2),
        dict(output='both', lora=dict(r=2)),
        dict(output='dense', lora=dict(r=2)),
        dict(output='both', out_indices=(1,), lora=dict(r=2, target=TARGETS)),
    ],
    ids=str,
)
def test_every_trained_parameter_has_a_gradient(options):
    if 'lora' in options:
        pytest.importorskip('peft', reason="needs peft: pip install -e '.[finetune]'")
    backbone = FGCLIP1ViT(TINY, **options)
    outputs = backbone(batch_of(images((96, 64))))
    sum(output.square().mean() for output in outputs).backward()
    silent = [n for n, p in backbone.named_parameters() if p.requires_grad != (
        p.grad is not None)]  # fmt: skip
    assert silent == []
    names = {n for n, p in backbone.named_parameters() if p.requires_grad}
    first = 'vision_model.encoder.layers.0.layer_norm1.weight' in names
    assert first == (options.get('frozen_stages', -1) < 1 and 'lora' not in options)


def test_a_frozen_encoder_has_no_gradient():
    backbone = FGCLIP1ViT(TINY, output='both', frozen_stages=4)
    assert backbone.frozen
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not backbone(batch_of(images((32, 48))))[0].requires_grad


def test_options_without_effect():
    with pytest.raises(ValueError, match='has no windows, got window_size=4'):
        FGCLIP1ViT(TINY, window_size=4)
    with pytest.raises(ValueError, match=r'global_blocks=\(3,\); leave both out'):
        FGCLIP1ViT(TINY, global_blocks=(3,))
    pytest.importorskip('peft', reason="needs peft: pip install -e '.[finetune]'")
    lora = dict(target=('q_proj', 'k_proj'))
    with pytest.raises(ValueError, match=r'no output uses .*add v_proj'):
        FGCLIP1ViT(TINY, output='dense', frozen_stages=3, lora=lora)


def test_encoders_of_another_version():
    with pytest.raises(ValueError, match=r"FGCLIP2ViT needs .*backbone.type='FGCLIP1V"):
        FGCLIP2ViT(TINY)
    with pytest.raises(ValueError, match=r"FGCLIP1ViT needs .*backbone.type='FGCLIP2V"):
        FGCLIP1ViT(dict(pretrained='fgclip2_tiny'))
    with pytest.raises(ValueError, match='version must be 1 or 2'):
        FGCLIP1ViT(dict(size='tiny', version=3))


def test_layer_decay_treats_the_first_norm_as_an_embedding():
    assert _depth('backbone.vision_model.pre_layrnorm.weight', 4) == 5
    assert _depth('backbone.vision_model.encoder.layers.3.mlp.fc1.weight', 4) == 1
    assert _depth('backbone.visual_projection.weight', 4) == 0


def test_sizes_on_the_meta_device():
    with torch.device('meta'):
        backbone = FGCLIP1ViT(dict(size='large', version=1), output='both')
    assert backbone.embed_dims == 1024 and backbone.num_layers == 24
