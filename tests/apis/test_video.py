"""Videos: frames with their times, upright; files that other programs play."""

import errno
import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.apis import video as video_module
from fgclip2_det.apis.video_reader import VideoReader
from fgclip2_det.apis.video_writer import VideoWriter
from fgclip2_det.cli import detect as command

NAMES = 'red circle; 蓝色正方形'
FPS = 10


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(autouse=True)
def one_model(monkeypatch, inferencer):
    monkeypatch.setattr(command, 'build', lambda args: inferencer)


def picture(i: int) -> Image.Image:
    """A red circle that moves to the right, 8 pixels a frame, and a blue square."""
    image = Image.new('RGB', (256, 192), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((20 + 8 * i, 20, 90 + 8 * i, 90), fill='red')
    canvas.rectangle((180, 110, 240, 170), fill='blue')
    return image


def write(path: Path, count: int = 10, code: str = 'mp4v') -> Path:
    file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), FPS, (256, 192))
    for i in range(count):
        file.write(np.asarray(picture(i))[..., ::-1])
    file.release()
    return path


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp('video') / 'clip.mp4')


def rotate(path: Path) -> None:
    """Note a rotation by 90 degrees in the track's header, as a phone does."""
    data = bytearray(path.read_bytes())
    place = data.index(b'tkhd') + 44  # of the matrix, 16.16 and 2.30 fixed point
    one = 1 << 16
    values = 0, one, 0, -one, 0, 0, 192 * one, 0, 1 << 30
    data[place : place + 36] = struct.pack('>9i', *values)
    path.write_bytes(data)


def set_durations(path: Path, durations: list[int]) -> None:
    """Give each frame its own duration, in tenths of a second."""
    data = bytearray(path.read_bytes())
    edit = data.index(b'edts')
    data[edit : edit + 4] = b'free'  # the edit list has the old duration
    place = data.index(b'stts')
    size = struct.unpack('>I', data[place - 4 : place])[0]
    unit = struct.unpack('>I', data[place + 16 : place + 20])[0]
    table = struct.pack('>II', 0, len(durations))
    table += b''.join(struct.pack('>II', 1, unit * each) for each in durations)
    grown = len(table) + 8 - size
    for name in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stts'):
        at = data.index(name) - 4
        old = struct.unpack('>I', data[at : at + 4])[0]
        data[at : at + 4] = struct.pack('>I', old + grown)
    data[place + 4 : place - 4 + size] = table
    path.write_bytes(data)


def read_back(path: str | Path) -> tuple[int, float, tuple[int, int]]:
    """Frames that decode, frames per second, and (w, h)."""
    capture, count, size = cv2.VideoCapture(str(path)), 0, (0, 0)
    fps = capture.get(cv2.CAP_PROP_FPS)
    while True:
        read, pixels = capture.read()
        if not read:
            return count, fps, size
        count, size = count + 1, pixels.shape[1::-1]


def lines_of(path: str | Path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text('utf-8').splitlines()]


def test_frames_and_files(inferencer, clip, tmp_path):
    results = inferencer.video(clip, NAMES, tmp_path, every=2)
    assert results.complete and (results.read, results.frames) == (10, 5)
    assert read_back(results.video) == (5, FPS / 2, (256, 192))
    rows = lines_of(results.lines)
    assert [row['frame'] for row in rows] == [0, 2, 4, 6, 8]
    assert [row['time'] for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    for row in rows:
        assert (row['width'], row['height']) == (256, 192)
        found = {each['name']: each['bbox'] for each in row['detections']}
        left = 20 + 8 * row['frame']
        np.testing.assert_allclose(
            found['red circle'], [left, 20, left + 70, 90], atol=9
        )
        assert '蓝色正方形' in found and 'track' not in row['detections'][0]
    summary = json.loads(Path(results.summary).read_text('utf-8'))
    assert summary['complete'] and summary['classes'] == NAMES.split('; ')
    assert summary['boxes'] == sum(len(row['detections']) for row in rows)
    # in batches of frames the same
    several = list(inferencer.frames(clip, NAMES, every=2, batch_size=2))
    assert [each.frame.index for each in several] == [0, 2, 4, 6, 8]
    for each, row in zip(several, rows, strict=True):
        np.testing.assert_allclose(
            each.detections.bboxes, [d['bbox'] for d in row['detections']], atol=1e-2
        )
    assert inferencer.video(clip, NAMES, every=5).video == ''


def test_a_rotated_video_is_upright(tmp_path):
    """Its circle is in the left upper corner; turned to the right, in the right one."""
    path = write(tmp_path / 'phone.mp4', 3)
    rotate(path)
    with VideoReader(path) as reader:
        assert reader.size == (192, 256)
        frame = next(iter(reader)).image
    expected = np.asarray(picture(0).rotate(-90, expand=True)).astype(int)
    assert np.abs(np.asarray(frame) - expected).mean() < 8


def test_times_of_a_variable_frame_rate(inferencer, tmp_path):
    path = write(tmp_path / 'variable.mp4', 6)
    set_durations(path, [1, 1, 3, 1, 4, 1])
    with VideoReader(path) as reader:
        times = [frame.time for frame in reader]
        fps = reader.fps
    assert times == pytest.approx([0, 0.1, 0.2, 0.5, 0.6, 1.0], abs=1e-3)
    results = inferencer.video(path, NAMES, tmp_path)
    assert [r['time'] for r in lines_of(results.lines)] == pytest.approx(times)
    count, out_fps, _ = read_back(results.video)
    assert abs(count / out_fps - 1.1) <= 1.5 / fps  # as long as the source


def test_frames_are_held_and_left_out(tmp_path):
    """10 a second; the second comes late, then three at once."""
    writer = VideoWriter(tmp_path, 'x', (161, 97), 10.0)
    for time, image in ((0.0, 'red'), (0.5, 'blue'), (0.51, 'lime'), (0.52, 'white')):
        writer.add(Image.new('RGB', (161, 97), image), time)
    writer.add(Image.new('RGB', (97, 161), 'white'), 0.9)  # of another size
    writer.close()
    assert writer.num_frames == 10
    assert read_back(writer.path) == (10, 10.0, (160, 96))
    capture = cv2.VideoCapture(str(writer.path))
    colors = [capture.read()[1][48, 80].tolist() for _ in range(10)]
    red, blue, lime = [0, 0, 255], [255, 0, 0], [0, 255, 0]
    for actual, expected in zip(colors[:7], [red] * 5 + [blue, lime], strict=True):
        assert np.abs(np.subtract(actual, expected)).max() < 60
    assert cv2.VideoCapture(str(writer.path)).read()[0]


def test_ids_stay_with_their_boxes(inferencer, clip):
    pytest.importorskip('trackers', reason='pip install trackers supervision')
    ids: dict[str, set] = {}
    for each in inferencer.frames(clip, NAMES, track=True):
        for name, own in zip(each.detections.names, each.track_ids, strict=True):
            if own is not None:
                ids.setdefault(name, set()).add(own)
    assert sorted(map(len, ids.values())) == [1, 1]
    assert set.union(*ids.values()) == {1, 2}


def test_without_trackers(inferencer, clip, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'trackers', None)
    with pytest.raises(ImportError, match='pip install trackers supervision'):
        next(inferencer.frames(clip, NAMES, track=True))


def test_sources_that_cannot_be_read(tmp_path, clip):
    (tmp_path / 'text.mp4').write_bytes(b'no video' * 200)
    (tmp_path / 'cut.mp4').write_bytes(clip.read_bytes()[:900])
    for name in ('text.mp4', 'cut.mp4'):
        with pytest.raises(ValueError, match=f'{name} cannot be read as a video'):
            VideoReader(tmp_path / name)
    empty = write(tmp_path / 'empty.avi', 0, 'MJPG')
    with pytest.raises(ValueError, match=r'empty\.avi (has no frame|cannot be read)'):
        VideoReader(empty)
    with pytest.raises(FileNotFoundError, match='there is no video'):
        VideoReader(tmp_path / 'absent.mp4')
    with pytest.raises(ValueError, match='camera 97 cannot be opened'):
        VideoReader(97)
    with pytest.raises(ValueError, match='is a stream of the network'):
        VideoReader('rtsp://localhost/x')
    with pytest.raises(ValueError, match='every must be 1 or more frames, got 0'):
        VideoReader(clip, 0)


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main(['detect', *map(str, words)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_command(clip, tmp_path, capsys):
    words = '--names', NAMES, '--out', tmp_path, '--every', 3
    code, out, err = run(capsys, '--video', clip, *words)
    assert code == 0, err
    video = tmp_path / 'clip-boxes.mp4'
    assert out.startswith('8 boxes; 4 of 4 frames are done, see ') and str(video) in out
    assert read_back(video)[0] == 4
    for more, code, message in (
        (['--video', 97], 2, 'error: camera 97 cannot be opened'),
        (['--video', tmp_path / 'absent.mp4'], 2, 'error: there is no video'),
        ([clip, '--video', clip], 2, 'name images, or one --video'),
        ([], 2, 'name images, or one --video'),
    ):
        actual, _, err = run(capsys, *more, *words)
        assert actual == code and message in err.splitlines()[-1]


def test_a_damaged_video_says_so(tmp_path, capsys):
    path = write(tmp_path / 'cut.avi', 10, 'MJPG')
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, _, err = run(capsys, '--video', path, '--names', NAMES, '--out', tmp_path)
    assert code == 1 and 'its header says 10; it may be damaged' in err
    rows = lines_of(tmp_path / 'cut-boxes.jsonl')
    assert 0 < len(rows) < 10 and read_back(tmp_path / 'cut-boxes.mp4')[0] == len(rows)


@pytest.mark.parametrize(
    ('error', 'code', 'message'),
    [
        (KeyboardInterrupt(), 130, 'interrupted: 3 of 10 frames are done, see '),
        (OSError(errno.ENOSPC, 'No space left on device'), 2, 'No space left'),
    ],
)
def test_stopped_in_the_middle(
    clip, tmp_path, capsys, monkeypatch, error, code, message
):
    add = video_module.VideoReport.add

    def stop_at_fourth(self, each):
        if self.results.frames == 3:
            raise error
        add(self, each)

    monkeypatch.setattr(video_module.VideoReport, 'add', stop_at_fourth)
    actual, _, err = run(capsys, '--video', clip, '--names', NAMES, '--out', tmp_path)
    assert actual == code and message in err and 'clip-boxes.jsonl' in err
    assert len(lines_of(tmp_path / 'clip-boxes.jsonl')) == 3
    assert read_back(tmp_path / 'clip-boxes.mp4')[0] == 3
    summary = json.loads((tmp_path / 'clip-boxes.json').read_text('utf-8'))
    assert not summary['complete'] and summary['frames'] == 3
