"""Turn a COCO detection file into records for alignment training."""

from _cli import run

if __name__ == '__main__':
    run('coco_to_records')
