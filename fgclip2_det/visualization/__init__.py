"""Drawing of detections, with names in English and Chinese."""

from .draw import class_color, contact_sheet, draw_detections
from .label_maps import draw_label_map

__all__ = ['class_color', 'contact_sheet', 'draw_detections', 'draw_label_map']
