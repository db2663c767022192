// What a tab keeps over a reload: the token, its call, and who calls.

export function get(name) {
  const text = sessionStorage.getItem(name) ?? 'null';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
export const set = (name, value) => sessionStorage.setItem(name, JSON.stringify(value));
export const remove = (name) => sessionStorage.removeItem(name);

/** The name of a call's other side, if it was told once. */
export const nameOf = (callID) => get('names')?.[callID];

export function keepName(callID, name) {
  const names = get('names') ?? {};
  if (names[callID] !== name) set('names', { ...names, [callID]: name });
}

/** Forgets the names of calls that are over. */
export function keepNamesOf(calls) {
  const names = Object.entries(get('names') ?? {}).filter(([id]) => calls.some(({ callID }) => callID === id));
  set('names', Object.fromEntries(names));
}

/** The token comes in the fragment, which is never sent, and does not stay where it can be read over a shoulder. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (location.hash) history.replaceState(null, '', location.pathname);
  return token;
}
