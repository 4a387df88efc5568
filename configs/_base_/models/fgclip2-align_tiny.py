# The tiny encoder from random weights. Initial values only; the architecture is
# FG-CLIP 2's.
model = dict(
    type='FGCLIP2Alignment',
    encoder=dict(
        size='tiny',
        seed=0,
        sincos_positions=True,
        logit_scale=2.3026,  # ln 10
        logit_bias=-6.0,
    ),
    losses=dict(preset='default'),
    autocast='auto',  # bfloat16 where the CPU multiplies it
    region_logit_scale=2.6391,  # ln 14
    hard_logit_scale=2.6391,
    data_preprocessor=dict(type='AlignmentDataPreprocessor'),
)
