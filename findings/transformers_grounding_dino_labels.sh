#!/usr/bin/env bash
# transformers 5.23.0: the labels that Grounding DINO's post-processing gives need not be names that were asked for.
#
# The processor takes a list of names. One would guess that each box comes back with one of them. Seen: the words above
# text_threshold are strung together, across names and with the full stops and [SEP] between them: 'black cat. cup.' for
# 'black cat' and 'red cup', or nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch, transformers
from PIL import Image
from transformers import (BertConfig, BertTokenizerFast, GroundingDinoConfig, GroundingDinoForObjectDetection,
                          GroundingDinoImageProcessorPil, GroundingDinoProcessor, SwinConfig)

torch.manual_seed(0)
layers = {f'{part}_{name}': value for part in ('encoder', 'decoder')
          for name, value in dict(layers=2, ffn_dim=32, attention_heads=2).items()}
swin = SwinConfig(embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4, image_size=96,
                  out_features=['stage2', 'stage3', 'stage4'])
bert = BertConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=64)
model = GroundingDinoForObjectDetection(GroundingDinoConfig(
    backbone_config=swin, text_config=bert, d_model=32, num_queries=20, max_text_len=16, **layers)).eval()
words = '[PAD] [UNK] [CLS] [SEP] [MASK] . ? black cat red cup'.split()
tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
processor = GroundingDinoProcessor(GroundingDinoImageProcessorPil(size=dict(height=96, width=96)), tokenizer)
inputs = processor(images=Image.new('RGB', (96, 96), 'red'), text=[['black cat', 'red cup']], return_tensors='pt')
with torch.no_grad():
    outputs = model(**inputs)
middle = float(outputs.logits.sigmoid()[..., 1:6].median())
(result,) = processor.post_process_grounded_object_detection(
    outputs, inputs['input_ids'], threshold=0.0, text_threshold=middle)
labels = sorted(set(result['text_labels']))
print('transformers', transformers.__version__)
print("asked for 'black cat', 'red cup':", labels)
assert any('cat' in label and 'cup' in label for label in labels), 'a label is one name now'
assert not {'black cat', 'red cup'} & set(labels)
PYTHON
