"""The shared part equals transformers' CLIP, outputs and gradients."""

import pytest
import torch
from PIL import Image

from fgclip2_det import FGCLIP1, load_encoder
from fgclip2_det.fgclip2.checkpoint import stretch_positions
from fgclip2_det.fgclip2.preprocess import unpatchify

transformers = pytest.importorskip('transformers')

# other widths, patches and images than the golden model's; the second has the layout of
# ViT-L/14 at 336 px
LAYOUTS = {'patch 8, 48 px': (56, 8, 48), 'patch 14, 336 px': (32, 14, 336)}


def clip(width: int, patch: int, image: int):
    sizes = dict(num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(0)
    model = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=dict(
                sizes, hidden_size=40, intermediate_size=80, vocab_size=300,
                bos_token_id=298, eos_token_id=299, pad_token_id=299,
            ),
            vision_config=dict(
                sizes, hidden_size=width, intermediate_size=3 * width,
                patch_size=patch, image_size=image,
            ),
            projection_dim=24,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():  # away from zero biases and unit norms
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.fixture(scope='module', params=list(LAYOUTS))
def models(request, tmp_path_factory):
    """A random CLIPModel and our model started from its saved folder."""
    theirs = clip(*LAYOUTS[request.param])
    folder = tmp_path_factory.mktemp('clip')
    theirs.save_pretrained(folder)
    ours = load_encoder(folder)
    assert isinstance(ours, FGCLIP1)
    return theirs, ours


def images() -> list[Image.Image]:
    torch.manual_seed(1)
    sizes = ((60, 90), (400, 350))
    return [
        Image.fromarray(torch.randint(0, 256, (h, w, 3)).byte().numpy())
        for h, w in sizes
    ]


def ids(length: int = 77) -> torch.Tensor:
    """Three texts of other lengths, one of them cut, one empty."""
    out = torch.full((3, length), 299)
    out[:, 0] = 298
    out[0, 1:9] = torch.arange(8)
    out[1, 1:-1] = torch.arange(length - 2) * 7 % 298
    return out


def features(outputs) -> torch.Tensor:
    """What get_image_features returns: a tensor up to transformers 4."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs.pooler_output


def test_preprocessing(models):
    _, ours = models
    side = ours.config.vision.image_size
    processor = transformers.CLIPImageProcessor(
        size=dict(shortest_edge=side), crop_size=dict(height=side, width=side)
    )
    squashed = [image.resize((side, side)) for image in images()]
    wanted = processor(squashed, return_tensors='pt')['pixel_values']
    batch = ours.preprocess(images())
    grid = (ours.config.vision.grid_side,) * 2
    actual = unpatchify(batch.pixel_values, grid, ours.config.vision.patch_size)
    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=0)


def pixels(ours, batch):
    grid = batch.grid_sizes[0].tolist()
    return unpatchify(batch.pixel_values, grid, ours.config.vision.patch_size)


def check_same(models, outputs, names):
    """Outputs are equal, and so are gradients of a weighted sum by name."""
    wanted, actual = outputs
    torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-4)
    weights = torch.randn_like(wanted)
    for model, output in zip(models, outputs, strict=True):
        model.zero_grad()
        (output * weights).sum().backward()
    for name in names:
        pair = [model.get_parameter(name).grad for model in models]
        torch.testing.assert_close(pair[1], pair[0], atol=2e-3, rtol=1e-3)


def test_image_embeddings_and_gradients(models):
    theirs, ours = models
    batch = ours.preprocess(images())
    wanted = features(theirs.get_image_features(pixels(ours, batch)))
    actual = ours.encode_image(batch)
    names = (
        'vision_model.embeddings.class_embedding',
        'vision_model.embeddings.patch_embedding.weight',
        'vision_model.embeddings.position_embedding.weight',
        'vision_model.encoder.layers.1.mlp.fc1.weight',
        'visual_projection.weight',
    )
    check_same(models, (wanted, actual), names)


def test_dense_features(models):
    """Of transformers' hidden states: the last block's values without attention."""
    theirs, ours = models
    batch = ours.preprocess(images())
    tower = theirs.vision_model
    with torch.no_grad():
        outputs = tower(pixels(ours, batch), output_hidden_states=True)
        x = outputs.hidden_states[-2][:, 1:]
        block = tower.encoder.layers[-1]
        x = x + block.self_attn.out_proj(block.self_attn.v_proj(block.layer_norm1(x)))
        x = x + block.mlp(block.layer_norm2(x))
        wanted = theirs.visual_projection(tower.post_layernorm(x))
        actual = torch.stack(ours.dense_grids(batch)).flatten(1, 2)
    torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-4)


def test_another_grid_interpolates_positions(models):
    theirs, ours = models
    side = ours.config.vision.grid_side - 2
    batch = ours.preprocess(images(), side**2 + 3)
    assert batch.grid_sizes.tolist() == [[side, side]] * 2
    with torch.no_grad():
        wanted = theirs.get_image_features(
            pixels(ours, batch), interpolate_pos_encoding=True
        )
        actual = ours.encode_image(batch)
    torch.testing.assert_close(actual, features(wanted), atol=1e-4, rtol=1e-4)


def test_text_embeddings_and_gradients(models):
    theirs, ours = models
    wanted = features(theirs.get_text_features(ids()))
    actual = ours.encode_text(ids(), 'short')
    names = (
        'text_model.embeddings.token_embedding.weight',
        'text_model.embeddings.position_embedding.weight',
        'text_model.encoder.layers.0.self_attn.q_proj.weight',
        'text_projection.weight',
    )
    check_same(models, (wanted, actual), names)


def test_long_texts_start_from_the_stretched_table(models):
    """The first 20 positions are CLIP's, so a short text is the same in both modes."""
    theirs, ours = models
    short, long = ids()[[0, 2]], ids(248)[[0, 2]]
    with torch.no_grad():
        a, b = ours.encode_text(short, 'short'), ours.encode_text(long, 'long')
    torch.testing.assert_close(a, b)
    table = theirs.text_model.embeddings.position_embedding.weight
    embeddings = ours.text_model.embeddings
    for part in (embeddings.position_embedding_res, embeddings.position_embedding_ori):
        assert len(part.weight) == 248
        torch.testing.assert_close(part.weight, stretch_positions(table))
    for name in ('logit_scale_finegraind', 'logit_scale_hardneg'):
        assert torch.equal(ours.get_parameter(name), ours.logit_scale)


def test_logits(models):
    theirs, ours = models
    batch = ours.preprocess(images())
    with torch.no_grad():
        wanted = theirs(ids(), pixels(ours, batch)).logits_per_image
        actual = ours(batch, ids())
    torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-4)


def test_what_is_saved_is_read_by_transformers(models, tmp_path):
    _, ours = models
    ours.save_pretrained(tmp_path / 'out')
    loading = transformers.CLIPModel.from_pretrained(
        tmp_path / 'out', output_loading_info=True
    )
    theirs, info = loading
    assert not info['missing_keys']
    with torch.no_grad():
        wanted = features(theirs.get_text_features(ids()))
        torch.testing.assert_close(ours.encode_text(ids(), 'box'), wanted)
