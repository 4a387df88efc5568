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
  const content = await answer.json();
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

export function ask(path, content, signal, waiting) {
  return request(path, {
    method: 'POST', signal, body: JSON.stringify(content),
    headers: { 'content-type': 'application/json' },
  }, waiting);
}
