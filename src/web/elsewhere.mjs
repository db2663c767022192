// Calls of this account that are not in this tab: in another tab, on another device, or left by a tab that crashed.
import { claimed } from './tabs.mjs';

export class Elsewhere {
  #calls = new Map();
  /** Ids that this page ended, whether the server knows yet or not. */
  #gone = new Set();

  /** `nameFor` gives the name of a call's other side, `isHere` whether it is in this tab; `onChange` hears of each change. */
  constructor({ nameFor, isHere, onChange }) {
    Object.assign(this, { nameFor, isHere, onChange });
  }

  /** `{ name, call, isInTab }` of each. */
  get list() {
    return [...this.#calls.values()];
  }

  /** What the API says of a call. */
  know(call) {
    const { callID, state } = call;
    if (state === 'ended' || state === 'incoming' || this.isHere(callID) || this.#gone.has(callID)) return void this.#calls.delete(callID);
    const isInTab = this.#calls.get(callID)?.isInTab ?? false;
    this.#calls.set(callID, { name: this.nameFor(call), call, isInTab });
    if (!isInTab) this.#findTabs(); // a tab may be a little later to claim it than the server to tell of it
  }

  /** What the API says of all calls. */
  async learn(calls) {
    for (const id of this.#calls.keys()) if (!calls.some((call) => call.callID === id)) this.#calls.delete(id);
    for (const call of calls) this.know(call);
    await this.#findTabs();
  }

  /** It is in this tab now. */
  drop(callID) {
    this.#calls.delete(callID);
  }

  /** This page ended it: it is not to be offered again while the server has yet to hear of that. */
  end(callID) {
    this.#gone.add(callID);
    this.#calls.delete(callID);
  }

  clear() {
    this.#calls.clear();
  }

  async #findTabs() {
    const found = await claimed([...this.#calls.values()].map(({ call }) => call));
    for (const [id, other] of this.#calls) other.isInTab = found.has(id);
    this.onChange();
  }
}
