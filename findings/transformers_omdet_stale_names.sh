#!/usr/bin/env bash
# transformers 5.23.0: OmDet-Turbo keeps the embeddings of names that it was asked once, also when its weights change.
#
# One would guess that load_state_dict puts a model into the state of a checkpoint. Seen: names that were asked before
# keep the embeddings of the old text encoder, so that two models with equal weights give other scores for the same input.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch, transformers
from transformers import CLIPTextConfig, OmDetTurboConfig, OmDetTurboForObjectDetection, SwinConfig

torch.manual_seed(0)
swin = SwinConfig(embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4, image_size=96,
                  out_features=['stage2', 'stage3', 'stage4'])
text = CLIPTextConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=100,
                      max_position_embeddings=16, pad_token_id=0, bos_token_id=1, eos_token_id=2)
words = dict.fromkeys(('text_projection_in_dim', 'text_projection_out_dim', 'class_embed_dim', 'task_encoder_hidden_dim'), 32)
sizes = dict.fromkeys(('encoder_hidden_dim', 'encoder_dim_feedforward', 'decoder_hidden_dim', 'decoder_dim_feedforward'), 16)
model = OmDetTurboForObjectDetection(OmDetTurboConfig(
    backbone_config=swin, text_config=text, image_size=96, num_queries=20, vision_features_channels=[16] * 3,
    encoder_in_channels=[32, 64, 128], encoder_attention_heads=2, decoder_num_heads=2, decoder_num_layers=1,
    apply_layernorm_after_vision_backbone=False, **words, **sizes)).eval()


def row(*words):
    return [1, *words, 2] + [0] * (6 - len(words))


@torch.no_grad()
def ask(images, names):
    """names: for each image, names of one token each."""
    classes = torch.tensor([row(name) for one in names for name in one])
    tasks = torch.tensor([row(*one) for one in names])
    return model(pixel_values=images, classes_input_ids=classes, classes_attention_mask=(classes > 0).long(),
                 tasks_input_ids=tasks, tasks_attention_mask=(tasks > 0).long(),
                 classes_structure=torch.tensor([len(one) for one in names]))


images = torch.rand(2, 3, 96, 96)
first = ask(images[:1], [[10, 11]]).decoder_class_logits
weights = {name: torch.randn_like(value) * 0.2 if name.startswith('language_backbone') and value.is_floating_point()
           else value for name, value in model.state_dict().items()}
model.load_state_dict(weights)
loaded = ask(images[:1], [[10, 11]]).decoder_class_logits
fresh = OmDetTurboForObjectDetection(model.config).eval()
fresh.load_state_dict(weights)
model, old = fresh, model
expected = ask(images[:1], [[10, 11]]).decoder_class_logits
print('transformers', transformers.__version__)
print(f'after loading other text weights, logits change by {float((loaded - first).abs().max()):.4f}')
print(f'a new model with these weights differs by          {float((expected - loaded).abs().max()):.4f}')
assert torch.equal(loaded, first), 'loading changes what is known of a name now'
assert (expected - loaded).abs().max() > 0.01
PYTHON
