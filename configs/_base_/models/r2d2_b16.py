# A ranker for FG-CLIP 2 base: two joint encoders of 6 layers, 768 wide, 12 heads, over
# the tokens of both towers (arXiv:2205.03860, section 4.1). FG-CLIP 1:
# encoder=dict(clip='openai/clip-vit-base-patch16'), and collate_fn.version=1.
weights = 'qihoo360/fg-clip2-base'  # hub id, or a folder with its files
model = dict(
    type='R2D2Alignment',
    encoder=dict(pretrained=weights),
    losses=dict(preset='fine_tuning'),
    ranker=dict(num_hidden_layers=6),
    captions='short',
    gradient_checkpointing=True,
    data_preprocessor=dict(type='AlignmentDataPreprocessor', non_blocking=True),
)
