// What happened, in plain words, with what to do about it.

/** How a call ended; `name` is the other side. */
export function ending({ endReason, direction, answeredAt }, name) {
  if (direction === 'inbound' && !answeredAt && endReason !== 'declined' && endReason !== 'busy') {
    return endReason === 'failed' ? `The call from ${name} could not be put through.` : `Missed call from ${name}.`;
  }
  switch (endReason) {
    case 'user_ended': return 'Call ended.';
    case 'remote_ended': return `${name} hung up.`;
    case 'busy': return direction === 'inbound' ? 'Call declined.' : 'The line is busy.';
    case 'declined': return direction === 'inbound' ? 'Call declined.' : `${name} declined the call.`;
    case 'timeout': return `${name} did not answer.`;
    case 'cancelled': return 'Call cancelled.';
    case 'unavailable': return `${name} cannot be reached now. Check the number, or try again later.`;
    default: return 'The call could not be put through. The server’s log says why.';
  }
}

/** A failure of this page: what the browser, the network or the server said. */
export function failure(error, number = '') {
  switch (error.kind) {
    case 'offline': return 'The server does not answer. Is it running, and is this device online?';
    case 'no-path': return 'No network path to the server: its media port cannot be reached from here. A firewall or VPN may block UDP.';
    case 'lost': return 'The connection for sound was lost.';
    case 'insecure': return `Browsers give a microphone only to https, localhost and 127.0.0.1. Open this page at one of these.`;
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
    case 403: return `“${number}” cannot be called: your account has no route to it.`;
    case 404: return 'That call is over.';
    case 429: return /calls/.test(error.message) ? 'You have as many calls as you may have at once. End one first.' : 'Too many requests. Wait a moment.';
    case 503: return 'The server is shutting down.';
  }
  return error.status ? `The server has a problem: ${error.message}.` : `Something went wrong in this page: ${error.message}`;
}
