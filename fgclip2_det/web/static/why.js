// The explanation of a box: bars of scores and cosines.

import { t } from './words.js';

function bars(rows, low, high) {
  const list = document.createElement('dl');
  list.className = 'bars';
  for (const [name, value] of rows) {
    const meter = document.createElement('meter');
    Object.assign(meter, { min: low, max: high, value });
    meter.setAttribute('aria-label', name);
    const cells = [['dt', name], ['dd', meter], ['dd', value.toFixed(3)]];
    for (const [tag, content] of cells) {
      const cell = document.createElement(tag);
      cell.append(content);
      list.append(cell);
    }
  }
  return list;
}

function heading(level, text) {
  const title = document.createElement(level);
  title.textContent = text;
  return title;
}

// Fill an element with an explanation.
export function showWhy(target, why, close) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = t('whyClose');
  button.addEventListener('click', close);
  const scores = [
    [t('whyDetector'), why.det_score],
    [t('whySimilarity', why.weight.toFixed(2)), why.similarity],
    [t('whyFused'), why.fused],
    [t('whyScore'), why.score],
    [t('whyCompeting'), why.competing],
  ];
  if (why.background !== null) scores.push([t('whyBackground'), why.background]);
  const own = [why.name, why.cosine];
  const pairs = list => list.map(each => [each.name, each.cosine]);
  const groups = [
    [t('whyNames'), [own, ...pairs(why.names)]],
    [t('whyCompetitors'), [own, ...pairs(why.competitors)]],
    [t('whyTexts'), pairs(why.texts)],
  ];
  const values = groups.flatMap(([, rows]) => rows.map(([, value]) => value));
  const high = Math.max(...values);
  const low = Math.min(...values) - 0.25 * (high - Math.min(...values)) - 0.001;
  const hint = document.createElement('p');
  hint.className = 'hint';
  hint.textContent = t('whyHeat');
  target.replaceChildren(
    heading('h2', t('whyTitle', why.name)), hint,
    heading('h3', `${t('whyScores')} (${why.rule})`), bars(scores, 0, 1),
    ...groups.filter(([, rows]) => rows.length)
      .flatMap(([title, rows]) => [heading('h3', title), bars(rows, low, high)]),
    button,
  );
  target.hidden = false;
}
