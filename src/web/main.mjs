// The call page: what is shown, and what keys and buttons do. Everything else is in the modules beside it.
import { Api } from './api.mjs';
import { Call } from './call.mjs';
import { audio } from './media.mjs';
import { key, ring, ringback } from './sound.mjs';
import { ending, failure } from './words.mjs';

const $ = (id) => document.getElementById(id);
const VIEWS = ['sign-in', 'idle', 'ringing', 'talking'];
const PAD = [['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'], ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', '']];

let api = null;
let stopListening = () => {};
let suggestions = [];
/** The call of this page. */
let call = null;
/** Calls that ring here, by id: what the API says, and the caller's name. */
const incoming = new Map();
/** Ids that this page answered or refused; their events are no news. */
const handled = new Set();
/** The last word about calls that this page does not know yet: events may be faster than answers. */
const early = new Map();
let sound = { name: '', stop: () => {} };

// ---- what is shown

function show(view) {
  const old = VIEWS.find((name) => !$(name).hidden);
  if (old === view) return;
  for (const name of VIEWS) $(name).hidden = name !== view;
  const focus = { 'sign-in': 'token', idle: 'number', ringing: 'answer', talking: 'hang-up' }[view];
  // on a phone, focus on a field opens its keyboard: only where there is a keyboard anyway
  if (view !== 'idle' || matchMedia('(hover: hover)').matches) $(focus).focus();
  if (view === 'idle' && document.activeElement === $('number')) $('number').select(); // the next number replaces it
}

function say(text) {
  $('status').textContent = text;
}

function warn(text) {
  $('alert').textContent = text;
  $('alert').hidden = !text;
}

function play(name) {
  if (sound.name === name) return;
  sound.stop();
  sound = { name, stop: name === 'ring' ? ring() : name === 'ringback' ? ringback() : () => {} };
}

const isSame = (a, b) => a.toLowerCase() === b.toLowerCase();
const nameOf = (number) => suggestions.find((s) => s.number === number || isSame(s.name, number))?.name ?? number;
const initial = (name) => (/^\p{L}/u.test(name) ? name[0].toUpperCase() : '#');

/** Everything follows from what is known. */
function render() {
  if (!api) return show('sign-in');
  const [ringing] = incoming.values();
  $('waiting').hidden = !(call && ringing);
  if (call) {
    if (ringing) $('waiting-text').textContent = `${ringing.name} is calling.`;
    renderCall();
    show('talking');
  } else if (ringing) {
    $('ringing-who').textContent = ringing.name;
    $('ringing-number').textContent = isSame(ringing.call.from, ringing.name) ? '' : ringing.call.from;
    $('ringing').querySelector('.face').textContent = initial(ringing.name);
    say(`${ringing.name} is calling.`);
    show('ringing');
  } else {
    show('idle');
  }
  play(call ? (call.state === 'ringing' && call.direction === 'outbound' ? 'ringback' : '') : ringing ? 'ring' : '');
  $('status').classList.toggle('unseen', !!(call || ringing)); // for ears: eyes have the call itself
  document.title = call ? `${call.name} · sipedge` : ringing ? `${ringing.name} is calling · sipedge` : 'sipedge';
}

function renderCall() {
  const isTalking = call.state === 'active' || call.state === 'on_hold';
  const isHeld = call.state === 'on_hold';
  $('talking-kind').textContent = { preparing: 'Waiting for your microphone', starting: 'Calling', ringing: 'Ringing', incoming: 'Connecting', active: 'In call', on_hold: 'On hold' }[call.state] ?? '';
  $('talking-who').textContent = call.name;
  $('talking-face').textContent = initial(call.name);
  $('talking-face').classList.toggle('pulse', !isTalking);
  $('talking-face').classList.toggle('held', isHeld);
  for (const id of ['hold', 'keys']) $(id).disabled = !isTalking;
  $('mute').disabled = !call.media;
  toggle('mute', call.isMuted, ['Mute', 'Unmute'], ['#i-mic', '#i-muted']);
  toggle('hold', isHeld, ['Hold', 'Resume'], ['#i-hold', '#i-play']);
  if (!isTalking) openPad(false);
  for (const button of $('talk-pad').children) button.disabled = call.state !== 'active';
}

function toggle(id, isOn, names, icons) {
  $(id).setAttribute('aria-pressed', isOn);
  $(`${id}-text`).textContent = names[Number(isOn)];
  $(`${id}-icon`).setAttribute('href', icons[Number(isOn)]);
}

function openPad(isOpen) {
  $('talk-pad').hidden = !isOpen;
  $('talking-face').hidden = isOpen;
  $('keys').setAttribute('aria-expanded', isOpen);
}

function tick() {
  requestAnimationFrame(tick);
  const them = call?.media?.them?.read() ?? 0;
  $('level-you').style.transform = `scaleX(${call?.isMuted ? 0 : (call?.media?.you.read() ?? 0)})`;
  $('level-them').style.transform = `scaleX(${them})`;
  if (call?.state === 'ringing' && them > 0.2) play('their own'); // the other side sends its tones itself
  const seconds = call?.since ? Math.floor((Date.now() - call.since) / 1000) : null;
  const two = (n) => String(n).padStart(2, '0');
  const text = seconds === null ? '' : seconds < 3600 ? `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`
    : `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  if ($('timer').textContent !== text) $('timer').textContent = text;
}

// ---- calls

function begin(name, number, steps) {
  warn('');
  audio();
  const own = new Call({
    api, name, number, element: $('sound'), latest: (id) => early.get(id),
    onChange() {
      if (call !== own) return;
      if (own.id) sessionStorage.setItem('call', JSON.stringify({ id: own.id, name }));
      const words = { preparing: 'Waiting for your microphone', starting: `Calling ${name}`, ringing: `Ringing at ${name}`, active: `Connected with ${name}`, on_hold: `${name} is on hold` }[own.state];
      if (words && own.said !== words) say((own.said = words)); // once each: it is read aloud
      render();
    },
    onEnd({ call: ended, error }) {
      sessionStorage.removeItem('call');
      if (own.id) handled.add(own.id);
      if (call !== own) return;
      call = null;
      say(ended ? ending(ended, name) : '');
      if (error) warn(failure(error, number));
      if (error?.status === 401) return signOut(failure(error));
      render();
    },
  });
  call = own;
  render();
  early.clear();
  steps(own);
}

function dial(number) {
  number = number.trim();
  if (!number) {
    warn('');
    say('Enter a number or a name first.');
    $('number').focus();
    return;
  }
  if (!call) begin(nameOf(number), number, (own) => own.dial());
}

function answer() {
  const [ringing] = incoming.values();
  if (!ringing) return;
  call?.hangUp();
  incoming.delete(ringing.call.callID);
  handled.add(ringing.call.callID);
  begin(ringing.name, ringing.call.from, (own) => own.answer(ringing.call));
}

async function decline() {
  const [ringing] = incoming.values();
  if (!ringing) return;
  incoming.delete(ringing.call.callID);
  handled.add(ringing.call.callID);
  say('Call declined.');
  render();
  await attempt(() => api.post('/call/reject', { callID: ringing.call.callID }));
}

/** Does something whose failure is told and changes nothing. */
async function attempt(something) {
  try {
    await something();
  } catch (error) {
    if (error.status !== 404) warn(failure(error));
  }
}

function press(digit) {
  key(digit);
  attempt(() => call.press(digit));
}

// ---- events

function onEvent({ event, call: told, displayName }) {
  const id = told.callID;
  if (event === 'call.incoming') {
    if (handled.has(id)) return;
    incoming.set(id, { call: told, name: displayName ?? told.from });
    if (call) say(`${displayName ?? told.from} is calling, too.`);
    return render();
  }
  if (call?.id === id) return call.update(told);
  const ringing = incoming.get(id);
  if (ringing && told.state !== 'incoming') {
    incoming.delete(id);
    say(told.state === 'ended' ? ending(told, ringing.name) : `${ringing.name}: answered on another device.`);
    return render();
  }
  if (call && !call.id) early.set(id, told);
}

/** The stream is up: what happened meanwhile is asked for. */
async function onUp() {
  const { calls } = await api.get('/call/list');
  $('link').className = 'link up';
  $('link-text').textContent = 'Ready';
  if (call?.id && !calls.some((c) => c.callID === call.id)) {
    const { call: now } = await api.get(`/call/status?callID=${call.id}`).catch(() => ({ call: { callID: call.id, state: 'ended', endReason: 'failed' } }));
    call?.update(now);
  }
  for (const now of calls) if (now.callID === call?.id) call.update(now);
  const kept = new Map([...incoming].filter(([id]) => calls.some((c) => c.callID === id && c.state === 'incoming')));
  incoming.clear();
  for (const now of calls.filter((c) => c.state === 'incoming' && !handled.has(c.callID))) {
    incoming.set(now.callID, kept.get(now.callID) ?? { call: now, name: now.from });
  }
  const left = JSON.parse(sessionStorage.getItem('call') ?? 'null');
  const own = left && !call && calls.find((c) => c.callID === left.id && c.state !== 'incoming');
  if (own) begin(left.name, own.direction === 'inbound' ? own.from : own.to, (again) => again.rejoin(own));
  render();
}

function onDown() {
  $('link').className = 'link down';
  $('link-text').textContent = 'Reconnecting';
  if (!call) say('The server does not answer. Trying again.');
}

// ---- signing in and out

async function signIn(token) {
  const candidate = new Api(token);
  $('link-text').textContent = 'Connecting';
  try {
    await candidate.get('/call/list');
  } catch (error) {
    if (error.status === 401) return signOut(failure(error));
    if (!error.kind) warn(failure(error)); // an absent server is tried again below
  }
  warn('');
  say('');
  sessionStorage.setItem('token', token);
  api = candidate;
  $('link').hidden = false;
  stopListening = api.listen({ onUp, onDown, onEvent, onRefused: () => signOut(failure({ status: 401 })) });
  render();
}

function signOut(why) {
  sessionStorage.removeItem('token');
  stopListening();
  api = null;
  call?.hangUp();
  incoming.clear();
  $('link').hidden = true;
  render();
  warn(why);
}

// ---- keys and buttons

function pad(id, onPress) {
  for (const [digit, letters] of PAD) {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(digit);
    const small = document.createElement('small');
    small.textContent = letters;
    small.ariaHidden = 'true';
    button.append(small);
    button.setAttribute('aria-label', { '*': 'star', '#': 'hash' }[digit] ?? digit);
    button.dataset.digit = digit;
    button.addEventListener('click', () => onPress(digit));
    $(id).append(button);
  }
}

function type(digit) {
  key(digit);
  const field = $('number');
  field.setRangeText(digit, field.selectionStart, field.selectionEnd, 'end');
  field.dispatchEvent(new Event('input'));
}

function listSuggestions() {
  $('suggestions').hidden = !suggestions.length;
  $('idle-pad').hidden = !!suggestions.length;
  $('pad-toggle').hidden = !suggestions.length;
  $('suggestion-list').replaceChildren(...suggestions.map(({ number, name, hint }) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    const [small, right] = ['small', 'span'].map((tag) => document.createElement(tag));
    small.textContent = hint;
    right.textContent = number;
    button.append(name, small, right);
    button.setAttribute('aria-label', `Call ${name}, ${number}: ${hint}`);
    button.addEventListener('click', () => dial(number));
    item.append(button);
    return item;
  }));
}

$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn($('token').value.trim());
  $('token').value = '';
});
$('dial').addEventListener('submit', (event) => {
  event.preventDefault();
  dial($('number').value);
});
$('number').addEventListener('input', () => ($('erase').hidden = !$('number').value));
$('erase').addEventListener('click', () => {
  const field = $('number');
  field.value = field.value.slice(0, -1);
  field.dispatchEvent(new Event('input'));
  if (!field.value) field.focus();
});
$('pad-toggle').addEventListener('click', () => {
  const isOpen = $('idle-pad').hidden;
  $('idle-pad').hidden = !isOpen;
  $('suggestions').hidden = isOpen;
  $('pad-toggle').setAttribute('aria-expanded', isOpen);
  $('pad-text').textContent = isOpen ? 'Numbers to try' : 'Keypad';
});
$('answer').addEventListener('click', answer);
$('decline').addEventListener('click', decline);
$('waiting-answer').addEventListener('click', answer);
$('waiting-decline').addEventListener('click', decline);
$('hang-up').addEventListener('click', () => call?.hangUp());
$('mute').addEventListener('click', () => call?.mute(!call.isMuted));
$('hold').addEventListener('click', () => attempt(() => call.hold(call.state !== 'on_hold')));
$('keys').addEventListener('click', () => openPad($('talk-pad').hidden));

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const [ringing] = incoming.values();
  if (event.key === 'Escape') {
    if (call) call.hangUp();
    else if (ringing) decline();
    else return;
    event.preventDefault();
  } else if (call?.state === 'active' && /^[0-9*#]$/.test(event.key)) {
    const button = $('talk-pad').querySelector(`[data-digit="${CSS.escape(event.key)}"]`);
    button.classList.add('down-now');
    setTimeout(() => button.classList.remove('down-now'), 150);
    press(event.key);
  }
});
document.addEventListener('pointerdown', () => audio(), { once: true });
document.addEventListener('keydown', () => audio(), { once: true });

// a call must not go on that nobody can hang up any more
addEventListener('beforeunload', (event) => call && event.preventDefault());
addEventListener('pagehide', () => call?.hangUp());

pad('idle-pad', type);
pad('talk-pad', press);
tick();

// the token comes in the fragment, which is never sent, and does not stay where it can be read over a shoulder
const fragment = new URLSearchParams(location.hash.slice(1)).get('token');
if (location.hash) history.replaceState(null, '', location.pathname);
const token = fragment ?? sessionStorage.getItem('token');
$('link').hidden = true;
fetch('/page/suggestions.json').then((r) => r.json()).then((page) => (suggestions = page.suggestions), () => {}).finally(() => {
  listSuggestions();
  if (token) signIn(token);
  else render();
});
