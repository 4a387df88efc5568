# FG-CLIP 2's training-free detection (arXiv:2510.10921, section 4.2.3, appendix B):
# LLMDet from Hugging Face, re-scored. What the paper leaves open is an option here:
# - mode: 'joint' reads 'recalibrate across the entire category space', 'keep' and 'box'
#   are the other readings; merge_iou joins what the chunks of names find again
# - temperature: 0.01, the released region evaluation's; templates: its 80 prompts
model = dict(
    type='FGCLIP2Rescorer',
    detector=dict(
        type='HuggingFaceDetector',
        pretrained='iSEE-Laboratory/llmdet_tiny',
        chunk_size=40,  # names a pass, 300 results each: LLMDet's LVIS setting
        max_per_image=300,
    ),
    encoder=dict(pretrained='qihoo360/fg-clip2-base'),
    fusion=dict(type='OpenVocabGeometricFusion', alpha=0.5, temperature=0.01),
    mode='joint',
    merge_iou=0.7,
    nms_iou=0.7,
    labels_per_box=3,
    max_per_image=1000,  # fixed AP has no limit an image
    max_num_patches='auto',
    templates='imagenet80',
    cache_dir='work_dirs/text_cache',
)
