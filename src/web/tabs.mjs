// Which tab of this browser has a call: one lock for each call, which the browser itself takes back from a tab that is
// closed or has crashed. (Web Locks API; without it every tab believes that it is the only one.)

/** Both sides of a call have the same id, and may be in one browser: accounts of two tabs that talk to each other. */
const nameOf = ({ callID, direction }) => `call ${callID} ${direction}`;

/**
 * Takes a call for this tab, from another tab only with `steal`. Answers what lets it go again, or null when another tab
 * has it; `onTaken` hears that another tab took it later.
 */
export function claim(call, { steal = false, onTaken }) {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((answer) => {
    const options = steal ? { steal } : { ifAvailable: true };
    const whole = navigator.locks.request(nameOf(call), options, (lock) => {
      if (!lock) return answer(null);
      return new Promise((letGo) => answer(letGo));
    });
    whole.catch(onTaken);
  });
}

/** The ids of these calls that some tab has, this one included. */
export async function claimed(calls) {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return new Set(calls.filter((call) => held.some(({ name }) => name === nameOf(call))).map(({ callID }) => callID));
}
