"""Own data: labels of any tool, what is wrong with them, and COCO files of them."""

from .findings import Findings
from .look import Look, look
from .parts import split_names
from .records import OwnBox, OwnData, OwnImage
from .sniffing import LAYOUTS, find_layout
from .splitting import choose_novel
from .writing import as_coco, write_coco

__all__ = [
    'LAYOUTS',
    'Findings',
    'Look',
    'OwnBox',
    'OwnData',
    'OwnImage',
    'as_coco',
    'choose_novel',
    'find_layout',
    'look',
    'split_names',
    'write_coco',
]
