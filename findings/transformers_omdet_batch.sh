#!/usr/bin/env bash
# transformers 5.23.0: OmDet-Turbo's boxes of a picture depend on how many names the picture beside it is asked for.
#
# A batch may ask each picture for other names. Where one has fewer, its names are padded. One would guess that padding changes
# nothing. Seen: beside a picture with as many names, boxes are the same as alone. Beside one with three, the padding's
# zeros pass through a linear layer with a bias, are compared with each proposal as a name would be, and other
# proposals become queries: the boxes differ.
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
for name, weight in model.named_parameters():
    if 'class_head' in name:
        torch.nn.init.normal_(weight, std=0.5)  # as in a trained model, their biases are not 0
alone = ask(images[:1], [[10]])
moved = {}
for others in ([11], [11, 12, 13]):
    beside = ask(images, [[10], others])
    moved[len(others)] = float((beside.decoder_coord_logits[0] - alone.decoder_coord_logits[0]).abs().max())
    print(f'one name, beside a picture with {len(others)}: boxes differ by {moved[len(others)]:.6f} of the picture')
print('transformers', transformers.__version__)
assert moved[1] < 1e-4, moved
assert moved[3] > 0.01, 'padding changes nothing now'
PYTHON
