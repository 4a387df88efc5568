"""Find named objects, in English or Chinese, in pictures."""

from _cli import run

if __name__ == '__main__':
    run('image_demo')
