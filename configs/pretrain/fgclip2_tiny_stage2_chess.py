# Regions of real photographs: the names of the base pieces, English and Chinese, in the
# embedded model. First, once:
#   python tools/coco_to_records.py data/chess/train.json --out data/chess_records \
#       --novel white-rook black-bishop white-queen --languages en zh
_base_ = [
    '../_base_/models/fgclip2-align_tiny.py',
    '../_base_/datasets/coco_alignment.py',
    '../_base_/schedules/align_cpu.py',
    '../_base_/align_runtime.py',
]
max_iters, decay_from = 500, 200
model = dict(
    encoder=dict(_delete_=True, pretrained='fgclip2_tiny'),
    losses=dict(short=0.0, long=0.0),  # there are no captions
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.02,
        by_epoch=False,
        begin=decay_from,
        end=max_iters,
    ),
]
