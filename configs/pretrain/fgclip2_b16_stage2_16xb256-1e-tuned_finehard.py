# Go on from the released weights, on your own records. All heads are kept.
_base_ = './fgclip2_b16_stage2_16xb256-1e_finehard.py'
weights = 'qihoo360/fg-clip2-base'
model = dict(encoder=dict(pretrained=weights, copy_heads=()))
