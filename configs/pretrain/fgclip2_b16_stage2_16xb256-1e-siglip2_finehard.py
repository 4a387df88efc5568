# Stage 2 alone, from SigLIP 2, with the paper's losses: its table D, "stage-2 data
# only".
_base_ = './fgclip2_b16_stage2_16xb256-1e_finehard.py'
weights = 'google/siglip2-base-patch16-naflex'
model = dict(encoder=dict(_delete_=True, siglip2=weights))  # all heads are copies then
