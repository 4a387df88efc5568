#!/usr/bin/env bash
# transformers 5.23.0: Florence-2's post-processing takes every letter outside ASCII out of a label.
#
# Its tokenizer writes any text. One would guess that a box of 'café table' is labelled so, and that labels can be matched with
# the names asked for. Seen: 'caf table', and '' for a Chinese name, without a word about it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import transformers
from transformers import BartTokenizer, CLIPImageProcessorPil, Florence2Processor

tokens = ['<s>', '<pad>', '</s>', '<unk>', *'abcdefghijklmnopqrstuvwxyz']
tokenizer = BartTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[],
                          extra_special_tokens=dict(image_token='<image>'))
parsers = dict.fromkeys(('description_with_bboxes', 'description_with_bboxes_or_polygons', 'phrase_grounding'), {})
processor = Florence2Processor(CLIPImageProcessorPil(image_seq_length=5), tokenizer, post_processor_config=parsers)
box = '<loc_100><loc_100><loc_200><loc_200>'
seen = {}
for task in ('<OD>', '<OPEN_VOCABULARY_DETECTION>', '<CAPTION_TO_PHRASE_GROUNDING>'):
    text = f'</s><s>café table{box}黑猫{box}</s>'
    answer = processor.post_process_generation(text, task=task, image_size=(640, 480))[task]
    seen[task] = answer.get('labels', answer.get('bboxes_labels'))
    print(f'{task}: café table, 黑猫 -> {seen[task]}')
print('transformers', transformers.__version__)
assert all(labels == ['caf table', ''] for labels in seen.values()), 'labels keep their letters now'
PYTHON
