#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0: PiSSA and OLoRA change what SigLIP and SigLIP 2 compute before the first step.
#
# PEFT's guide to LoRA gives init_lora_weights="pissa" and "olora" as initialisations, which move a part of a weight W into the
# adapter: W = residual + B A. One would guess that the model computes what it did, and that merging gives W back. Seen with
# target_modules q_proj, k_proj, v_proj and out_proj, as one writes for CLIP: tokens are the same, and the pooled embedding, which
# is compared with texts, is another. The pooling head is torch's nn.MultiheadAttention, which has an out_proj too, and reads its
# weight without calling it: the residual without B A. Nothing is raised; merge_and_unload gives the old model back, so that a
# merged model computes other scores than the one that was trained. With the default initialisation (B = 0) scores stay the same
# and that adapter is counted as trainable and has no gradient. CLIP, whose class token is pooled without it, is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 peft==0.21.2 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import peft, torch, transformers
from peft import LoraConfig, get_peft_model
from transformers import (CLIPVisionConfig, CLIPVisionModel, Siglip2VisionConfig, Siglip2VisionModel, SiglipVisionConfig,
                          SiglipVisionModel)

sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, patch_size=16)
torch.manual_seed(0)
picture = dict(pixel_values=torch.rand(2, 3, 32, 32))
patches = dict(pixel_values=torch.rand(2, 4, 768), pixel_attention_mask=torch.ones(2, 4, dtype=torch.long),
               spatial_shapes=torch.tensor([[2, 2], [2, 2]]))
cases = {'CLIP': (CLIPVisionModel, CLIPVisionConfig(**sizes, image_size=32), picture),
         'SigLIP': (SiglipVisionModel, SiglipVisionConfig(**sizes, image_size=32), picture),
         'SigLIP 2': (Siglip2VisionModel, Siglip2VisionConfig(**sizes, num_patches=4), patches)}


def outputs(model, inputs):
    with torch.no_grad():
        found = model(**inputs)
    return found.last_hidden_state, found.pooler_output


def least_cosine(first, second):
    return float(torch.cosine_similarity(first, second).min())


print('peft', peft.__version__, 'transformers', transformers.__version__, 'torch', torch.__version__)
for name, (kind, config, inputs) in cases.items():
    for start in ('default', 'pissa', 'olora'):
        torch.manual_seed(0)
        model = kind(config).eval()
        tokens, pooled = outputs(model, inputs)
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=['q_proj', 'k_proj', 'v_proj', 'out_proj'],
                                                   init_lora_weights=True if start == 'default' else start)).eval()
        new_tokens, new_pooled = outputs(adapted, inputs)
        adapted(**inputs).pooler_output.square().sum().backward()
        without = [key for key, weight in adapted.named_parameters() if weight.requires_grad and weight.grad is None]
        _, merged = outputs(adapted.merge_and_unload(), inputs)
        cosine, back = least_cosine(pooled, new_pooled), least_cosine(pooled, merged)
        print(f'{name:8} {start:7} cosine of the pooled embedding before and after: {cosine:6.3f}, merged: {back:.3f};',
              len(without), 'adapter weights without a gradient')
        assert torch.allclose(tokens, new_tokens, atol=1e-4)
        assert back > 0.9999, back
        if name == 'CLIP' or start == 'default':
            assert cosine > 0.9999, cosine
        else:
            assert cosine < 0.95, 'the pooled embedding stays the same now'
        assert len(without) == (0 if name == 'CLIP' else 2), without
        assert all('head.attention.out_proj' in key for key in without), without
PYTHON
