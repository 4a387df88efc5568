"""The 80 classes of OVShapes: 8 colours x 10 shapes and their fixed split."""

from dataclasses import dataclass
from itertools import product

COLORS = {
    'red': '红色',
    'orange': '橙色',
    'yellow': '黄色',
    'green': '绿色',
    'blue': '蓝色',
    'purple': '紫色',
    'black': '黑色',
    'white': '白色',
}
# Further colours for alignment training, with hues on both sides of each of COLORS.
# They occur with every shape, so that shapes are learned independently of colour.
# Without them a shape is only recognised in the few colours of its base classes.
EXTRA_COLORS = {
    'brown': '棕色',
    'vermilion': '朱色',
    'amber': '琥珀色',
    'lime': '青柠色',
    'teal': '湖色',
    'cyan': '青色',
    'azure': '碧色',
    'indigo': '靛色',
    'magenta': '玫瑰色',
    'pink': '粉色',
    'charcoal': '炭色',
    'cream': '米色',
}
# Distinguishable at 28 px and at any rotation: the diamond is a slim rhombus, because a
# rotated square is still a square; there is an arrow but no hexagon, which looks like a
# circle if it is small and noisy.
SHAPES = {
    'circle': '圆形',
    'square': '正方形',
    'triangle': '三角形',
    'diamond': '菱形',
    'star': '星形',
    'heart': '心形',
    'cross': '十字形',
    'arrow': '箭头',
    'crescent': '月牙形',
    'ring': '圆环',
}
# Rows are COLORS, columns are SHAPES: B = base (48), N = novel (17), U = unused (15).
# Drawn at random once. Every shape has at least 4 base colours and every colour at
# least 5 base shapes: with fewer, some novel classes cannot be learned.
_SPLIT_TABLE = """
    UBNBBBBBBB
    BUBBBNUUNB
    BBBBBNBUBU
    BNUBBBUNNB
    BUNBBUNBNB
    BBUNNUNBBB
    NNBBBBBBBU
    UBBBNBBBUN
"""
_SPLIT_NAMES = {'B': 'base', 'N': 'novel', 'U': 'unused'}


@dataclass(frozen=True)
class ShapeClass:
    """One colour x shape pair.

    Args:
        category_id: 1 to 80, row by row through the table of colours and shapes;
            from 81 on with extra colours.
        color: key of ``COLORS`` or ``EXTRA_COLORS``.
        shape: key of ``SHAPES``.
        split: ``'base'``, ``'novel'``, ``'unused'`` or ``'extra'``.
    """

    category_id: int
    color: str
    shape: str
    split: str

    @property
    def name(self) -> str:
        """English name, ``'red circle'``."""
        return f'{self.color} {self.shape}'

    @property
    def name_zh(self) -> str:
        """Chinese name, ``'红色圆形'``."""
        return (COLORS | EXTRA_COLORS)[self.color] + SHAPES[self.shape]

    def to_category(self) -> dict:
        """The entry of a COCO file's ``categories``."""
        return {
            'id': self.category_id,
            'name': self.name,
            'name_zh': self.name_zh,
            'split': self.split,
            'supercategory': self.shape,
        }


OVSHAPES_CLASSES = tuple(
    ShapeClass(row * len(SHAPES) + column + 1, color, shape, _SPLIT_NAMES[cell])
    for row, (color, cells) in enumerate(zip(COLORS, _SPLIT_TABLE.split(), strict=True))
    for column, (shape, cell) in enumerate(zip(SHAPES, cells, strict=True))
)

EXTRA_CLASSES = tuple(
    ShapeClass(len(OVSHAPES_CLASSES) + number, color, shape, 'extra')
    for number, (color, shape) in enumerate(product(EXTRA_COLORS, SHAPES), 1)
)


def classes_of(*splits: str) -> list[ShapeClass]:
    """The classes of the given splits, by category id."""
    return [c for c in OVSHAPES_CLASSES if c.split in splits]
