"""Detect named objects, in English or Chinese, in images."""

from _cli import run

if __name__ == '__main__':
    run('image_demo')
