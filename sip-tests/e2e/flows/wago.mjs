// The call API without a PBX: the WaGo program against the extensions, calls that come in, keys both ways, events by
// stream and by webhook.
import { Browser } from '../lib/browser.mjs';
import { Events, Receiver, signature } from '../lib/events.mjs';
import { TONE_HERTZ, hears } from '../lib/hearing.mjs';
import { Api, Sipedge } from '../lib/sipedge.mjs';
import { sleep, until } from '../lib/process.mjs';

export const name = 'the call API alone';
export const alone = true;

const SECRET = 'a secret of the receiver';

function configuration({ http, webrtc, origin, envelope = 'bare', webhook }) {
  const account = (who, number, more = '') => `
[account.${who}]
token = "${who}-token-0123456789"
numbers = ["${number}"]
caller_id = "${number}"
${more}`;
  return `
[http]
listen = "127.0.0.1:${http}"
origins = ["${origin}"]
[sip]
listen = ["127.0.0.1:${http + 1}"]
[media]
webrtc_port = ${webrtc}
addresses = ["127.0.0.1"]
workers = 1
[ice]
loopback = true
[wago]
envelope = "${envelope}"
[local]
enabled = true
[webhook]
allow_private = true
${account('anna', '1001')}${account('bert', '1002')}${account('carl', '1003', `webhook = "${webhook}"\nwebhook_secret = "${SECRET}"\n`)}
${['echo', 'tone', 'dtmf', 'callback'].map((number) => `[[route]]\nnumber = "${number}"\nto = "local.${number}"\n`).join('')}`;
}

export async function run(ctx) {
  const { report, binary, out, microphone, program, started } = ctx;
  const receiver = started(await Receiver.start([500, 302])); // no, and a redirect that nobody follows
  const browser = started(await Browser.start({ microphone, program }));
  const options = { http: 21410, webrtc: 27400, origin: browser.origin, webhook: receiver.url };
  const sipedge = await started(new Sipedge({ binary, out, name: 'wago', config: configuration(options) })).start();
  const base = `http://127.0.0.1:${options.http}`;
  const api = (who) => new Api(base, `${who}-token-0123456789`);
  const world = { ...ctx, browser, base, anna: api('anna'), bert: api('bert'), carl: api('carl') };

  console.log('  -- the program of the WaGo page, both envelopes');
  await outbound(world, world.anna);
  const wrapped = new Sipedge({ binary, out, name: 'wago-wrapped', config: configuration({ ...options, http: 21420, webrtc: 27410, envelope: 'wrapped' }) });
  await started(wrapped).start();
  await outbound(world, new Api('http://127.0.0.1:21420'));

  await errors(world);
  await twoAccounts(world);
  await stream(world);
  await webhook(world, receiver);
  await sipedge.stop();
  report.check('no token in the log', !/token-0123456789/.test(sipedge.output) && !/token-0123456789/.test(wrapped.output));
}

async function outbound({ report, browser }, client) {
  const callID = await client.make('tone');
  const page = await browser.page();
  await browser.attach(page, { api: client.base, token: client.token, callID });
  await until('active', async () => (await client.status(callID)).state === 'active');
  await hears({ report }, page, 'frequency in the browser', TONE_HERTZ, { seconds: 1, pure: true });

  const closed = await client.ask('POST', '/call/webrtc/close', { callID });
  report.equal('close', (closed.json.data ?? closed.json).closed, true);
  const again = await browser.page();
  await browser.attach(again, { api: client.base, token: client.token, callID });
  await hears({ report }, again, 'a second offer: frequency', TONE_HERTZ);
  await client.hangup(callID);
  const late = await client.ask('POST', '/call/webrtc/offer', { callID, type: 'offer', sdp: 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n' });
  report.equal('an offer to an ended call', `${late.status} ${late.json.error}`, '404 call not found');
  await page.close();
  await again.close();
}

async function errors({ report, browser, base, anna, bert }) {
  console.log('  -- errors');
  const said = async (what, asked, code, error) => {
    const { status, text } = await asked;
    report.equal(what, `${status} ${text}`, `${code} ${JSON.stringify({ code, error, success: false })}`);
  };
  for (const path of ['answer', 'accept', 'reject', 'hold', 'resume', 'dtmf', 'hangup', 'webrtc/close']) {
    await said(`/call/${path} without a token`, new Api(base, null).ask('POST', `/call/${path}`, {}), 401, 'Unauthorized');
    await said(`/call/${path} without a call`, anna.ask('POST', `/call/${path}`, {}), 400, 'missing callID in payload');
    const body = { callID: 'F'.repeat(32), digits: '1' };
    await said(`/call/${path} of no call`, anna.ask('POST', `/call/${path}`, body), 404, 'call not found');
  }
  await said('/call/list without a token', new Api(base, null).ask('GET', '/call/list'), 401, 'Unauthorized');
  await said('a token in the URL, where a header will do', new Api(base, null).ask('GET', `/call/list?token=${anna.token}`), 401, 'Unauthorized');
  const callID = await anna.make('tone');
  await until('active', async () => (await anna.status(callID)).state === 'active');
  await said('answering one\'s own call', anna.ask('POST', '/call/answer', { callID }), 400, 'the call does not ring here');
  await said('somebody else\'s call', bert.ask('POST', '/call/hold', { callID }), 404, 'call not found');
  await said('keys that are none', anna.ask('POST', '/call/dtmf', { callID, digits: '1x' }), 400, 'digits must be 1 to 64 of 0-9, *, # and A-D');
  await said('a webhook that is no URL', anna.ask('POST', '/webhook', { WebhookURL: 'ftp://x/' }), 400, '`ftp://x/` is no URL; write https://HOST/PATH, without a user, of 2048 characters at most');
  await said('a webhook at the metadata service', anna.ask('POST', '/webhook', { WebhookURL: 'http://169.254.169.254/' }), 400, '169.254.169.254 is an address that no web server has');
  await anna.hangup(callID);
  const page = await browser.page();
  const read = await page.evaluate(async (url) => {
    const response = await fetch(url, { method: 'POST', headers: { token: 'wrong', 'content-type': 'application/json' }, body: '{}' });
    return `${response.status} ${(await response.json()).error}`;
  }, `${base}/call/answer`);
  report.equal('a page of another origin reads an error', read, '401 Unauthorized');
  await page.close();
}

async function twoAccounts({ report, browser, base, anna, bert }) {
  console.log('  -- one account calls another: rings, answered, held, keys both ways');
  const atAnna = await Events.open(`${base}/call/events`, { token: anna.token });
  const atBert = await Events.open(`${base}/call/events?token=${bert.token}`);
  report.equal('a stream of events, by a token in the URL', `${atBert.status} ${atBert.type}`, '200 text/event-stream');
  const callID = await anna.make('1002', { displayName: 'Anna' });
  const rings = await atBert.find('it rings', (e) => e.event === 'call.incoming');
  report.equal('call.incoming', `${rings.call.callID === callID} ${rings.call.state} ${rings.call.direction} ${rings.call.from} ${rings.displayName} ${rings.token_name}`, 'true incoming inbound 1001 Anna bert');
  await until('the caller hears of it', async () => (await anna.status(callID)).state === 'ringing');
  report.equal('in the list', (await bert.ask('GET', '/call/list')).json.calls[0].callID, callID);
  const [first, second] = await Promise.all([bert.ask('POST', '/call/answer', { callID }), bert.ask('POST', '/call/accept', { callID })]);
  report.equal('two answers at once: one wins', [first.status, second.status].sort().join(' '), '200 400');
  const pages = {};
  for (const client of [anna, bert]) {
    pages[client.token] = await browser.page();
    await browser.attach(pages[client.token], { api: base, token: client.token, callID });
  }
  await atAnna.find('connected', (e) => e.event === 'webrtc.connected');
  const heard = await until('the microphone is heard at the other side', async () => {
    const h = await pages[bert.token].evaluate(() => window.hear(1));
    return h.level > -40 && h;
  });
  report.near('microphone to ear: frequency', heard.hertz, 700, 7, 'Hz');

  await pages[bert.token].evaluate(() => window.connection().getSenders()[0].dtmf.insertDTMF('5', 200));
  const digit = await atAnna.find('a key', (e) => e.event === 'call.dtmf');
  report.equal('a key of the other side is an event', digit.digit, '5');
  const sent = await anna.ask('POST', '/call/dtmf', { callID, digits: '12#', duration: 80 });
  report.equal('keys by the API', `${sent.status} ${sent.json.details}`, '200 DTMF sent');

  const held = await bert.ask('POST', '/call/hold', { callID });
  report.equal('hold', held.json.call.state, 'on_hold');
  await sleep(600);
  const silence = await pages[anna.token].evaluate(() => window.hear(1));
  report.check('who is held hears no microphone', silence.level < -55, `${silence.level.toFixed(1)} dBFS`);
  report.equal('resume', (await bert.ask('POST', '/call/resume', { callID })).json.call.state, 'active');
  await bert.hangup(callID);
  const ended = await atAnna.find('the end', (e) => e.event === 'call.ended');
  report.equal('the end at the other side', ended.call.endReason, 'remote_ended');
  report.equal('and at this one', (await bert.status(callID)).endReason, 'user_ended');

  const from = atAnna.list.length;
  const busy = await anna.make('1002');
  await atBert.find('it rings', (e) => e.event === 'call.incoming' && e.call.callID === busy);
  await bert.ask('POST', '/call/reject', { call_id: busy, call_from: '1001', reason: 'busy' });
  report.equal('busy', (await atAnna.find('the end', (e) => e.event === 'call.ended', { from })).call.endReason, 'busy');
  const given = await anna.make('1002');
  await atBert.find('it rings', (e) => e.event === 'call.incoming' && e.call.callID === given);
  await anna.hangup(given);
  report.equal('given up by its caller', (await atBert.find('the end', (e) => e.event === 'call.ended' && e.call.callID === given)).call.endReason, 'cancelled');
  const self = await anna.make('1001');
  report.equal('an account that calls itself', (await atAnna.find('the end', (e) => e.event === 'call.ended' && e.call.callID === self)).call.endReason, 'busy');
  atBert.close();
  await until('bert is gone', async () => {
    const alone = await anna.make('1002');
    await sleep(100);
    const call = await anna.status(alone);
    if (call.state !== 'ended') await anna.hangup(alone);
    return call.endReason === 'unavailable';
  });
  report.check('who has nobody listening is unavailable', true);
  atAnna.close();
  for (const page of Object.values(pages)) await page.close();
}

async function stream({ report, base, anna }) {
  console.log('  -- the stream');
  const events = await Events.open(`${base}/call/events`, { token: anna.token });
  const callID = await anna.make('tone');
  await events.find('active', (e) => e.call.callID === callID && e.call.state === 'active');
  const seen = events.list.at(-1).id;
  events.close();
  await anna.hangup(callID);
  const again = await Events.open(`${base}/call/events`, { token: anna.token, 'last-event-id': seen });
  const missed = await again.find('what was missed', (e) => e.event === 'call.ended');
  report.check('who comes back gets what it missed, and nothing twice', missed.id > seen && again.list.every((e) => e.id > seen), `${again.list.length} events`);
  await until('a comment within 20 s', () => /^: ping$/m.test(again.text), 25_000);
  report.check('a comment keeps the stream alive', true);
  again.close();
  const streams = [];
  for (let i = 0; i < 17; i++) streams.push(await Events.open(`${base}/call/events`, { token: anna.token }));
  report.equal('a seventeenth stream', streams.at(-1).status, 429);
  for (const one of streams) one.close();
}

async function webhook({ report, anna, carl }, receiver) {
  console.log('  -- the webhook');
  const callID = await anna.make('1003');
  await until('the event arrives at the third attempt', () => receiver.requests.length >= 3, 12_000);
  const attempts = receiver.requests.filter((r) => r.json.event === 'call.incoming');
  report.equal('the same event each time', new Set(attempts.map((r) => r.json.id)).size, 1);
  const pauses = attempts.slice(1).map((r, i) => (r.at - attempts[i].at) / 1000);
  report.check('after 1 s and 5 s', Math.abs(pauses[0] - 1) < 0.7 && Math.abs(pauses[1] - 5) < 0.7, pauses.map((p) => `${p.toFixed(2)} s`).join(', '));
  report.check('signed', receiver.requests.every((r) => r.headers['x-signature-256'] === signature(SECRET, r.body)));
  report.check('no redirect is followed', receiver.requests.every((r) => r.path === '/hook'));
  report.equal('the event', `${attempts[0].json.type} ${attempts[0].json.call.state} ${attempts[0].json.token_name} ${attempts[0].headers['content-type']}`, 'Call incoming carl application/json');
  await carl.ask('POST', '/call/answer', { callID });
  await carl.hangup(callID);
  await until('the end arrives', () => receiver.requests.some((r) => r.json.event === 'call.ended'));
  report.check('its states in order', /incoming.*active.*ended/.test(receiver.requests.map((r) => r.json.call.state).join(' ')), receiver.requests.map((r) => r.json.event).join(', '));
  const off = await carl.ask('POST', '/webhook', { WebhookURL: receiver.url, Subscribe: ['Message'] });
  report.equal('unsubscribed', `${off.status} ${off.json.details}`, '200 Webhook removed');
  const alone = await anna.make('1003');
  await until('nobody to ring', async () => (await anna.status(alone)).endReason === 'unavailable');
  const count = receiver.requests.length;
  await carl.ask('POST', '/webhook', { WebhookURL: receiver.url, Subscribe: ['Call'] });
  const rung = await anna.make('1003');
  await until('set again, it is told', () => receiver.requests.length > count);
  await anna.hangup(rung);
  report.check('set again', true);
}
