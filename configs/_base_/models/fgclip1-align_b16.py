# FG-CLIP 1 from OpenAI's CLIP, with the released losses (arXiv:2505.05071, section 3):
# both captions over all processes, 0.1 x regions of one process, 0.5 x eleven texts.
weights = 'openai/clip-vit-base-patch16'  # hub id, or a folder with safetensors
model = dict(
    type='FGCLIP2Alignment',
    encoder=dict(clip=weights),
    losses=dict(preset='fgclip1'),
    region_logit_scale=4.6052,  # ln 100, CLIP's own scale, which the script copies
    hard_logit_scale=4.6052,
    gradient_checkpointing=True,
    micro_batch_size=128,  # see fgclip2-align_b16.py
    data_preprocessor=dict(type='AlignmentDataPreprocessor', non_blocking=True),
)
