// Boxes that show what a name means: drawn with the pointer, or typed.

import { percent } from './drawing.js';
import { t } from './words.js';

const SMALLEST = 4;  // pixels on the screen, of a box that is meant

// Set up the drawing. `picture` gives the current image, `changed` is called after a change.
export function startExamples(get, picture, changed) {
  const list = [];  // {picture, bbox, name, thumb}
  const corners = ['x1', 'y1', 'x2', 'y2'].map(get);
  let start = null;

  function drawing(on) {
    document.body.classList.toggle('drawing', on);
    get('draw').setAttribute('aria-pressed', on);
    get('rubber').hidden = true;
    start = null;
    if (on) get('status').textContent = t('drawNow');
  }

  // Position of the pointer as shares of the image.
  function place(event) {
    const area = get('boxes').getBoundingClientRect();
    const share = (value, low, size) => Math.min(1, Math.max(0, (value - low) / size));
    return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
  }

  function bounds(event) {
    const [x, y] = place(event);
    return [Math.min(start[0], x), Math.min(start[1], y), Math.max(start[0], x), Math.max(start[1], y)];
  }

  function stretch(event) {
    const [x1, y1, x2, y2] = bounds(event);
    Object.assign(get('rubber').style, {
      left: percent(x1), top: percent(y1), width: percent(x2 - x1), height: percent(y2 - y1),
    });
    get('rubber').hidden = false;
  }

  function finish(event) {
    const [x1, y1, x2, y2] = bounds(event);
    const area = get('boxes').getBoundingClientRect();
    drawing(false);
    if ((x2 - x1) * area.width < SMALLEST || (y2 - y1) * area.height < SMALLEST) return;
    open([x1, y1, x2, y2]);
  }

  // Ask for the name of a box, given as shares of the image.
  function open(shares) {
    const { width, height } = picture();
    shares.forEach((share, i) => {
      corners[i].max = i % 2 ? height : width;
      corners[i].value = Math.round(share * corners[i].max * 10) / 10;
    });
    get('example-name').value = '';
    get('example').returnValue = '';
    get('example').showModal();
    get('example-name').focus();
  }

  function add() {
    if (get('example').returnValue !== 'add') return;
    const [xa, ya, xb, yb] = corners.map(each => Number(each.value));
    const bbox = [Math.min(xa, xb), Math.min(ya, yb), Math.max(xa, xb), Math.max(ya, yb)];
    list.push({ picture: picture(), bbox, name: get('example-name').value.trim(), thumb: cut(bbox) });
    render();
    changed();
  }

  function cut([x1, y1, x2, y2]) {
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 80;
    const scale = 80 / Math.max(x2 - x1, y2 - y1, 1);
    const [width, height] = [(x2 - x1) * scale, (y2 - y1) * scale];
    canvas.getContext('2d').drawImage(get('picture'), x1, y1, x2 - x1, y2 - y1,
      (80 - width) / 2, (80 - height) / 2, width, height);
    return canvas;
  }

  function render() {
    get('examples').replaceChildren(...list.map(each => {
      const item = document.createElement('li');
      const name = document.createElement('b');
      const button = document.createElement('button');
      name.textContent = each.name;
      button.type = 'button';
      button.textContent = t('remove');
      button.setAttribute('aria-label', `${t('remove')}: ${each.name}`);
      button.addEventListener('click', () => {
        list.splice(list.indexOf(each), 1);
        render();
        changed();
      });
      item.append(each.thumb, name, button);
      return item;
    }));
  }

  get('draw').addEventListener('click', event => {
    if (event.detail === 0) open([0.25, 0.25, 0.75, 0.75]);  // by the keyboard
    else drawing(!document.body.classList.contains('drawing'));
  });
  get('boxes').addEventListener('pointerdown', event => {
    if (!document.body.classList.contains('drawing')) return;
    event.preventDefault();
    start = place(event);
    get('boxes').setPointerCapture(event.pointerId);
  });
  get('boxes').addEventListener('pointermove', event => start && stretch(event));
  get('boxes').addEventListener('pointerup', event => start && finish(event));
  get('boxes').addEventListener('pointercancel', () => drawing(false));
  document.addEventListener('keydown', event => event.key === 'Escape' && drawing(false));
  get('example').addEventListener('close', add);
  return { list: () => list, render };
}
