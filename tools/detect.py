"""Name objects, in English or Chinese, and get boxes in pictures of any kind."""

from _cli import run

if __name__ == '__main__':
    run('detect')
