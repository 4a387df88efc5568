#!/usr/bin/env bash
# timm 1.0.31: layer_decay of create_optimizer_v2 does nothing unless one of timm's own schedulers is made for the optimizer.
#
# The docstring says: "If provided, learning rates will be scaled by layer_decay^(max_depth - layer_depth)." One would guess that
# the parameter groups have these rates. Seen: all have the whole rate and an entry lr_scale that no optimizer reads; torch's
# schedulers, and a loop without one, train the patch embedding of a fine-tuned ViT as fast as its new head. Making a
# CosineLRScheduler of timm changes the rates at once, before its first step. A request to write the rates was closed:
# https://github.com/huggingface/pytorch-image-models/pull/2532.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 pyyaml==6.0.3 huggingface-hub==2.4.0 safetensors==0.8.0
"$folder/env/bin/pip" install -q --no-deps timm==1.0.31 torchvision==0.28.0 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch

try:
    import torchvision
except RuntimeError:  # built for another PyTorch: it imports with these two operators declared, and none is used here
    for name in ('nms', 'qnms'):
        torch.library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float threshold) -> Tensor')
import timm
from timm.models.vision_transformer import VisionTransformer
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler


def made():
    torch.manual_seed(0)
    model = VisionTransformer(img_size=32, patch_size=16, embed_dim=16, depth=3, num_heads=2, num_classes=2)
    return model, create_optimizer_v2(model, opt='sgd', lr=1.0, layer_decay=0.5)


def step_sizes(model, optimizer):
    """By how much a step with a gradient of 1 moves a weight of each depth, in parts of the head's."""
    watched = {'patches': model.patch_embed.proj.weight, 'block 0': model.blocks[0].attn.qkv.weight,
               'block 2': model.blocks[2].attn.qkv.weight, 'head': model.head.weight}
    before = {name: weight.detach().clone() for name, weight in watched.items()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moves = {name: float((before[name] - weight).mean()) for name, weight in watched.items()}
    return {name: round(move / moves['head'], 4) for name, move in moves.items()}


print('timm', timm.__version__, 'torch', torch.__version__, '- layer_decay=0.5')
model, optimizer = made()
scales = sorted({group['lr_scale'] for group in optimizer.param_groups})
print('rates', sorted({group['lr'] for group in optimizer.param_groups}), 'lr_scale', scales)
assert scales == [0.0625, 0.125, 0.25, 0.5, 1.0], scales
assert {group['lr'] for group in optimizer.param_groups} == {1.0}, 'the groups have their own rates now'
sizes = step_sizes(model, optimizer)
print('steps without a scheduler          ', sizes)
assert set(sizes.values()) == {1.0}, sizes
model, optimizer = made()
torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
sizes = step_sizes(model, optimizer)
print('steps with torch\'s CosineAnnealingLR', sizes)
assert set(sizes.values()) == {1.0}, sizes
model, optimizer = made()
CosineLRScheduler(optimizer, 10)
sizes = step_sizes(model, optimizer)
print('steps with timm\'s CosineLRScheduler ', sizes)
assert sizes == {'patches': 0.0625, 'block 0': 0.125, 'block 2': 0.5, 'head': 1.0}, sizes
PYTHON
