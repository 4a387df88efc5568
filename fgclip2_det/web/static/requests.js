// Requests to the server.

const TRIES = 4;  // of a busy server

export class ServerError extends Error {
  constructor(message, code, retry = 0) {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

async function once(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ServerError(error.message, 'network');
  }
  let content;
  try {
    content = await answer.json();
  } catch (error) {  // a page of a proxy between
    if (error.name === 'AbortError') throw error;
    throw new ServerError(`${answer.status} ${answer.statusText}`, 'network');
  }
  if (answer.ok) return content;
  throw new ServerError(content.error, content.code, Number(answer.headers.get('retry-after')));
}

// JSON of an answer; a busy server is asked again when it says so.
async function request(path, options, waiting) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(path, options);
    } catch (error) {
      if (error.code !== 'busy' || attempt === TRIES) throw error;
      waiting(error.retry);
      await new Promise(done => setTimeout(done, 1000 * error.retry));
      options.signal?.throwIfAborted();
    }
  }
}

export const info = () => once('/api/info');

// Send a file; what the server knows of it.
export function upload(file, waiting) {
  return request(`/api/images?name=${encodeURIComponent(file.name)}`,
    { method: 'POST', body: file, headers: { 'content-type': 'application/octet-stream' } }, waiting);
}

// An image that was sent, as the server sees it: to be kept, the server will not.
export async function download(id) {
  const answer = await fetch(`/api/images/${id}`);
  if (!answer.ok) throw new ServerError(id, 'unknown_image');
  return answer.blob();
}

export function ask(path, content, signal, waiting) {
  return request(path, {
    method: 'POST', signal, body: JSON.stringify(content),
    headers: { 'content-type': 'application/json' },
  }, waiting);
}
