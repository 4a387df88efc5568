"""COCO's formats: annotation entries and their checks, masks, result lists."""
