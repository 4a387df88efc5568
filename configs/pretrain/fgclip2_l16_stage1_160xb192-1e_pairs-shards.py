# 160 x 192 = 30,720 images a step; 79,753 steps are an epoch of 2,450 M images.
_base_ = './fgclip2_b16_stage1_160xb384-1e_pairs-shards.py'
weights = 'google/siglip2-large-patch16-512'
