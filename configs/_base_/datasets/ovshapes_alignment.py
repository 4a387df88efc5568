# OVShapes with captions, region phrases and hard negatives, English and Chinese.
# Another seed than the detector's data, whose val split stays unseen.
data_root = '{{$OVSHAPES_ROOT:data/ovshapes}}'
num_images, seed = 12000, 1
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
        max_anns=None))
