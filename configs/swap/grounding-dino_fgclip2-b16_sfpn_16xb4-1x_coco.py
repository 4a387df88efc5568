# MMDetection's MM Grounding DINO, 4 scales: levels of stride 8 to 64; the encoder
# learns at 2e-5. All but backbone and neck start from the released Swin-T detector
# (load_from).
_base_ = 'mmdet::mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_coco.py'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(
        _delete_=True, type='FGCLIP2DetDataPreprocessor', pad_size_divisor=32
    ),
    backbone=dict(
        _delete_=True,
        type='FGCLIP2ViT',
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
    ),
    neck=dict(
        _delete_=True,
        type='FGCLIP2SimpleFPN',
        in_channels=768,
        out_channels=256,
        scales=(2, 1, 0.5),
        num_outs=4,
    ),
    encoder=dict(num_cp=0),  # saves memory in training, and needs fairscale
)
