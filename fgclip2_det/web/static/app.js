// The page: images, names, boxes.

import { boxButton, cocoOf, colours, drawHeat, pictureOf, save } from './drawing.js';
import { startExamples } from './examples.js';
import { ask, download, info, ServerError, upload } from './requests.js';
import { showWhy } from './why.js';
import { sentence, switchLanguage, t, translate } from './words.js';

const LOWEST = 0.05;  // score of the boxes in hand, from which the threshold chooses
const SMALL = 640;  // pixels on the screen that a smaller image is shown with
const get = id => document.getElementById(id);
const pictures = [];  // {file, url, name, id, width, height, found, wording}
let current = null, chosen = null, why = null, controller = null, about = {};
const say = (text = '') => { get('status').textContent = text; };
const complain = (error = null) => { get('error').textContent = error ? sentence(error) : ''; };
const waiting = seconds => say(t('retry', seconds));
const threshold = () => Number(get('threshold').value);
const examples = startExamples(get, () => current, detect);

// ---------------------------------------------------------------- images
async function addFiles(files) {
  complain();
  let first = null;
  for (const file of files) {
    try {
      if (file.size > about.limits?.upload) throw new ServerError(file.name, 'too_large');
      say(t('sending'));
      const picture = { file, name: file.name, found: null, wording: null };
      await send(picture);
      picture.url = await shown(picture);
      pictures.push(picture);
      first ??= picture;
    } catch (error) {
      complain(error);
    }
  }
  say();
  if (!first) return;
  choose(first);
  if (get('names').value.trim() || examples.list().length) await detect();
}

async function send(picture) {
  const { id, width, height, notes } = await upload(picture.file, waiting);
  Object.assign(picture, { id, width, height, notes });
}

// Address of the image: the file, unless the browser shows it otherwise than the server.
async function shown(picture) {
  const url = URL.createObjectURL(picture.file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    if (image.naturalWidth === picture.width && image.naturalHeight === picture.height) return url;
  } catch { /* a format that the browser does not know */ }
  URL.revokeObjectURL(url);
  return URL.createObjectURL(await download(picture.id));
}

function choose(picture) {
  [current, chosen, why] = [picture, null, null];
  get('picture').src = picture.url;
  get('picture').alt = picture.name;
  const { width, height } = picture;
  const most = Math.max(width, SMALL * Math.min(1, width / height));
  get('stage').style.width = `min(100%, ${most}px, ${70 * width / height}vh)`;
  get('stage').hidden = false;
  get('draw').disabled = false;
  render();
}

// ---------------------------------------------------------------- requests
function wording() {
  return {
    names: get('names').value, not: get('not').value, threshold: LOWEST,
    examples: examples.list().map(({ picture, bbox, name }) => ({ id: picture.id, bbox, name })),
  };
}

const keyOf = ({ names, not, examples: shownBy }) => JSON.stringify([names, not, shownBy]);

// Ask about an image in a wording; images that the server has forgotten are sent again, once.
async function asked(path, picture, given, more = {}, signal = undefined) {
  const content = { images: [{ id: picture.id }], ...given, ...more };
  try {
    return await ask(path, content, signal, waiting);
  } catch (error) {
    if (error.code !== 'unknown_image') throw error;
    const needed = new Set([picture.id, ...given.examples.map(each => each.id)]);
    for (const each of pictures.filter(own => needed.has(own.id))) await send(each);
    return ask(path, content, signal, waiting);
  }
}

async function detect() {
  complain();
  const given = wording();
  if (!current) return say(t('noImage'));
  if (!given.names.trim() && !given.examples.length) return say(t('noNames'));
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  get('stage').setAttribute('aria-busy', 'true');
  try {
    for (const picture of [current, ...pictures.filter(each => each !== current)]) {
      if (picture.wording === keyOf(given)) continue;
      say(t('busy'));
      await detectIn(picture, given, signal);
    }
    if (!signal.aborted) renderStatus();
  } catch (error) {
    if (error.name !== 'AbortError') {
      say();
      complain(error);
    }
  }
  if (!signal.aborted) get('stage').removeAttribute('aria-busy');
}

async function detectIn(picture, given, signal) {
  const answer = await asked('/api/detect', picture, given, {}, signal);
  if (signal.aborted) return;
  picture.found = { ...answer, given, detections: answer.images[0].detections };
  picture.wording = keyOf(given);
  if (picture === current) {
    [chosen, why] = [null, null];
    render();
  }
}

async function explain(index) {
  complain();
  chosen = index;
  render();
  const picture = current;
  say(t('explaining'));
  try {
    const answer = await asked('/api/explain', picture, picture.found.given, { index });
    if (picture === current && chosen === index) why = answer;
  } catch (error) {
    complain(error);
  }
  render();
}

// ---------------------------------------------------------------- results
function visible(picture = current) {
  const boxes = (picture?.found?.detections ?? []).map((box, index) => ({ ...box, index }));
  return boxes.filter(box => box.score >= threshold());
}

function render() {
  get('threshold-value').value = threshold().toFixed(2);
  renderThumbs();
  renderBoxes();
  renderWhy();
  renderStatus();
}

function renderStatus() {
  const { found } = current ?? {};
  get('save-coco').disabled = get('save-picture').disabled = !found;
  if (!found) return;
  const count = t('count', visible().length, found.seconds.toFixed(2), found.encoder_passes);
  say([count, ...current.notes, ...found.notes].join('. '));
}

function renderThumbs() {
  get('thumbs').hidden = pictures.length < 2;
  get('thumbs').replaceChildren(...pictures.map(picture => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    const image = new Image();
    Object.assign(image, { src: picture.url, alt: picture.name });
    button.type = 'button';
    button.setAttribute('aria-pressed', picture === current);
    button.addEventListener('click', () => choose(picture));
    button.append(image);
    item.append(button);
    return item;
  }));
}

function renderBoxes() {
  const focused = document.activeElement?.dataset?.index;
  const area = ({ bbox: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
  const boxes = visible();
  const wire = (button, box) => {
    button.dataset.index = box.index;
    button.setAttribute('aria-pressed', box.index === chosen);
    button.addEventListener('click', () => explain(box.index));
    return button;
  };
  const label = box => t('box', box.name, box.score.toFixed(2));
  get('boxes').replaceChildren(...[...boxes].sort((a, b) => area(b) - area(a))
    .map(box => wire(boxButton(box, current, label(box)), box)));
  for (const button of get('boxes').children) button.tabIndex = -1;  // the list has them
  get('found').replaceChildren(...boxes.map(box => {
    const item = document.createElement('li');
    item.append(wire(listButton(box, label(box)), box));
    return item;
  }));
  if (focused !== undefined) get('found').querySelector(`[data-index="${focused}"]`)?.focus();
}

function listButton(box, label) {
  const button = document.createElement('button');
  const [mark, name, score] = ['i', 'b', 'span'].map(tag => document.createElement(tag));
  mark.style.background = colours(box.label).back;
  name.textContent = box.name;
  score.textContent = box.score.toFixed(2);
  button.type = 'button';
  button.setAttribute('aria-label', label);
  button.append(mark, name, score);
  return button;
}

function renderWhy() {
  get('heat').hidden = get('why').hidden = !why;
  if (!why) return;
  drawHeat(get('heat'), why.heat, why.heat_size, current);
  showWhy(get('why'), why, () => { [chosen, why] = [null, null]; render(); });
}

function saveCoco() {
  const done = pictures.filter(each => each.wording === current.wording);
  const content = cocoOf(done, current.found.names, threshold());
  save('detections.json', new Blob([JSON.stringify(content, null, 1)], { type: 'application/json' }));
}

async function savePicture() {
  const stem = current.name.replace(/\.[^.]*$/, '');
  save(`${stem}-boxes.png`, await pictureOf(get('picture'), visible()));
}

// ---------------------------------------------------------------- events
function describe() {
  const notes = [about.system, about.shapes_only && t('shapesOnly')];
  get('system').textContent = notes.filter(Boolean).join(' — ');
}

function paint() {
  translate();
  describe();
  examples.render();
  render();
}

get('language').addEventListener('click', () => { switchLanguage(); paint(); });
get('ask').addEventListener('submit', event => { event.preventDefault(); detect(); });
get('names').addEventListener('keydown', event => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();  // an Enter that chooses Chinese characters is composing
  detect();
});
get('threshold').addEventListener('input', render);
get('files').addEventListener('change', () => { addFiles([...get('files').files]); get('files').value = ''; });
get('save-coco').addEventListener('click', saveCoco);
get('save-picture').addEventListener('click', savePicture);
document.addEventListener('paste', event => {
  if (event.clipboardData.files.length) addFiles([...event.clipboardData.files]);
});
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    document.body.classList.toggle('over', kind === 'dragover');
    if (kind === 'drop') addFiles([...event.dataTransfer.files]);
  });
}
paint();
info().then(content => { about = content; describe(); }, complain);
