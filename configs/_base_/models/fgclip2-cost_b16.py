# Cat-Seg's decoder (arXiv:2303.11797) on FG-CLIP 2 base; sizes of FG-CLIP 2's table B.
model = dict(
    type='OpenVocabSegmentor',
    templates='imagenet80',
    data_preprocessor=dict(type='FGCLIP2DetDataPreprocessor', pad_seg=True),
    backbone=dict(
        type='FGCLIP2ViT',
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
        output='both',
        out_indices=(3, 7),  # guide the decoder
        frozen_stages=-1,  # trained along, at lr_mult of the schedule; 12: frozen
    ),
    decode_head=dict(
        type='OpenVocabCostHead',
        embed_dims=768,
        map_channels=768,
        hidden_channels=128,
        num_layers=2,
        num_heads=4,
        appearance_channels=128,
        text_channels=128,
        window_size=12,
        pool_size=2,
        guidance_channels=(256, 128),
        guidance_proj_channels=(32, 16),
        decoder_channels=(64, 32),
    ),
)
