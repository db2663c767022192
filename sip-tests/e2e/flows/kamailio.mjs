// A real Kamailio as outbound proxy: sipedge registers through it, and it stays in the path of calls in both directions.
import { Proxy } from '../lib/proxy.mjs';
import { calls } from '../lib/secure.mjs';

export const name = 'Kamailio between sipedge and the PBX';

/** What the PBX calls is what was registered, by the Path that the proxy added. */
const dial = (pbx, endpoint, _, service = '602') => pbx.console(`channel originate PJSIP/1001@${endpoint} extension ${service}@services`);

export async function run(ctx) {
  const { report, started, home, out } = ctx;
  const proxy = await started(new Proxy({ home, out, port: 26370 })).start();
  const count = () => Object.fromEntries(['REGISTER', 'OPTIONS', 'INVITE', 'ACK', 'BYE'].map((m) => [m, proxy.passed(m)]));
  for (const [protocol, holds] of [['udp', false], ['tcp', true]]) {
    console.log(`  -- by ${protocol.toUpperCase()}`);
    const before = count();
    const media = `proxy = "127.0.0.1:${proxy.port}"\ntransport = "${protocol}"\nqualify = "5s"\nregister = true`;
    await calls(ctx, { endpoint: 'proxied', secure: '0', media, holds, dial });
    const passed = count();
    for (const method of Object.keys(passed)) {
      report.check(`${method} goes by the proxy`, passed[method] > before[method], `${passed[method] - before[method]}`);
    }
    report.check(`sipedge talks ${protocol} to it`, proxy.passed('INVITE', protocol) > 0, `${proxy.passed('INVITE', protocol)}`);
  }
  report.check('no request came without a route', !/no route of ours|insane/.test(proxy.child.output), proxy.child.output.match(/.*(?:no route of ours|insane).*/)?.[0]);
}
