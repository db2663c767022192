// The API's own words: who may ask, what is wrong, what other origins may read.
export const name = 'API answers';

export async function run({ report, api, account, origin }) {
  const anna = api(account('pcmu'));
  const bert = api(account('pcma'));
  const stranger = api('no-such-token-0123456789');
  const nobody = api(null);
  const answer = ({ status, json }) => `${status} ${JSON.stringify(json)}`;
  const error = (code, text) => `${code} ${JSON.stringify({ code, error: text, success: false })}`;
  const said = async (what, asked, wanted) => report.equal(what, answer(await asked), wanted);

  await said('config', anna.ask('GET', '/call/webrtc/config'),
    `200 ${JSON.stringify({ code: 200, iceServers: [], success: true, turn: { enabled: false, status: 'coming_soon' } })}`);
  const unauthorized = error(401, 'Unauthorized');
  for (const [method, path] of [['GET', '/call/webrtc/config'], ['POST', '/call/webrtc/offer'], ['POST', '/call/make'], ['POST', '/call/hangup'], ['GET', '/call/status?callID=x']]) {
    await said(`${path} without a token`, nobody.ask(method, path, method === 'POST' ? {} : undefined), unauthorized);
    await said(`${path} with a wrong token`, stranger.ask(method, path, method === 'POST' ? {} : undefined), unauthorized);
  }
  await said('no JSON', anna.ask('POST', '/call/make', '{'), error(400, 'the body is not JSON: line 1 column 1'));
  await said('no Phone', anna.ask('POST', '/call/make', {}), error(400, 'missing Phone in payload'));
  await said('a Phone that cannot be', anna.ask('POST', '/call/make', { Phone: 'a b@c' }), error(400, 'Phone must be 1 to 64 digits, letters and any of + * # _ . -, as +551140001234 or 600'));
  await said('a number without a route', api(account('nowhere')).ask('POST', '/call/make', { Phone: '1' }), error(403, 'destination not permitted: no route of this account leads there'));
  await said('a body too long', anna.ask('POST', '/call/make', 'x'.repeat(300_000)), error(413, 'the body is longer than 262144 bytes'));
  await said('an unknown path', anna.ask('GET', '/call/nothing'), error(404, 'no such path'));
  await said('a wrong method', anna.ask('GET', '/call/make'), error(405, 'this path takes another method'));

  const callID = await anna.make('605');
  await said('no sdp', anna.ask('POST', '/call/webrtc/offer', { callID, type: 'offer' }), error(400, 'missing sdp in payload'));
  await said('type answer', anna.ask('POST', '/call/webrtc/offer', { callID, type: 'answer', sdp: 'v=0' }), error(400, 'type must be "offer", not "answer"'));
  await said('no SDP in sdp', anna.ask('POST', '/call/webrtc/offer', { callID, type: 'offer', sdp: 'hello' }), error(400, 'sdp: session description line 1: expected v=0'));
  const opusOnly = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'c=IN IP4 0.0.0.0',
    'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789012345678901', `a=fingerprint:sha-256 ${Array(32).fill('AB').join(':')}`, 'a=setup:actpass',
    'a=mid:0', 'a=sendrecv', 'a=rtcp-mux', 'a=rtpmap:111 opus/48000/2', ''].join('\r\n');
  await said('an offer with another codec only', anna.ask('POST', '/call/webrtc/offer', { callID, type: 'offer', sdp: opusOnly }),
    error(400, 'no common codec: the offer has opus/48000/2; this call takes PCMU'));
  const pcmu = opusOnly.replaceAll('SAVPF 111', 'SAVPF 0').replace('a=rtpmap:111 opus/48000/2', 'a=rtpmap:0 PCMU/8000');
  const offers = [];
  for (let i = 0; i < 2; i++) offers.push(await anna.ask('POST', '/call/webrtc/offer', { callID, type: 'offer', sdp: pcmu }));
  report.check('the same offer is answered twice with the same answer', offers[0].status === 200 && offers[0].text === offers[1].text, `${offers[0].status}, ${offers[0].text.length} bytes`);
  await said('somebody else\'s call', bert.ask('POST', '/call/webrtc/close', { callID }), error(404, 'call not found'));
  await said('an unknown call', anna.ask('POST', '/call/hangup', { callID: 'F'.repeat(32) }), error(404, 'call not found'));
  await said('no call id at all', anna.ask('POST', '/call/hangup', {}), error(400, 'missing callID in payload'));
  await anna.hangup(callID);

  const calls = [];
  for (let i = 0; i < 4; i++) calls.push(await anna.make('605'));
  await said('a fifth call at once', anna.ask('POST', '/call/make', { Phone: '605' }), error(429, 'too many calls at once'));
  for (const id of calls) await anna.hangup(id);

  const kept = await fetch(anna.base + '/openapi.json');
  await kept.text();
  report.equal('how long an idle connection stays', kept.headers.get('keep-alive'), 'timeout=10');
  const preflight = await fetch(anna.base + '/call/webrtc/offer', {
    method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'token,content-type' },
  });
  const header = (name) => preflight.headers.get(`access-control-${name}`);
  report.equal('preflight', `${preflight.status} ${header('allow-origin')} ${header('allow-methods')} ${header('allow-headers')}`,
    `204 ${origin} GET, POST, OPTIONS token, content-type, admintoken, last-event-id, cache-control, authorization`);
  const readable = await stranger.ask('GET', '/call/webrtc/config', undefined, { origin });
  report.equal('an error is readable across origins', readable.headers.get('access-control-allow-origin'), origin);
  const other = await anna.ask('GET', '/call/webrtc/config', undefined, { origin: 'http://evil.example' });
  report.equal('another origin is not allowed', other.headers.get('access-control-allow-origin'), null);
}
