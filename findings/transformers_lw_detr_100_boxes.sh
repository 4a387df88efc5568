#!/usr/bin/env bash
# transformers 5.23.0: the post-processing of LW-DETR keeps 100 boxes of its 300 queries, whatever the threshold.
#
# With threshold=0.0 one would guess to get a result for each query, as RT-DETR's post-processing gives. Seen: LW-DETR
# has Deformable DETR's processor, whose top_k is 100 unless one passes it; the rest of a crowded picture is dropped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch, transformers
from transformers import (DeformableDetrImageProcessorPil, LwDetrConfig, LwDetrForObjectDetection, LwDetrViTConfig,
                          RTDetrImageProcessorPil)
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

torch.manual_seed(0)
vit = LwDetrViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=320, pretrain_image_size=320,
                      num_windows=4, out_indices=[1, 2], window_block_indices=[0])
model = LwDetrForObjectDetection(LwDetrConfig(
    backbone_config=vit, projector_scale_factors=[1.0], d_model=32, decoder_ffn_dim=32, decoder_layers=1,
    decoder_self_attention_heads=2, decoder_cross_attention_heads=2, group_detr=1, c2f_num_blocks=1)).eval()
with torch.no_grad():
    outputs = model(torch.rand(1, 3, 320, 320))
own = DeformableDetrImageProcessorPil()
options = dict(threshold=0.0, target_sizes=[(320, 320)])
counts = [len(result['scores']) for result in (
    own.post_process_object_detection(outputs, **options)[0],
    own.post_process_object_detection(outputs, **options, top_k=300)[0],
    RTDetrImageProcessorPil().post_process_object_detection(outputs, **options)[0])]
print('transformers', transformers.__version__, '- lw_detr has', IMAGE_PROCESSOR_MAPPING_NAMES['lw_detr']['pil'])
print(model.config.num_queries, 'queries:', counts[0], 'boxes; with top_k=300:', counts[1], '; by RT-DETR:', counts[2])
assert IMAGE_PROCESSOR_MAPPING_NAMES['lw_detr']['pil'] == 'DeformableDetrImageProcessorPil'
assert counts == [100, 300, 300], 'it keeps all queries now'
PYTHON
