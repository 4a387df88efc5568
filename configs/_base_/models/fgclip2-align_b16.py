# FG-CLIP 2 base from SigLIP 2: the paper's start, and its losses with TIC's mean.
weights = 'google/siglip2-base-patch16-naflex'  # hub id, or a folder with its files
model = dict(
    type='FGCLIP2Alignment',
    encoder=dict(siglip2=weights),
    # 'paper' (section 3.2) or 'released' (the code); single weights: losses.tic=0.2.
    # Equation 1 sums TIC over texts where all other terms are means: 0.1 times it is
    # 989 for 4,096 random texts. Its mean, 0.24, is what the released code takes, too.
    losses=dict(preset='paper', tic_reduction='mean'),
    region_logit_scale=4.6052,  # ln 100, as released
    hard_logit_scale=4.6052,
    # A step costs a forward (1) and a backward (2); either of these adds a forward (1).
    # Blocks keep their inputs alone, and are computed again in backward:
    gradient_checkpointing=True,
    # A process puts only so many images, and texts, through a tower at once; None: all.
    # The losses still see all embeddings of all processes: parts meet before the
    # losses, and backward computes part by part again.
    # optim_wrapper.accumulative_counts is no substitute, for it makes several small
    # contrastive batches of a large one.
    micro_batch_size=128,
    data_preprocessor=dict(type='AlignmentDataPreprocessor', non_blocking=True),
)
