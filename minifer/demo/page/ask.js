// Questions to the server, one after another: the next is sent when the answer to the last one has come, so that the
// server is never asked for more than it can do. Where it has to say "come again", the page does.

let last = Promise.resolve();

export function ask(path, parameters = {}, body = null) {
  const answer = last.then(() => send(path, parameters, body));
  last = answer.catch(() => {});
  return answer;
}

async function send(path, parameters, body) {
  let response;
  try {
    response = await fetch(`/${path}?${new URLSearchParams(parameters)}`, body ? { method: "POST", body } : {});
  } catch {
    throw new Error("The server does not answer: start minifer demo again and reload this page.");
  }
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (response.status === 503) { // other pages keep the server busy, or kernels are being compiled
    await new Promise((done) => setTimeout(done, 1000 * Number(response.headers.get("Retry-After"))));
    return send(path, parameters, body);
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
