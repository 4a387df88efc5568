"""Pack training records and their images into tar shards."""

from _cli import run

if __name__ == '__main__':
    run('convert_to_shards')
