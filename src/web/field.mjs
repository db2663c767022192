// The field for a number, and the keys below it.
import { fill } from './pad.mjs';
import { key } from './sound.mjs';
import { $ } from './view.mjs';

/** Whether the number was begun and not called yet. */
let isBegun = false;

/** Whether the person is writing a number: nothing must take the field away. */
export const isTyping = () => isBegun && document.activeElement === $('number');

function type(digit) {
  key(digit);
  const field = $('number');
  field.setRangeText(digit, field.selectionStart, field.selectionEnd, 'end');
  field.dispatchEvent(new Event('input'));
}

function erase() {
  const field = $('number');
  field.value = field.value.slice(0, -1);
  field.dispatchEvent(new Event('input'));
  if (!field.value) field.focus();
}

function togglePad() {
  const isOpen = $('idle-pad').hidden;
  $('idle-pad').hidden = !isOpen;
  $('suggestions').hidden = isOpen;
  $('pad-toggle').setAttribute('aria-expanded', isOpen);
  $('pad-text').textContent = isOpen ? 'Numbers to try' : 'Keypad';
}

/** `onDial` hears what is in the field when the person has done. */
export function initField(onDial) {
  fill($('idle-pad'), type, { hasPlus: true });
  $('dial').addEventListener('submit', (event) => {
    event.preventDefault();
    isBegun = false;
    onDial($('number').value);
  });
  $('number').addEventListener('input', () => {
    isBegun = $('number').value !== '';
    $('erase').hidden = !isBegun;
  });
  $('erase').addEventListener('click', erase);
  $('pad-toggle').addEventListener('click', togglePad);
}
