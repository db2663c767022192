// What happened, in plain words, with what to do about it.

/** Why a call ended that was to be put through or was cut off, for who can change nothing in the server. */
const ASK = 'If it stays so, tell whoever looks after this telephone.';

/** Marks of the direction of text: what a caller is called must not turn the words around it. */
const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A name for within a sentence, between marks that set it apart (Unicode UAX #9: FSI, PDI); the view makes elements of them. */
export const apart = (name) => `\u2068${name.replace(TURNING, '')}\u2069`;

/** How a call ended; `who` is the other side, `isStopping` whether the server had said that it is about to end. */
export function ending({ endReason, direction, answeredAt }, who, isStopping = false) {
  const name = apart(who);
  if (endReason === 'failed' && isStopping) {
    return answeredAt || direction === 'outbound' ? `The server was stopped or restarted, which ended the call with ${name}. Call again when it is back.` : `${name} called while the server was stopped or restarted.`;
  }
  if (endReason === 'forgotten') return `The call with ${name} ended while the server could not be reached.`;
  if (direction === 'inbound' && !answeredAt && endReason !== 'declined' && endReason !== 'busy') {
    return endReason === 'failed' ? `${name} called, but the call could not be put through to you. ${ASK}` : `Missed call from ${name}.`;
  }
  switch (endReason) {
    case 'user_ended': return 'Call ended.';
    case 'remote_ended': return `${name} hung up.`;
    case 'busy': return direction === 'inbound' ? 'Call declined.' : 'The line is busy. Try again later.';
    case 'declined': return direction === 'inbound' ? 'Call declined.' : `${name} declined the call, or takes no calls from you.`;
    case 'timeout': return `${name} did not answer.`;
    case 'cancelled': return 'Call cancelled.';
    case 'unavailable': return `${name} cannot be reached now. Check the number, or try again later.`;
  }
  return answeredAt
    ? `The call with ${name} was cut off by a fault on the way. Call again. ${ASK}`
    : `${name} could not be called: the telephone system behind this server does not answer, or refused. Try again in a minute. ${ASK}`;
}

/** A call that goes on without this page. */
export const where = { tab: 'This call is in another tab.', elsewhere: 'This call is in another window or on another device.' };

export const DOWN = 'The server does not answer. Trying again.';
export const STOPPING = 'The server is being stopped or restarted. It takes no new calls until it is back.';
export const STOPPED = 'The server was stopped or is being restarted. Trying again.';
export const HANGING_UP = 'Hanging up …';
export const BLOCKED_ANSWER = 'Your microphone is blocked; the call goes on ringing. Allow the microphone for this page (the icon beside the address), then press Answer again.';
export const LATER = 'You are in a call. The new link is used when it is over.';
export const UNTOLD = 'The server does not answer. The call goes on there until it can be told that you hung up.';

/** What is to be said in a call beside its state, with the link to the server; `action` names a button that helps. */
export function note(call, link) {
  if (call.media && !call.media.hasMicrophone) {
    return { text: `Your microphone is gone: ${apart(call.name)} cannot hear you. Connect one, or allow it for this page.`, action: 'Try again' };
  }
  if (call.media?.wasConnected && !call.isHeard) return { text: 'You cannot hear each other now. The sound comes back by itself as soon as the network does.' };
  if (link === 'stopping') return { text: 'The server is being stopped or restarted: this call will be ended before long.' };
  if (link === 'down') return { text: call.isHeard ? 'The server does not answer. You can go on talking; hold and keys work again when it is back.' : DOWN };
  return { text: '' };
}

/** The state of a call in a word or two. */
export function kind(call) {
  if (call.isAsking) return 'Waiting for your microphone';
  if (call.pending) return call.pending === 'hold' ? 'Putting on hold …' : 'Resuming …';
  if (call.state === 'on_hold') return 'On hold';
  if (call.state === 'active') return call.isHeard ? 'In call' : call.media?.wasConnected ? 'Sound is interrupted' : 'Connecting sound …';
  return { preparing: 'Calling', starting: 'Calling', ringing: 'Ringing', incoming: 'Connecting' }[call.state] ?? '';
}

/** The same for ears. */
export function spoken(call) {
  const { state } = call;
  const name = apart(call.name);
  if (call.isAsking) return 'Waiting for your microphone';
  if (state === 'active') return call.isHeard ? `Connected with ${name}` : '';
  return { starting: `Calling ${name}`, ringing: `Ringing at ${name}`, on_hold: `${name} is on hold` }[state] ?? '';
}

/** A call of this account that is not in this tab. */
export function elsewhere({ state, media }, isInTab) {
  const does = { starting: 'Ringing', ringing: 'Ringing', on_hold: 'On hold' }[state] ?? 'In call';
  const place = isInTab ? 'in another tab' : /^connect/.test(media?.webrtc) ? 'in another window or on another device' : 'open nowhere';
  return `${does}, ${place}`;
}

/** What an unencrypted page cannot do, before anybody tries. */
export const insecure = ({ port }) =>
  `This page was opened without encryption (http), and browsers give such a page no microphone: it cannot make or take calls. Open its https address. On the computer that the server runs on, http://localhost${port ? `:${port}` : ''} works, too.`;

/** A failure of this page: what the browser, the network or the server said. */
export function failure(error, number = '') {
  if (error.isAboutKeys && error.kind) return 'The server does not answer: the last keys may not have arrived.';
  switch (error.kind) {
    case 'offline': return 'The server cannot be reached. Is this device online?';
    case 'timeout': return 'The server did not answer within 10 seconds. What you asked for may still happen, or not.';
    case 'no-address': return 'Your browser names no address that sound could come to. It is offline, or a setting or extension blocks WebRTC.';
    case 'no-path': return 'No network path to the server: its media port cannot be reached from here. A firewall or VPN may block UDP.';
    case 'lost': return 'The sound was lost and did not come back; the call was ended.';
    case 'insecure': return 'Browsers give a page no microphone that was opened without encryption (http). Open its https address.';
    case 'codec': return 'This browser and the other side have no sound format in common.';
    case 'answered': return 'The call was answered elsewhere, or the caller gave up.';
  }
  switch (error.name) {
    case 'NotAllowedError': return 'Your microphone is blocked. Allow it for this page (the icon beside the address), then try again.';
    case 'NotFoundError': return 'No microphone was found. Connect one, then try again.';
    case 'NotReadableError': case 'AbortError': return 'Your microphone does not work, or another program uses it.';
  }
  switch (error.status) {
    case 400: return /^Phone must be/.test(error.message) ? 'A number has digits, letters, + * # . _ or -, up to 64 of them.' : `The server refused: ${error.message}.`;
    case 401: return 'That token is not known here. Check it, and sign in again.';
    case 403: return `“${apart(number)}” cannot be called: your account has no route to it.`;
    case 404: return 'That call is over.';
    case 429: return isTooManyCalls(error) ? 'You have as many calls as you may have at once. End one of those below first.' : 'Too many requests. Wait a moment.';
    case 503: return STOPPING;
  }
  return error.status ? `The server has a problem: ${error.message}.` : `Something went wrong in this page: ${error.message}`;
}

/** Whether an account has all the calls that it may have. */
export const isTooManyCalls = (error) => error.status === 429 && /calls/.test(error.message);
