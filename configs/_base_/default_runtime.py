# MMDetection's runtime plus this package: the one place that imports the plugin.
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
custom_hooks = [
    dict(type='OpenVocabVocabularyHook'),  # the data set's classes are the vocabulary
    dict(type='OpenVocabBadImageHook'),  # speaks when images were skipped
    dict(type='CheckInvalidLossHook', interval=10),  # a diverged run stops
]
