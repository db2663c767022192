// Events of the API as a program gets them: by stream, and by webhook.
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { until } from './process.mjs';

/** A stream of events; `url` may carry the token, else `headers` do. */
export class Events {
  static async open(url, headers = {}) {
    const self = new Events();
    self.abort = new AbortController();
    const response = await fetch(url, { headers, signal: self.abort.signal });
    self.status = response.status;
    self.type = response.headers.get('content-type');
    self.list = [];
    self.text = '';
    if (response.ok) self.#read(response.body).catch(() => {});
    return self;
  }

  async #read(body) {
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      this.text += chunk;
      const blocks = this.text.split('\n\n');
      this.list = blocks.filter((b) => /^data: /m.test(b)).map((b) => JSON.parse(b.match(/^data: (.*)$/m)[1]));
    }
    this.ended = true;
  }

  /** The first event that fits, from the one numbered `from` on. */
  find(what, fits, { from = 0, ms = 10_000 } = {}) {
    return until(what, () => this.list.slice(from).find(fits), ms);
  }

  close() {
    this.abort.abort();
  }
}

/** A receiver of webhooks that answers with the statuses it is given, then with 204. */
export class Receiver {
  static async start(statuses = []) {
    const self = new Receiver();
    self.requests = [];
    self.server = createServer((request, response) => {
      let body = '';
      request.on('data', (data) => (body += data)).on('end', () => {
        self.requests.push({ at: Date.now(), path: request.url, headers: request.headers, body, json: JSON.parse(body) });
        response.writeHead(statuses.shift() ?? 204, { location: '/elsewhere' }).end();
      });
    });
    await new Promise((done) => self.server.listen(0, '127.0.0.1', done));
    self.url = `http://127.0.0.1:${self.server.address().port}/hook`;
    return self;
  }

  stop() {
    return new Promise((done) => this.server.close(done));
  }
}

export const signature = (secret, body) => `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
