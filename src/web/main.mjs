// The call page: its calls, what the server tells of them, and what keys and buttons do.
import { Api } from './api.mjs';
import { Call } from './call.mjs';
import { Elsewhere } from './elsewhere.mjs';
import { initField, isTyping } from './field.mjs';
import * as kept from './kept.mjs';
import { audio } from './level.mjs';
import { microphone, stop } from './media.mjs';
import { fill, flash } from './pad.mjs';
import { key, play } from './sound.mjs';
import { claimed } from './tabs.mjs';
import * as view from './view.mjs';
import { $, isSame, say, unwarn, warn } from './view.mjs';
import { BLOCKED_ANSWER, DOWN, HANGING_UP, LATER, STOPPED, STOPPING, UNTOLD, apart, ending, failure, insecure, note, spoken, where } from './words.mjs';

/** Within so long, Esc must come twice to hang up. */
const TWICE_MS = 3_000;
const TWICE = 'Press Esc again to hang up.';
const DECLINED = 'Call declined.';

let api = null;
/** How it stands with the server: `connecting`, `up`, `stopping` (it said so), `down`; none without a token. */
let link = '';
let stopListening = () => {};
let suggestions = [];
/** The call of this page. */
let call = null;
/** Calls that ring here, by id: what the API says, the caller's name, and whether it rings beside a number being written. */
const incoming = new Map();
/** The one of them that waits for the microphone to be answered. */
let answering = null;
const elsewhere = new Elsewhere({ nameFor, isHere: (id) => call?.id === id, onChange: render });
/** Ids that this page answered or refused: they ring here no more. */
const handled = new Set();
/** The last word about calls that this page does not know yet: events may be faster than answers. */
const early = new Map();
let hint = '';
let hintTimer;
/** A token that waits for the end of the call. */
let nextToken = null;

/** Who is at the other side: an event tells a caller once, and a page that comes later shall know it still. */
function nameFor({ callID, direction, from, to, peer, displayName }, told) {
  const began = direction === 'inbound' ? from : to;
  const isOther = peer && peer !== began; // who answered, or came in the place of who did
  const name = told ?? displayName ?? (isOther ? null : kept.nameOf(callID)) ?? nameOf(isOther ? peer : began);
  if (!isOther) kept.keepName(callID, name);
  return name;
}

const nameOf = (number) => suggestions.find((s) => s.number === number || isSame(s.name, number))?.name ?? number;

// ---- what is shown

function enter(state) {
  link = state;
  view.showLink(state);
}

/** Everything follows from what is known. */
function render() {
  view.keepingFocus(draw);
}

function draw() {
  if (!api) {
    view.showWaiting(null);
    play('');
    return view.show('sign-in');
  }
  const [ringing] = incoming.values();
  view.showWaiting(call || ringing?.isBeside ? ringing : null, !!call);
  view.listOthers(elsewhere.list, { onTake: take, onEnd: endOther });
  if (call) {
    view.showCall(call, link, hint);
    view.show('talking');
  } else if (ringing && !ringing.isBeside) {
    view.showRinging(ringing, answering === ringing.call.callID);
    view.show('ringing');
  } else {
    view.show('idle');
  }
  play(call ? (call.state === 'ringing' && call.direction === 'outbound' ? 'ringback' : '') : ringing && !answering ? 'ring' : '');
  $('status').classList.toggle('unseen', !!(call || ringing)); // for ears: eyes have the call itself
  if (nextToken && !call && !ringing) changeTo(nextToken);
  document.title = call ? `${call.name} · sipedge` : ringing ? `${ringing.name} is calling · sipedge` : 'sipedge';
}

function tick() {
  requestAnimationFrame(tick);
  view.showLive(call);
  if (call?.state === 'ringing' && call.media?.them?.shown > 0.2) play('their own'); // the other side sends its tones itself
}

/** A word in a call that passes. */
function hintAt(text, ms) {
  hint = text;
  say(text);
  clearTimeout(hintTimer);
  hintTimer = setTimeout(() => {
    hint = '';
    render();
  }, ms);
  render();
}

// ---- calls

function begin({ name, number, since }, steps) {
  warn('');
  hint = '';
  audio();
  const own = new Call({
    api, name, number, since, nameFor, element: $('sound'), latest: (id) => early.get(id),
    onChange() {
      if (call !== own) return;
      if (own.media?.hasMicrophone) unwarn('microphone');
      if (own.id) {
        elsewhere.drop(own.id);
        if (own.isOurs) kept.set('call', { id: own.id, name: own.name, since: own.since });
      }
      const words = note(own, link).text || spoken(own);
      if (words && own.said !== words) say((own.said = words)); // once each: it is read aloud
      render();
    },
    onEnd({ call: ended, error, where: place }) {
      kept.remove('call');
      if (own.id && (ended || (error && own.isOurs && error.kind !== 'answered'))) elsewhere.end(own.id);
      if (call !== own) return;
      call = null;
      const isFault = /^(failed|forgotten)$/.test(ended?.endReason); // what comes next must not wipe that away
      say(ended && !isFault ? (ended.isAsked ? HANGING_UP : ending(ended, own.name)) : '');
      if (isFault) warn(ending(ended, own.name, link === 'stopping'));
      if (place) warn(where[place]);
      if (error) warn(failure(error, number));
      if (error?.status === 401) return signOut(failure(error));
      render();
      if (place || error) refresh();
    },
  });
  call = own;
  render();
  early.clear();
  steps(own);
}

/** What the page itself calls a number is as good as the number. */
const numberOf = (text) => suggestions.find((s) => isSame(s.name, text))?.number ?? text;

function dial(text) {
  const number = numberOf(text.trim());
  if (!number) {
    warn('');
    say('Enter a number or a name first.');
    $('number').focus();
    return;
  }
  if (!call) begin({ name: nameOf(number), number }, (own) => own.dial());
}

/** The microphone comes first, too: without one the call goes on ringing, and the one before goes on. */
async function answer() {
  const [ringing] = incoming.values();
  const id = ringing?.call.callID;
  if (!id || answering === id) return;
  answering = id;
  warn('');
  audio();
  render();
  let stream;
  try {
    stream = await microphone();
  } catch (error) {
    if (incoming.has(id)) warn(error.name === 'NotAllowedError' ? BLOCKED_ANSWER : `${failure(error)} The call goes on ringing.`);
  }
  if (answering === id) answering = null;
  if (!stream || !incoming.has(id)) {
    if (stream) stop(stream); // refused, or given up meanwhile
    return render();
  }
  hangUp();
  incoming.delete(id);
  handled.add(id);
  begin({ name: ringing.name, number: ringing.call.from }, (own) => own.answer(ringing.call, stream));
}

async function decline() {
  const [ringing] = incoming.values();
  if (!ringing) return;
  const id = ringing.call.callID;
  incoming.delete(id);
  handled.add(id);
  warn('');
  say(DECLINED);
  render();
  try {
    await api.post('/call/reject', { callID: id });
  } catch (error) {
    if (error.status === 404) return; // it is over
    // it rings on there, so it does here
    handled.delete(id);
    incoming.set(id, ringing);
    if ($('status').textContent === DECLINED) say('');
    warn(failure(error));
    render();
  }
}

async function hangUp() {
  if (!call) return;
  const own = call;
  const heard = own.hangUp();
  if (link === 'down') warn(UNTOLD);
  const isHeard = await heard;
  if (own.ended && $('status').textContent === HANGING_UP) say(isHeard ? ending(own.ended, own.name) : '');
  if (!isHeard && !call) warn(UNTOLD);
}

/** Takes a call that is elsewhere; whoever has it lets it go when this page has its sound. */
function take({ name, call: other }) {
  if (call) return;
  begin({ name, number: other.direction === 'inbound' ? other.from : other.to, since: Date.parse(other.answeredAt) || null }, (own) => own.rejoin(other));
}

async function endOther({ name, call: other }) {
  elsewhere.end(other.callID);
  say(`The call with ${apart(name)} was ended.`);
  warn('');
  render();
  if (!(await api.leave(other.callID))) warn(UNTOLD);
}

/** Does something whose failure is told and changes nothing; `about`: until that is well again. */
async function attempt(something, about) {
  try {
    await something();
  } catch (error) {
    if (error.status !== 404) warn(failure(error), about);
  }
}

function press(digit) {
  key(digit);
  attempt(() => call.press(digit));
}

// ---- what the server tells

function onEvent({ event, call: told, displayName }) {
  if (event === 'server.draining') return onStopping();
  const id = told.callID;
  if (event === 'call.incoming') {
    if (handled.has(id)) return;
    const name = nameFor(told, displayName);
    incoming.set(id, { call: told, name, isBeside: isTyping() });
    say(call ? `${apart(name)} is calling, too.` : `${apart(name)} is calling.`);
    return render();
  }
  if (call?.id === id) return call.update(told);
  const ringing = incoming.get(id);
  if (ringing && told.state !== 'incoming') {
    incoming.delete(id);
    warn('');
    say(told.state === 'ended' ? ending(told, ringing.name, link === 'stopping') : `${apart(ringing.name)}: answered on another device.`);
  }
  if (call && !call.id) early.set(id, told);
  elsewhere.know(told);
  if (!elsewhere.list.length && Object.values(where).includes($('alert').textContent)) warn(''); // it is nowhere any more
  render();
}

/** Asks what goes on elsewhere. */
async function refresh() {
  const found = await api.get('/call/list').catch(() => null);
  if (found) await elsewhere.learn(found.calls);
}

/** What the page offers, and how it calls that. */
const offered = fetch('/page/suggestions.json').then((r) => r.json()).then((page) => page.suggestions, () => []).then((found) => {
  suggestions = found;
  view.listSuggestions(found, dial);
});

/** The stream is up: what happened meanwhile is asked for. */
async function onUp() {
  const own = api;
  const [{ calls }] = await Promise.all([own.get('/call/list'), offered]);
  if (api !== own) return; // signed out meanwhile
  enter('up');
  if ([DOWN, STOPPED, STOPPING].includes($('status').textContent)) say('');
  // what follows shows how things are
  if ([UNTOLD, STOPPING, ...(call || incoming.size ? [failure({ kind: 'timeout' }), failure({ kind: 'offline' })] : [])].includes($('alert').textContent)) warn('');
  if (call?.id && !calls.some((c) => c.callID === call.id)) {
    const forgotten = { callID: call.id, state: 'ended', endReason: 'forgotten' };
    const { call: now } = await api.get(`/call/status?callID=${call.id}`).catch((error) => {
      if (error.status !== 404) throw error;
      return { call: forgotten };
    });
    call?.update(now);
  }
  for (const now of calls) if (now.callID === call?.id) call.update(now);
  const rang = new Map(incoming);
  incoming.clear();
  for (const now of calls.filter((c) => c.state === 'incoming' && !handled.has(c.callID))) {
    incoming.set(now.callID, rang.get(now.callID) ?? { call: now, name: nameFor(now), isBeside: isTyping() });
  }
  kept.keepNamesOf(calls);
  await rejoin(calls);
  await elsewhere.learn(calls);
}

/** A tab that crashed finds its call again. The copy of a tab does not take the call of its first: that one is alive. */
async function rejoin(calls) {
  const left = kept.get('call');
  const own = left && !call && calls.find((c) => c.callID === left.id && c.state !== 'incoming');
  if (!own) return;
  if ((await claimed([own])).size) return kept.remove('call');
  begin({ ...left, number: own.direction === 'inbound' ? own.from : own.to }, (again) => again.rejoin(own));
}

/** It goes on as long as it can, and calls nobody any more. */
function onStopping() {
  enter('stopping');
  if (call) call.onChange();
  else say(STOPPING);
  render();
}

function onDown() {
  const wasStopping = link === 'stopping' || $('status').textContent === STOPPED;
  enter('down');
  if (call) call.onChange();
  else say(wasStopping ? STOPPED : DOWN);
  render();
}

// ---- signing in and out

/** Nothing is offered before the server has answered, or not: see `onUp` and `onDown`. */
function signIn(token) {
  warn('');
  say('');
  kept.set('token', token);
  api = new Api(token);
  enter('connecting');
  stopListening = api.listen({ onUp, onDown, onEvent, onRefused: () => signOut(failure({ status: 401 })) });
}

function forget() {
  kept.remove('token');
  stopListening();
  call?.leave();
  call = null;
  api = null;
  incoming.clear();
  elsewhere.clear();
  enter('');
  say('');
}

function signOut(why) {
  forget();
  render();
  warn(why);
}

/** A new link was opened in this tab. */
function changeTo(token) {
  nextToken = null;
  if (token === api?.token) return;
  if (call) {
    nextToken = token;
    return hintAt(LATER, 6_000);
  }
  forget();
  warn('');
  render();
  signIn(token);
}

// ---- keys and buttons

$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn($('token').value.trim());
  $('token').value = '';
});
for (const id of ['answer', 'waiting-answer']) $(id).addEventListener('click', answer);
for (const id of ['decline', 'waiting-decline']) $(id).addEventListener('click', decline);
$('hang-up').addEventListener('click', hangUp);
$('mute').addEventListener('click', () => call?.mute(!call.isMuted));
$('hold').addEventListener('click', () => attempt(() => call.hold(call.state !== 'on_hold')));
$('keys').addEventListener('click', () => view.openPad(!view.isPadOpen()));
$('note-action').addEventListener('click', () => attempt(() => call.media.takeMicrophone(), 'microphone'));

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const [ringing] = incoming.values();
  if (event.key === 'Escape') {
    if (call) escape();
    else if (ringing && !ringing.isBeside) decline();
    else return;
    event.preventDefault();
  } else if (call?.takesKeys && view.isPadOpen() && /^[0-9*#]$/.test(event.key)) {
    flash($('talk-pad'), event.key);
    press(event.key);
  }
});

/** Esc closes the keys; an answered call is not ended by one key alone. */
function escape() {
  const isAnswered = call.state === 'active' || call.state === 'on_hold';
  if (view.isPadOpen()) view.openPad(false);
  else if (!isAnswered || hint === TWICE) hangUp();
  else hintAt(TWICE, TWICE_MS);
}

document.addEventListener('pointerdown', () => audio(), { once: true });
document.addEventListener('keydown', () => audio(), { once: true });

// a call must not go on that nobody can hang up any more
addEventListener('beforeunload', (event) => call?.isOurs && event.preventDefault());
addEventListener('pagehide', () => call?.leave());
addEventListener('hashchange', () => {
  const token = kept.takeToken();
  if (token) changeTo(token);
});

initField(dial);
fill($('talk-pad'), press);
tick();

if (!isSecureContext) {
  $('insecure').textContent = insecure(location);
  $('insecure').hidden = false;
}
const token = kept.takeToken() ?? kept.get('token');
$('loading').textContent = 'Connecting …';
if (token) signIn(token);
else render();
