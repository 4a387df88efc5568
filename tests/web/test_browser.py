"""The page in a real browser, headless, as a person uses it."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('starlette', reason='needs the extra web: pip install -e .[web]')

import uvicorn
from starlette.responses import JSONResponse

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.web.app import web_app
from fgclip2_det.web.server import open_socket
from fgclip2_det.web.service import Service

BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which('chromedriver')
SWITCHES = (
    'headless=new', 'no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run',
    'disable-background-networking', 'disable-component-update', 'disable-sync',
    'disable-dev-shm-usage', 'lang=en', 'window-size=1280,1000',
)  # fmt: skip
WAIT = 600  # seconds at most, for anything

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason='needs chromium and chromedriver'
)


@pytest.fixture(scope='module')
def site(service):
    """Address of a server, its service, the paths that something was sent to, and
    statuses that it gives for such requests instead of answers."""
    from fgclip2_det import OpenVocabInferencer

    # an inferencer that has seen no image, whatever tests ran before in this process
    own, asked, busy = Service(OpenVocabInferencer(), service.limits), [], []
    app = web_app(own, {'system': 'embedded', 'shapes_only': True})

    async def counted(scope, receive, send):
        answer, sends = app, scope.get('method') == 'POST'
        if sends:
            asked.append(scope['path'])
        if sends and busy:
            content = {'error': 'busy', 'code': 'busy'}
            answer = JSONResponse(content, busy.pop(), {'retry-after': '0.1'})
        await answer(scope, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(counted, log_config=None, log_level='error', ws='none')
    )
    with open_socket('127.0.0.1', 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f'http://127.0.0.1:{listener.getsockname()[1]}', own, asked, busy
        server.should_exit = True
        thread.join()


@pytest.fixture(scope='module')
def page(site, tmp_path_factory):
    """The open page; files are saved to ``page.folder``."""
    selenium = pytest.importorskip('selenium.webdriver')
    folder = tmp_path_factory.mktemp('browser')
    options = selenium.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (*SWITCHES, f'user-data-dir={folder / "profile"}'):
        options.add_argument(f'--{switch}')
    options.add_experimental_option(
        'prefs', {'download.default_directory': str(folder / 'saved')}
    )
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = selenium.Chrome(options, selenium.ChromeService(DRIVER))
    driver.get(site[0])
    driver.folder = folder / 'saved'
    yield driver
    driver.quit()


def until(condition):
    """Its first true value."""
    end = time.monotonic() + WAIT
    while not (value := condition()):
        assert time.monotonic() < end, 'it does not happen'
        time.sleep(0.02)
    return value


def shown(page) -> list[str]:
    """Name and score of the boxes over the image."""
    script = (
        "return [...document.querySelectorAll('#boxes span')].map(e => e.innerText)"
    )
    return sorted(page.execute_script(script))


def text(page, name: str) -> str:
    return page.find_element('id', name).text


def type_names(page, names: str) -> None:
    field = page.find_element('id', 'names')
    field.clear()
    field.send_keys(names, '\n')


def until_drawn(page) -> None:
    """Until the image has its size on the page."""
    script = "const p = document.getElementById('picture');"
    until(lambda: page.execute_script(f'{script} return p.complete && p.naturalWidth'))


def set_threshold(page, value: float) -> None:
    page.execute_script(
        "const t = document.getElementById('threshold'); t.value = arguments[0];"
        "t.dispatchEvent(new Event('input'))",
        value,
    )


def test_a_visit(page, site, drawn, tmp_path):
    _, service, asked, _ = site
    path = tmp_path / '图形.png'
    path.write_bytes(drawn(60))
    before = service.encoder_passes

    # an image, and a name in Chinese
    page.find_element('id', 'files').send_keys(str(path))
    until(lambda: page.find_element('id', 'stage').is_displayed())
    until_drawn(page)
    until(lambda: 'coloured shapes only' in text(page, 'system'))
    type_names(page, '红色圆形')
    (box,) = until(lambda: shown(page))
    assert box.startswith('红色圆形 0.')
    button = page.find_element('css selector', '#boxes button')
    picture = page.find_element('id', 'picture')
    scale = picture.size['width'] / 256
    assert abs(button.location['x'] - picture.location['x'] - 60 * scale) < 8 * scale
    assert service.encoder_passes == before + 1

    # the threshold asks nobody
    count = len(asked)
    set_threshold(page, 1)
    assert shown(page) == [] and text(page, 'threshold-value') == '1.00'
    set_threshold(page, 0.05)
    assert len(shown(page)) >= 1
    set_threshold(page, 0.3)
    assert shown(page) == [box] and len(asked) == count

    # other names: the image is not encoded again
    type_names(page, 'red circle; 蓝色正方形')
    until(lambda: len(shown(page)) == 2)
    assert {each.split(' 0.')[0] for each in shown(page)} == {
        'red circle',
        '蓝色正方形',
    }
    assert service.encoder_passes == before + 1
    assert 'not encoded again' in text(page, 'status')

    # why
    page.find_element('css selector', '#found button').click()
    until(lambda: page.find_element('id', 'why').is_displayed())
    assert 'Why “' in text(page, 'why') and 'silent competitors' in text(page, 'why')
    assert page.find_element('id', 'heat').is_displayed()

    # the other language, on the page and for screen readers
    page.find_element('id', 'language').click()
    assert '检测框' in page.title and '为什么是' in text(page, 'why')
    assert page.find_element('tag name', 'html').get_attribute('lang') == 'zh-CN'
    page.find_element('id', 'language').click()

    # files
    page.find_element('id', 'save-coco').click()
    page.find_element('id', 'save-picture').click()
    coco = until(lambda: find(page.folder, 'detections.json'))
    image = until(lambda: find(page.folder, '图形-boxes.png'))
    check_files(coco, image)
    assert 'Error' not in str(page.get_log('browser')), page.get_log('browser')


def find(folder: Path, name: str) -> Path | None:
    path = folder / name
    return path if path.is_file() and path.stat().st_size else None


def check_files(coco: Path, image: Path) -> None:
    content = read_coco(coco).content
    assert [each['name'] for each in content['categories']] == [
        'red circle', '蓝色正方形',
    ]  # fmt: skip
    assert content['images'] == [
        {'id': 1, 'file_name': '图形.png', 'width': 256, 'height': 256}
    ]
    by_name = {each['category_id']: each for each in content['annotations']}
    x, y, w, h = by_name[1]['bbox']
    assert max(abs(x - 60), abs(y - 80), abs(w - 80), abs(h - 80)) < 8
    with Image.open(image) as drawn:
        assert drawn.size == (256, 256)


def test_a_box_as_a_prompt(page, site, drawn, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    path = tmp_path / 'b.tif'  # which a browser does not show by itself
    path.write_bytes(drawn(40, 'TIFF'))
    type_names(page, '')
    page.find_element('id', 'files').send_keys(str(path))
    until(lambda: page.find_element('id', 'picture').get_attribute('alt') == 'b.tif')
    until_drawn(page)
    page.find_element('id', 'names').clear()
    page.find_element('id', 'draw').click()
    area = page.find_element('id', 'boxes')
    scale = area.size['width'] / 256
    corner = [(at - 128) * scale for at in (40, 80)]  # from the middle of the area
    drag = ActionChains(page, duration=50).move_to_element_with_offset(area, *corner)
    drag.click_and_hold().move_by_offset(80 * scale, 80 * scale).release().perform()
    until(lambda: page.find_element('id', 'example').is_displayed())
    assert abs(float(page.find_element('id', 'x2').get_attribute('value')) - 120) < 2
    page.find_element('id', 'example-name').send_keys('这个\n')
    (box,) = until(lambda: shown(page))
    assert box.startswith('这个 0.') and '这个' in text(page, 'examples')
    page.find_element('css selector', '#examples button').click()
    assert until(lambda: 'Type names' in text(page, 'status'))


def test_a_file_that_is_no_image_is_dropped(page):
    page.execute_script(
        'const dataTransfer = new DataTransfer();'
        "dataTransfer.items.add(new File(['no image'], 'c.png'));"
        "document.dispatchEvent(new DragEvent('drop', {dataTransfer}))"
    )
    message = until(lambda: text(page, 'error'))
    assert message.startswith('This is no image') and 'c.png' in message


def test_a_busy_server_that_has_forgotten_the_image(page, site):
    """The page waits, asks again, and sends the image again."""
    _, service, asked, busy = site
    service.pictures._kept.clear()
    asked.clear()
    busy.append(503)
    type_names(page, 'blue square')
    until(lambda: any(each.startswith('blue square 0.') for each in shown(page)))
    assert text(page, 'error') == ''
    assert asked[:4] == ['/api/detect', '/api/detect', '/api/images', '/api/detect']
