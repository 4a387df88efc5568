# LLMDet Swin-T with FG-CLIP 2 base on LVIS val; the paper reports AP 34.9 -> 44.0.
_base_ = [
    '../../_base_/models/rescore-llmdet.py',
    '../../_base_/datasets/lvis_val.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    detector=dict(pretrained='iSEE-Laboratory/llmdet_tiny'),
    encoder=dict(pretrained='qihoo360/fg-clip2-base'),
)
