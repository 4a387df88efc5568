# OVShapes with captions, region phrases and hard negatives, English and Chinese.
# Another seed than the detector's data, whose val split stays unseen. Beside the 48
# base classes: twelve colours more than the 80 classes have, each with all ten shapes,
# so that a shape is known whatever its colour. Novel pairs are neither drawn nor named.
data_root = '{{$OVSHAPES_ROOT:data/ovshapes}}'
num_images, seed = 30000, 1
train_dataloader = dict(
    batch_size=32,
    num_workers=0,  # an image loads in 1 ms; both cores train
    persistent_workers=False,
    sampler=dict(type='BilingualSampler', seed=seed, infinite=True),
    batch_sampler=dict(type='BilingualBatchSampler'),
    collate_fn=dict(type='AlignmentCollate', max_num_patches=256),
    dataset=dict(
        type='OVShapesAlignmentDataset',
        data_root=data_root,
        num_images=num_images,
        seed=seed,
        extra_colors=True,
        max_anns=None,
    ),
)
