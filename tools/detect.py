"""Name objects, in English or Chinese, and get boxes in images of any kind."""

from _cli import run

if __name__ == '__main__':
    run('detect')
