// A telephone's keys.

const KEYS = [['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'], ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', '']];
const NAMES = { '*': 'star', '#': 'hash' };
/** A key is held, and not just pressed, after so long. */
const HELD_MS = 500;

/** Fills a pad; `onPress` hears of each key. With `hasPlus`, 0 held is a +, as on a mobile phone. */
export function fill(pad, onPress, { hasPlus = false } = {}) {
  for (const [digit, below] of KEYS) {
    const isPlus = below === '+' && hasPlus;
    const button = document.createElement('button');
    button.type = 'button';
    const small = document.createElement('small');
    small.textContent = below === '+' && !hasPlus ? '' : below;
    small.ariaHidden = 'true';
    button.append(digit, small);
    button.setAttribute('aria-label', isPlus ? '0, hold for +' : (NAMES[digit] ?? digit));
    button.dataset.digit = digit;
    if (isPlus) pressOrHold(button, () => onPress('0'), () => onPress('+'));
    else button.addEventListener('click', () => onPress(digit));
    pad.append(button);
  }
}

function pressOrHold(button, onPress, onHold) {
  let timer;
  let isHeld = false;
  button.addEventListener('pointerdown', () => {
    isHeld = false;
    timer = setTimeout(() => {
      isHeld = true;
      onHold();
    }, HELD_MS);
  });
  for (const end of ['pointerup', 'pointerleave', 'pointercancel']) button.addEventListener(end, () => clearTimeout(timer));
  button.addEventListener('contextmenu', (event) => event.preventDefault()); // what a held touch opens else
  button.addEventListener('click', () => {
    if (!isHeld) onPress();
    isHeld = false;
  });
}

/** Shows that a key of the keyboard pressed one of the pad. */
export function flash(pad, digit) {
  const button = pad.querySelector(`[data-digit="${CSS.escape(digit)}"]`);
  button.classList.add('down-now');
  setTimeout(() => button.classList.remove('down-now'), 150);
}
