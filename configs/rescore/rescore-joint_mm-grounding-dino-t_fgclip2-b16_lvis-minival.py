# Training-free: MMDetection's own MM Grounding DINO Swin-T on LVIS minival, its scores
# fused with FG-CLIP 2's; not in the paper. COCO_ROOT may point elsewhere. Needs lvis,
# transformers.
#   tools/test.py THIS CHECKPOINT
# with a Swin-T checkpoint of MMDetection's configs/mm_grounding_dino.
_base_ = (
    'mmdet::mm_grounding_dino/lvis/grounding_dino_swin-t_pretrain_zeroshot_mini-lvis.py'
)
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
custom_hooks = [dict(type='OpenVocabVocabularyHook')]
_base_.model.encoder.num_cp = 0  # saves memory in training, and needs fairscale
_base_.model.backbone.with_cp = False
data_root = '{{$COCO_ROOT:data/coco}}'
test_ann_file = 'annotations/lvis_v1_minival_inserted_image_name.json'
model = dict(
    _delete_=True,
    type='FGCLIP2Rescorer',
    detector=_base_.model,  # 40 names a pass, 300 results each
    encoder=dict(pretrained='qihoo360/fg-clip2-base'),
    # as configs/_base_/models/rescore-llmdet.py
    fusion=dict(type='OpenVocabGeometricFusion', alpha=0.5, temperature=0.01),
    mode='joint',
    merge_iou=0.7,
    nms_iou=0.7,
    labels_per_box=3,
    max_per_image=1000,
    templates='imagenet80',
    cache_dir='work_dirs/text_cache',
)
test_dataloader = dict(dataset=dict(data_root=data_root, ann_file=test_ann_file))
test_evaluator = dict(ann_file=data_root + '/' + test_ann_file)
