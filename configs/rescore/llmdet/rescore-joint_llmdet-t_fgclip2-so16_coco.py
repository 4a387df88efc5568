# LLMDet Swin-T with FG-CLIP 2 So400m on COCO val; not in the paper.
_base_ = [
    '../../_base_/models/rescore-llmdet.py',
    '../../_base_/datasets/coco_val.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    detector=dict(pretrained='iSEE-Laboratory/llmdet_tiny', chunk_size=80),
    encoder=dict(pretrained='qihoo360/fg-clip2-so400m'),
    labels_per_box=1,
    max_per_image=300,
)
