// What is shown. It knows the page's elements and nothing of how calls are made.
import { apart, elsewhere, kind, note } from './words.mjs';

export const $ = (id) => document.getElementById(id);
const VIEWS = ['sign-in', 'idle', 'ringing', 'talking'];
const hasKeyboard = matchMedia('(hover: hover)'); // on a phone, focus on a field opens its keyboard

/** Where the focus was when the idle view went away. */
let before = null;

/** Shows a view; the focus goes to where a key that was meant for the view before does no harm. */
export function show(view) {
  const old = VIEWS.find((name) => !$(name).hidden);
  $('loading').hidden = true;
  if (old === view) return;
  const wasKeying = !$('talk-pad').hidden;
  if (old === 'idle') before = document.activeElement;
  for (const name of VIEWS) $(name).hidden = name !== view;
  if (view === 'sign-in') return $('token').focus();
  if (view !== 'idle') return $(`${view}-who`).focus({ preventScroll: true });
  if (!hasKeyboard.matches) return;
  const back = before?.closest('#idle') && (before.checkVisibility?.() ?? true) ? before : $('number');
  before = null;
  // who was still pressing keys in the call must not dial the rest of them
  if (wasKeying) return $('idle-title').focus();
  back.focus();
  if (back === $('number')) back.select(); // the next number replaces it
}

/** Shows a text. A name in it, set apart by marks, is an element that keeps its direction to itself. */
function put(element, text) {
  element.replaceChildren(...text.split(/\u2068(.*?)\u2069/s).map((part, n) => {
    if (n % 2 === 0) return part;
    const name = document.createElement('bdi');
    name.textContent = part;
    return name;
  }));
}

/** Where a key does no harm, in what is shown. */
function restingPlace() {
  if (!$('talking').hidden) return $('talking-who');
  if (!$('ringing').hidden) return $('ringing-who');
  if (!$('sign-in').hidden) return $('token');
  return $('others').hidden ? $('idle-title') : $('others-title');
}

/** Changes what is shown. The focus does not fall out of the page with what it was on. */
export function keepingFocus(change) {
  const held = document.activeElement;
  change();
  const isGone = !held.isConnected || !held.getClientRects().length || held.disabled;
  const isFree = document.activeElement === held || document.activeElement === document.body;
  if (held !== document.body && isGone && isFree) restingPlace().focus({ preventScroll: true });
}

export function say(text) {
  put($('status'), text);
}

/** `about` names what must be well again for the warning to go by itself. */
export function warn(text, about = '') {
  put($('alert'), text);
  $('alert').hidden = !text;
  $('alert').dataset.about = about;
}

/** What was warned of is well again. */
export function unwarn(about) {
  if ($('alert').dataset.about === about) warn('');
}

/** `state`: `connecting`, `up`, `stopping`, `down`, or none. */
export function showLink(state) {
  $('link').hidden = !state;
  $('link').className = `link ${state}`;
  $('link-text').textContent = { up: 'Ready', stopping: 'Stopping', down: 'Reconnecting', connecting: 'Connecting' }[state] ?? '';
}

/** The name that a call is headed by: a long one is cut short, and shown whole when it is touched. */
function head(id, name) {
  if ($(id).title === name) return;
  put($(id), apart(name));
  $(id).title = name;
  $(id).classList.remove('whole');
}
for (const id of ['ringing-who', 'talking-who']) $(id).addEventListener('click', () => $(id).classList.toggle('whole'));

export const isSame = (a, b) => a.toLowerCase() === b.toLowerCase();
const initial = (name) => (/^\p{L}/u.test(name) ? name[0].toUpperCase() : '#');

export function showRinging({ name, call }, isAsking) {
  head('ringing-who', name);
  put($('ringing-number'), isSame(call.from, name) ? '' : apart(call.from));
  $('ringing-kind').textContent = isAsking ? 'Waiting for your microphone' : 'Incoming call';
  $('ringing').querySelector('.face').textContent = initial(name);
}

/** A call that rings beside what the person does: a call, or a number that is being written. */
export function showWaiting(ringing, isInCall) {
  $('waiting').hidden = !ringing;
  if (ringing) put($('waiting-text'), `${apart(ringing.name)} is calling.`);
  $('waiting-answer').textContent = isInCall ? 'End and answer' : 'Answer';
}

/** `hint` is a word that passes. */
export function showCall(call, link, hint) {
  const isTalking = call.state === 'active' || call.state === 'on_hold';
  const isHeld = call.state === 'on_hold';
  $('talking-kind').textContent = kind(call);
  head('talking-who', call.name);
  $('talking-face').textContent = initial(call.name);
  $('talking-face').classList.toggle('pulse', !isTalking || !call.media?.wasConnected);
  $('talking-face').classList.toggle('held', isHeld || (isTalking && !call.isHeard));
  $('hold').disabled = !isTalking;
  $('hold').setAttribute('aria-disabled', !!call.pending); // it keeps the focus, and does nothing
  $('keys').disabled = !isTalking && !call.takesKeys;
  $('mute').disabled = !call.media?.hasMicrophone;
  toggle('mute', call.isMuted, ['Mute', 'Unmute'], ['#i-mic', '#i-muted']);
  toggle('hold', isHeld, ['Hold', 'Resume'], ['#i-hold', '#i-play']);
  if ($('keys').disabled) openPad(false);
  for (const button of $('talk-pad').children) button.disabled = !call.takesKeys;
  const { text, action = '' } = note(call, link);
  $('note').hidden = !(hint || text);
  $('note').classList.toggle('bad', !hint);
  put($('note-text'), hint || text);
  $('note-action').hidden = !!hint || !action;
  $('note-action').textContent = action;
}

/** The name of a button says what it does now, to eyes and ears alike; it has no pressed state beside that. */
function toggle(id, isOn, names, icons) {
  const name = names[Number(isOn)];
  $(id).setAttribute('aria-label', name);
  $(id).classList.toggle('on', isOn);
  $(`${id}-text`).textContent = name;
  $(`${id}-icon`).setAttribute('href', icons[Number(isOn)]);
}

/** Opens the keys in a call, and says whether they were closed. Only while they are open, a keyboard's keys are theirs. */
export function openPad(isOpen) {
  if ($('talk-pad').hidden !== isOpen) return false;
  $('talk-pad').hidden = !isOpen;
  $('talking-face').hidden = isOpen;
  $('keys').setAttribute('aria-expanded', isOpen);
  if (!$('talking').hidden) (isOpen ? $('talk-pad') : $('keys')).focus({ preventScroll: true });
  return true;
}

export const isPadOpen = () => !$('talk-pad').hidden;

/** How long a call is answered, once it has had sound, and how loud both sides are: as often as the screen changes. */
export function showLive(call) {
  $('level-you').style.transform = `scaleX(${call?.isMuted ? 0 : (call?.media?.you.read() ?? 0)})`;
  $('level-them').style.transform = `scaleX(${call?.media?.them?.read() ?? 0})`;
  const seconds = call?.since && call.media?.wasConnected ? Math.max(0, Math.floor((Date.now() - call.since) / 1000)) : null;
  const two = (n) => String(n).padStart(2, '0');
  const text = seconds === null ? '' : seconds < 3600 ? `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`
    : `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  if ($('timer').textContent !== text) $('timer').textContent = text;
}

function button(text, label, onClick) {
  const made = document.createElement('button');
  made.type = 'button';
  made.append(text);
  made.setAttribute('aria-label', label);
  made.addEventListener('click', onClick);
  return made;
}

function item(...children) {
  const made = document.createElement('li');
  made.append(...children);
  return made;
}

function small(text) {
  const made = document.createElement('small');
  made.textContent = text;
  return made;
}

/** Calls of the account that are not in this tab: `{ name, call, isInTab }`. */
export function listOthers(others, { onTake, onEnd }) {
  $('others').hidden = !others.length;
  const shown = others.map(({ name, call, isInTab }) => [call.callID, name, elsewhere(call, isInTab)]);
  if ($('other-list').dataset.shown === JSON.stringify(shown)) return; // a button must not go away under a finger
  $('other-list').dataset.shown = JSON.stringify(shown);
  const focused = $('other-list').contains(document.activeElement) && document.activeElement.getAttribute('aria-label');
  $('other-list').replaceChildren(...others.map((other) => {
    const who = document.createElement('p');
    put(who, apart(other.name));
    who.append(small(elsewhere(other.call, other.isInTab)));
    const take = button('Take it here', `Take it here: ${other.name}`, () => onTake(other));
    const end = button('End', `End: ${other.name}`, () => onEnd(other));
    take.className = end.className = 'quiet';
    return item(who, take, end);
  }));
  if (focused) [...$('other-list').querySelectorAll('button')].find((b) => b.getAttribute('aria-label') === focused)?.focus({ preventScroll: true });
}

export function listSuggestions(suggestions, onCall) {
  $('suggestions').hidden = !suggestions.length;
  $('idle-pad').hidden = !!suggestions.length;
  $('pad-toggle').hidden = !suggestions.length;
  $('suggestion-list').replaceChildren(...suggestions.map(({ number, name, hint }) => {
    const right = document.createElement('span');
    right.textContent = number;
    const call = button(name, `Call ${name}, ${number}: ${hint}`, () => onCall(number));
    call.append(small(hint), right);
    return item(call);
  }));
}
