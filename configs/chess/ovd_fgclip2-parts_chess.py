# The embedded model, trained along, with names composed of colour and piece: what is
# learned of a white knight and of a black rook serves the white rook, once pieces are
# seen in the colours of others (docs/names_of_parts.md). One command:
#   tools/train.py configs/chess/ovd_fgclip2-parts_chess.py --cfg-options data_root=DIR
_base_ = './ovd_fgclip2_chess.py'
max_epochs = 11
recolor_prob = 0.65  # 0: pieces as they were photographed
max_num_patches = 1024
parts = {
    f'{color} {piece} chess piece': [color, piece]
    for color in ['white', 'black']
    for piece in ['pawn', 'rook', 'knight', 'bishop', 'queen', 'king']
}
parts.update(
    {
        f'{color}国际象棋{piece}': [color, piece]
        for color in ['白色', '黑色']
        for piece in ['兵', '车', '马', '象', '后', '王']
    }
)
train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RecolorObjects', parts=parts, prob=recolor_prob),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackOpenVocabInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    parts=parts,
    backbone=dict(encoder=dict(_delete_=True, pretrained='fgclip2_tiny')),
    roi_head=dict(
        # novel pieces stand unannotated in every photograph, as background
        bbox_head=dict(
            loss_cls=dict(bg_weight=0.05),
            classifier=dict(logit_scale=3.0),
            name_parts=dict(loss_weight=1.0, unlabelled_weight=1.0),
        ),
        # the detector's own scores: the encoder's know novel pieces worse than they do
        fusion=dict(beta=0.0, temperature=0.05),
    ),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        convert_to_iter_based=True,
    ),
]
