"""Train the small English and Chinese tokenizer that ships in ``assets/``.

    python tools/train_tokenizer.py --tags recognize-anything/ram/data \
        --out fgclip2_det/assets/fgclip2_tiny

It is built in the manner of Gemma's, which the released models use: SentencePiece
BPE with byte fallback, no normaliser, no dummy prefix, ids <pad> 0, <eos> 1,
<bos> 2, <unk> 3, <mask> 4. The corpus is written out here (coloured shapes with
their relations, COCO's 80 names, in both languages), plus the 4,585 English-Chinese
tag pairs of RAM, ``ram_tag_list.txt`` and ``ram_tag_list_chinese.txt`` of
https://github.com/xinyu1205/recognize-anything (Apache-2.0). The same command
gives the same file.
"""

import argparse
import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from sentencepiece import SentencePieceTrainer

VOCAB_SIZE = 2048
SPECIAL_TOKENS = {
    f'{name}_token': f'<{name}>' for name in ('pad', 'eos', 'bos', 'unk', 'mask')
}
CONFIG = {
    'tokenizer_class': 'GemmaTokenizer',
    'add_bos_token': False,
    'add_eos_token': True,
    'padding_side': 'right',
    'model_input_names': ['input_ids'],
    **SPECIAL_TOKENS,
}

COLOURS = {
    'red': '红色', 'orange': '橙色', 'yellow': '黄色', 'green': '绿色',
    'blue': '蓝色', 'purple': '紫色', 'black': '黑色', 'white': '白色',
    'pink': '粉色', 'brown': '棕色', 'gray': '灰色',
}  # fmt: skip
SHAPES = {
    'circle': '圆形', 'square': '正方形', 'triangle': '三角形', 'diamond': '菱形',
    'star': '星形', 'heart': '心形', 'cross': '十字形', 'hexagon': '六边形',
    'crescent': '月牙形', 'ring': '圆环', 'arrow': '箭头', 'pentagon': '五边形',
    'ellipse': '椭圆形',
}  # fmt: skip
RELATIONS = {
    'left of': '左边', 'right of': '右边', 'above': '上方', 'below': '下方',
    'next to': '旁边', 'behind': '后面', 'in front of': '前面', 'between': '中间',
    'inside': '里面', 'on top of': '上面', 'under': '下面', 'near': '附近',
    'overlapping': '重叠', 'partly covered by': '遮挡',
}  # fmt: skip
LOOKS = {
    'solid': '纯色', 'striped': '条纹', 'dotted': '圆点', 'checkered': '格子',
    'small': '小的', 'large': '大的', 'big': '大', 'tiny': '小', 'plain': '普通',
    'medium': '中等', 'rotated': '旋转',
}  # fmt: skip

# What captions are made of besides
ENGLISH = (
    'a photo of a dog', 'a picture of the cat', 'the image shows an object',
    'there is one in the scene', 'two of them are on the table', 'both have a border',
    'it is at the top, the bottom and the centre', 'three others with no colour',
    'on a light background with lines', 'four or five in a row', 'seen from the side',
    'a man and a woman with their children', 'people who are standing in the street',
)  # fmt: skip
CHINESE = """
    一个 一只 一张 一幅 两个 三个 四个 五个 其中 其他 的 和 在 有 是 与 上 下 左 右 里
    照片 图片 图中 画面 物体 背景 背景上 颜色 形状 带有 位于 没有 它 这是 那个 都是
    男人 女人 孩子 人们 站在 坐在 拿着 穿着 街道 桌子上 左侧 右侧 顶部 底部 中央
"""
SIGNS = '0123456789.,:;!?-\'"()/&+#%，。、！？：；（）“”'

# Names of COCO (http://cocodataset.org) with the usual Chinese words
COCO = {
    'person': '人', 'bicycle': '自行车', 'car': '汽车', 'motorcycle': '摩托车',
    'airplane': '飞机', 'bus': '公共汽车', 'train': '火车', 'truck': '卡车',
    'boat': '船', 'traffic light': '红绿灯', 'fire hydrant': '消防栓',
    'stop sign': '停车标志', 'parking meter': '停车计时器', 'bench': '长椅',
    'bird': '鸟', 'cat': '猫', 'dog': '狗', 'horse': '马', 'sheep': '羊', 'cow': '牛',
    'elephant': '大象', 'bear': '熊', 'zebra': '斑马', 'giraffe': '长颈鹿',
    'backpack': '背包', 'umbrella': '雨伞', 'handbag': '手提包', 'tie': '领带',
    'suitcase': '手提箱', 'frisbee': '飞盘', 'skis': '滑雪板',
    'snowboard': '单板滑雪板', 'sports ball': '运动球', 'kite': '风筝',
    'baseball bat': '棒球棒', 'baseball glove': '棒球手套', 'skateboard': '滑板',
    'surfboard': '冲浪板', 'tennis racket': '网球拍', 'bottle': '瓶子',
    'wine glass': '酒杯', 'cup': '杯子', 'fork': '叉子', 'knife': '刀',
    'spoon': '勺子', 'bowl': '碗', 'banana': '香蕉', 'apple': '苹果',
    'sandwich': '三明治', 'orange': '橙子', 'broccoli': '西兰花', 'carrot': '胡萝卜',
    'hot dog': '热狗', 'pizza': '披萨', 'donut': '甜甜圈', 'cake': '蛋糕',
    'chair': '椅子', 'couch': '沙发', 'potted plant': '盆栽', 'bed': '床',
    'dining table': '餐桌', 'toilet': '马桶', 'tv': '电视', 'laptop': '笔记本电脑',
    'mouse': '鼠标', 'remote': '遥控器', 'keyboard': '键盘', 'cell phone': '手机',
    'microwave': '微波炉', 'oven': '烤箱', 'toaster': '烤面包机', 'sink': '水槽',
    'refrigerator': '冰箱', 'book': '书', 'clock': '时钟', 'vase': '花瓶',
    'scissors': '剪刀', 'teddy bear': '泰迪熊', 'hair drier': '吹风机',
    'toothbrush': '牙刷',
}  # fmt: skip


def corpus(tags: list[tuple[str, str]]) -> Iterator[str]:
    """Lines to train on; a repeated line weighs more.

    An English word comes at the start of a line and behind a space, because those
    are two pieces. A Chinese word has a line of its own: in a sentence, which has
    no spaces, pieces would grow across two words (色圆 of 红色圆形).
    """
    for weight, words in (
        (200, COLOURS | SHAPES), (60, RELATIONS | LOOKS), (20, COCO), (1, dict(tags)),
    ):  # fmt: skip
        for english, chinese in words.items():
            yield from [english, f'a {english}', chinese] * weight
    yield from [*ENGLISH, *CHINESE.split(), *SIGNS] * 60


def train(tags: list[tuple[str, str]]) -> bytes:
    """Content of ``tokenizer.model``."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=corpus(tags),
        model_writer=model,
        model_type='bpe',
        vocab_size=VOCAB_SIZE,
        character_coverage=0.985,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name='identity',
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        pad_piece='<pad>', eos_piece='<eos>', bos_piece='<bos>', unk_piece='<unk>',
        user_defined_symbols=['<mask>'],
        num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def stop(message: str) -> NoReturn:
    """End as every command does for an input that cannot be used."""
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


def read_tags(folder: Path) -> list[tuple[str, str]]:
    """(English, Chinese) tags, lower-cased."""
    names = ('ram_tag_list.txt', 'ram_tag_list_chinese.txt')
    columns = []
    for name in names:
        if not (folder / name).is_file():
            stop(f'{folder / name} is missing; --help says where it is from')
        lines = (folder / name).read_text(encoding='utf-8').splitlines()
        columns.append([line.strip().lower() for line in lines])
    if len(columns[0]) != len(columns[1]):
        counts = ' and '.join(str(len(column)) for column in columns)
        stop(f'{folder}: expected as many tags per language, got {counts}')
    return list(zip(*columns, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--tags', type=Path, required=True, help="RAM's ram/data")
    parser.add_argument('--out', type=Path, required=True, help='folder to write to')
    args = parser.parse_args()
    import _cli  # makes the package importable

    from fgclip2_det.io.atomic import write_atomic

    # SentencePiece does not return for Ctrl-C, and nothing is written until it does
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    model = train(read_tags(args.tags))
    write_atomic(args.out / 'tokenizer.model', model)
    config = json.dumps(CONFIG, indent=2) + '\n'
    write_atomic(args.out / 'tokenizer_config.json', config.encode())
    print(f'wrote {args.out}: {VOCAB_SIZE} pieces, {len(model):,} bytes')


if __name__ == '__main__':
    main()
