"""Look at a folder of labels, and write COCO files and a config that trains on them."""

from _cli import run

if __name__ == '__main__':
    run('init_data')
