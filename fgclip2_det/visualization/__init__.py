"""Drawing of detections, with names in English and Chinese."""

from .draw import class_color, contact_sheet, draw_detections

__all__ = ['class_color', 'contact_sheet', 'draw_detections']
