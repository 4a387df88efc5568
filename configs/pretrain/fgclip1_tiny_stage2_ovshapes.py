# A tiny FG-CLIP 1 from random weights on OVShapes, with its own losses, in one run:
# whole scenes of 224 px, half an hour of one core. Its tokens are bytes, 514 of them.
_base_ = [
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/schedules/align_cpu_short.py',
    '../_base_/align_runtime.py',
]
model = dict(
    type='FGCLIP2Alignment',
    encoder=dict(
        size='tiny', version=1, seed=0, sincos_positions=True, logit_scale=2.3
    ),
    losses=dict(preset='fgclip1'),
    autocast='auto',  # bfloat16 where the CPU multiplies it
    region_logit_scale=2.6391,  # ln 14
    hard_logit_scale=2.6391,
    data_preprocessor=dict(type='AlignmentDataPreprocessor'),
)
train_dataloader = dict(
    batch_size=16,
    collate_fn=dict(_delete_=True, type='AlignmentCollate', version=1),
    dataset=dict(num_images=12000),
)
