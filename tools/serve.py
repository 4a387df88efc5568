"""Name objects and get boxes in a browser, and for programs as JSON."""

from _cli import run

if __name__ == '__main__':
    run('serve')
