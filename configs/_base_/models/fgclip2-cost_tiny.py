# The same around the tiny encoder: 128 channels, 4 blocks, for a CPU. It stays frozen.
_base_ = './fgclip2-cost_b16.py'
model = dict(
    templates='raw',
    backbone=dict(
        encoder=dict(pretrained='fgclip2_tiny'), out_indices=(0, 1), frozen_stages=4
    ),
    decode_head=dict(
        embed_dims=128,
        map_channels=128,
        hidden_channels=32,
        num_layers=1,
        num_heads=2,
        appearance_channels=32,
        text_channels=32,
        window_size=10,
        guidance_channels=(32, 32),
        guidance_proj_channels=(8, 4),
        decoder_channels=(16, 8),
    ),
    num_train_names=12,
)
