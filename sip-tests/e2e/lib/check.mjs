// Assertions that say what was measured, passed or not.
export class Report {
  constructor() {
    this.lines = [];
    this.failed = 0;
    this.passed = 0;
  }

  /** Notes one fact: what, whether it holds, the number behind it. */
  check(what, holds, measured = '') {
    if (holds) this.passed++;
    else this.failed++;
    console.log(`  ${holds ? 'ok  ' : 'FAIL'} ${what}${measured === '' ? '' : `: ${measured}`}`);
    return holds;
  }

  near(what, value, wanted, tolerance, unit = '') {
    return this.check(`${what} (wanted ${wanted} ± ${tolerance} ${unit})`, Math.abs(value - wanted) <= tolerance, `${Number(value).toFixed(2)} ${unit}`);
  }

  equal(what, value, wanted) {
    return this.check(what, value === wanted, value === wanted ? String(value) : `${JSON.stringify(value)}, wanted ${JSON.stringify(wanted)}`);
  }
}
