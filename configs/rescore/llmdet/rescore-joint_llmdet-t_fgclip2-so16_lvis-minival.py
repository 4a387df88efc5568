# LLMDet Swin-T with FG-CLIP 2 So400m on LVIS minival; the paper reports AP 44.7
# -> 53.1.
_base_ = [
    '../../_base_/models/rescore-llmdet.py',
    '../../_base_/datasets/lvis_minival.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    detector=dict(pretrained='iSEE-Laboratory/llmdet_tiny'),
    encoder=dict(pretrained='qihoo360/fg-clip2-so400m'),
)
