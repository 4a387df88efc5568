// Boxes, heat maps and files of results.

const MARGIN = 0.08;  // share of the image at its upper border, where names lie inside

// Background and text colour of a class.
export function colours(label) {
  const hue = (label * 137.5 + 210) % 360;
  const light = hue > 40 && hue < 200;
  return { back: `hsl(${hue} 85% ${light ? 45 : 42}%)`, text: light ? '#000' : '#fff' };
}

export const caption = box => `${box.name} ${box.score.toFixed(2)}`;

// A button over the image, at its place.
export function boxButton(box, size, label) {
  const [x1, y1, x2, y2] = box.bbox;
  const button = document.createElement('button');
  const text = document.createElement('span');
  const { back, text: ink } = colours(box.label);
  button.type = 'button';
  button.setAttribute('aria-label', label);
  text.textContent = caption(box);
  Object.assign(text.style, { background: back, color: ink });
  Object.assign(button.style, {
    borderColor: back, left: percent(x1 / size.width), top: percent(y1 / size.height),
    width: percent((x2 - x1) / size.width), height: percent((y2 - y1) / size.height),
  });
  button.classList.toggle('low', y1 < MARGIN * size.height);
  button.classList.toggle('end', x1 + x2 > size.width);
  button.append(text);
  return button;
}

export const percent = share => `${100 * share}%`;

// Show the cosines of an explanation over the image.
export function drawHeat(canvas, heat, heatSize, size) {
  const values = heat.flat();
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  canvas.width = heat[0].length;
  canvas.height = heat.length;
  const context = canvas.getContext('2d');
  const cells = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    const share = (value - low) / (high - low || 1);
    cells.data.set([255, 235 * share, 40, 215 * share ** 1.5], 4 * i);  // red to yellow
  });
  context.putImageData(cells, 0, 0);
  Object.assign(canvas.style, {
    width: percent(heatSize[0] / size.width), height: percent(heatSize[1] / size.height),
  });
}

// COCO file of several images; annotations have scores, as in a result list.
export function cocoOf(pictures, names, threshold) {
  const annotations = [];
  const images = pictures.map((picture, i) => {
    for (const box of picture.found.detections) {
      if (box.score < threshold) continue;
      const [x1, y1, x2, y2] = box.bbox;
      annotations.push({
        id: annotations.length + 1, image_id: i + 1, category_id: box.label + 1,
        bbox: [x1, y1, x2 - x1, y2 - y1], area: (x2 - x1) * (y2 - y1), iscrowd: 0,
        score: box.score,
      });
    }
    return { id: i + 1, file_name: picture.name, width: picture.width, height: picture.height };
  });
  const categories = names.map((name, i) => ({ id: i + 1, name }));
  return { images, annotations, categories };
}

// The image with its boxes, in its own size.
export async function pictureOf(image, boxes) {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const unit = Math.max(1, Math.round(Math.max(canvas.width, canvas.height) / 500));
  context.lineWidth = 2 * unit;
  context.font = `${12 * unit}px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = 'top';
  for (const box of [...boxes].reverse()) {
    const [x1, y1, x2, y2] = box.bbox;
    const { back, text } = colours(box.label);
    context.strokeStyle = context.fillStyle = back;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const width = context.measureText(caption(box)).width + 6 * unit;
    const left = Math.max(0, Math.min(x1, canvas.width - width));
    const top = Math.max(0, y1 - 15 * unit);
    context.fillRect(left, top, width, 15 * unit);
    context.fillStyle = text;
    context.fillText(caption(box), left + 3 * unit, top + 2 * unit);
  }
  return new Promise(done => canvas.toBlob(done, 'image/png'));
}

// Give a file to the browser to save.
export function save(name, blob) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
