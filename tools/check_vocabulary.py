"""Check class names before a detector is run with them."""

from _cli import run

if __name__ == '__main__':
    run('check_vocabulary')
