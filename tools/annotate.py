"""Label a folder of images: an ontology in, COCO, YOLO, VOC, ODVG or labelme out."""

from _cli import run

if __name__ == '__main__':
    run('annotate')
