# The same for large, at 336 px.
_base_ = './fgclip1_b16_stage2_8xb512-1e_finehard.py'
weights = 'openai/clip-vit-large-patch14-336'
tokenizer = 'openai/clip-vit-large-patch14-336'
model = dict(encoder=dict(clip=weights), micro_batch_size=32)
train_dataloader = dict(
    collate_fn=dict(tokenizer=tokenizer, grid_side=24, patch_size=14)
)
