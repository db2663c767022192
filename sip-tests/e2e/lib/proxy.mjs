// A real Kamailio between sipedge and the PBX: it stays in the path of every call, and of calls to who registered through it.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, run, until } from './process.mjs';

const installer = fileURLToPath(new URL('../../pbx/install-peer.sh', import.meta.url));

/** Its configuration. It reaches everybody by what a URI says, so the PBX by UDP. */
const text = ({ port, modules }) => `
debug=2
log_stderror=yes
fork=yes
children=1
tcp_children=1
disable_tcp=no
auto_aliases=no
listen=udp:127.0.0.1:${port}
listen=tcp:127.0.0.1:${port}
mpath="${modules}"
loadmodule "kex.so"
loadmodule "corex.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "sanity.so"
loadmodule "path.so"
modparam("rr", "enable_full_lr", 1)
modparam("rr", "enable_double_rr", 1)
modparam("path", "use_received", 1)

request_route {
  xlog("L_NOTICE", "passes $rm from $proto:$si:$sp to $ru\\n");
  if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
  if (!sanity_check()) { xlog("L_NOTICE", "insane $rm from $si:$sp\\n"); exit; }
  if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
  if (!is_method("ACK")) { if (t_precheck_trans()) { t_check_trans(); exit; } t_check_trans(); }
  if (has_totag()) {
    if (loose_route()) { t_relay(); exit; }
    if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
    xlog("L_NOTICE", "no route of ours in $rm from $si:$sp\\n");
    sl_send_reply("404", "Not here"); exit;
  }
  if (is_method("REGISTER")) { remove_hf("Route"); add_path_received(); }
  else { loose_route(); record_route(); }
  t_relay();
}
`;

export class Proxy {
  constructor({ home, out, port }) {
    Object.assign(this, { home, port, folder: path.resolve(out, `kamailio-${port}`) });
  }

  async start() {
    const program = (await run(installer, ['kamailio'], { env: { ...process.env, PBX_HOME: this.home } })).trim().split('\n').pop();
    const lib = path.join(this.home, 'kamailio/usr/lib');
    const arch = readdirSync(lib).find((d) => d.endsWith('-linux-gnu'));
    mkdirSync(this.folder, { recursive: true });
    const file = path.join(this.folder, 'kamailio.cfg');
    writeFileSync(file, text({ ...this, modules: path.join(lib, arch, 'kamailio/modules') }));
    this.child = new Child(program, ['-f', file, '-DD', '-E', '-m', '32', '-M', '4', '-Y', this.folder, '-P', path.join(this.folder, 'pid')], { name: 'kamailio' });
    await until('Kamailio runs', () => {
      if (this.child.exit) throw new Error(`Kamailio did not start:\n${this.child.output.slice(-3000)}`);
      return this.child.output.includes('processes (at least)');
    });
    return this;
  }

  /** What it has passed on so far, as `METHOD from proto:`. */
  passed(method, protocol = '\\w+') {
    return (this.child.output.match(new RegExp(`passes ${method} from ${protocol}:`, 'g')) ?? []).length;
  }

  stop() {
    return this.child?.stop();
  }
}
