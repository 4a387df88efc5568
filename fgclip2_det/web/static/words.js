// Texts of the page in both languages.

const WORDS = {
  en: {
    other: '中文', title: 'Name it and get boxes', api: 'For programs',
    images: 'Images', controls: 'Names and results', examples: 'Examples',
    choose: 'Choose images', drop: 'or drop them here, or paste one',
    names: 'Names', namesHint: 'In English or Chinese, separated by ; — “sofa|couch” is one class. Enter asks.',
    not: 'Not these', notHint: 'Names that compete for a box and are not shown. Optional.',
    detect: 'Detect', draw: 'Show by a box', threshold: 'Lowest score',
    found: 'Boxes', saveCoco: 'Save COCO JSON', savePicture: 'Save picture',
    exampleTitle: 'What is in this box?', exampleName: 'Name', exampleBox: 'Corners in pixels',
    exampleAdd: 'Use as example', cancel: 'Cancel', remove: 'Remove',
    drawNow: 'Draw a box around the thing. Esc ends it.',
    shapesOnly: 'The embedded detector knows coloured shapes only, such as “red circle; 蓝色正方形”.',
    busy: 'Detecting …', sending: 'Sending …', explaining: 'Explaining …',
    retry: s => `The server is busy. Trying again in ${s} s …`,
    noNames: 'Type names, or show something by a box.', noImage: 'Choose an image first.',
    count: (n, seconds, passes) => `${n} ${n === 1 ? 'box' : 'boxes'}, ${seconds} s` +
      (passes ? '' : '; the image was not encoded again'),
    box: (name, score) => `${name}, score ${score}: explain`,
    whyTitle: name => `Why “${name}”?`, whyClose: 'Close',
    whyScores: 'Score', whyDetector: 'detector', whySimilarity: w => `similarity (weight ${w})`,
    whyFused: 'both, fused', whyScore: 'calibrated: the score', whyBackground: 'background',
    whyCompeting: 'silent competitors', whyNames: 'Cosine with names',
    whyCompetitors: 'Cosine with silent competitors', whyTexts: 'Cosine with its texts',
    whyHeat: 'The colours in the image show where it is like the name.',
    codes: {
      too_large: 'The image is too large to send.', too_many_pixels: 'The image has too many pixels.',
      no_image: 'This is no image that can be read.', too_many_names: 'These are too many names.',
      names: 'These names cannot be asked for.', busy: 'The server is busy. Try again later.',
      explain: 'This cannot be explained.', network: 'The server does not answer.',
      unknown_image: 'The image is no longer on the server. Choose it again.',
    },
  },
  zh: {
    other: 'English', title: '说出名称，得到检测框', api: '程序接口',
    images: '图像', controls: '名称与结果', examples: '示例',
    choose: '选择图像', drop: '或拖放到此处，也可以粘贴',
    names: '名称', namesHint: '中文或英文，用分号隔开；“沙发|长沙发”是同一类。按回车键检测。',
    not: '排除', notHint: '参与竞争但不显示的名称，可不填。',
    detect: '检测', draw: '画框作示例', threshold: '最低分数',
    found: '检测框', saveCoco: '保存 COCO JSON', savePicture: '保存图片',
    exampleTitle: '框里是什么？', exampleName: '名称', exampleBox: '角点坐标（像素）',
    exampleAdd: '用作示例', cancel: '取消', remove: '删除',
    drawNow: '在物体周围画一个框；按 Esc 键结束。',
    shapesOnly: '内置检测器只认识彩色图形，例如“red circle；蓝色正方形”。',
    busy: '正在检测……', sending: '正在上传……', explaining: '正在解释……',
    retry: s => `服务器繁忙，${s} 秒后重试……`,
    noNames: '请输入名称，或画框作示例。', noImage: '请先选择图像。',
    count: (n, seconds, passes) => `${n} 个框，${seconds} 秒` + (passes ? '' : '；图像没有重新编码'),
    box: (name, score) => `${name}，分数 ${score}：解释`,
    whyTitle: name => `为什么是“${name}”？`, whyClose: '关闭',
    whyScores: '分数', whyDetector: '检测器', whySimilarity: w => `相似度（权重 ${w}）`,
    whyFused: '两者融合', whyScore: '校准后的分数', whyBackground: '背景',
    whyCompeting: '静默竞争词', whyNames: '与各名称的余弦',
    whyCompetitors: '与静默竞争词的余弦', whyTexts: '与本名称各文本的余弦',
    whyHeat: '图中的颜色表示与该名称相似的位置。',
    codes: {
      too_large: '图像文件太大。', too_many_pixels: '图像像素太多。',
      no_image: '无法读取这个图像。', too_many_names: '名称太多。',
      names: '无法使用这些名称。', busy: '服务器繁忙，请稍后再试。',
      explain: '无法解释。', network: '服务器没有响应。',
      unknown_image: '服务器上已没有这张图像，请重新选择。',
    },
  },
};

let language = localStorage.getItem('language') ||
  (navigator.language.startsWith('zh') ? 'zh' : 'en');

// Text of a key in the current language.
export function t(key, ...values) {
  const text = WORDS[language][key];
  return typeof text === 'function' ? text(...values) : text;
}

// What the page says of an error of the server, and the server's own words.
export function sentence(error) {
  const own = t('codes')[error.code];
  return own ? `${own} (${error.message})` : error.message;
}

// Put the texts into the page.
export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = `${t('title')} · fgclip2_det`;
  for (const each of document.querySelectorAll('[data-t]')) each.textContent = t(each.dataset.t);
  for (const each of document.querySelectorAll('[data-label]')) {
    each.setAttribute('aria-label', t(each.dataset.label));
  }
  const button = document.getElementById('language');
  button.textContent = t('other');
  button.lang = language === 'zh' ? 'en' : 'zh-CN';
}

export function switchLanguage() {
  language = language === 'zh' ? 'en' : 'zh';
  localStorage.setItem('language', language);
  translate();
}
