# LLMDet Swin-L with FG-CLIP 2 large on LVIS val; not in the paper.
_base_ = [
    '../../_base_/models/rescore-llmdet.py',
    '../../_base_/datasets/lvis_val.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    detector=dict(pretrained='iSEE-Laboratory/llmdet_large'),
    encoder=dict(pretrained='qihoo360/fg-clip2-large'),
)
