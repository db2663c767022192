# shellcheck shell=bash disable=SC2034
# Scenarios that are more than a call of NAME.uac.xml to NAME.uas.xml. Sourced by `run`; `one.sh` has the words.

SLOW='lost-acks session-refresh keepalive keepalive-silent'    # with --slow, or named
LONG='many media-200 glare-waits echo-100 register drain dns-dead'  # start first
SHARED='connected-quiet auth bench drained silent fork fork-loses fork-wins fork-given-up'  # files that several scenarios use, and that are none by themselves

# ---- who may call

digest='inbound_user = "pbx"
inbound_password = "pbx-pw"'

scenario_auth-md5() { login 'digest = ["MD5"]'; says caller.messages '^Authorization: Digest .*algorithm=MD5'; }
scenario_auth-sha256() { login 'digest = ["SHA-256"]'; says caller.messages '^Authorization: Digest .*algorithm=SHA-256'; }
login() {
  configure "$digest
$1"
  edge
  called basic
  caller auth -au pbx -ap pbx-pw -auth_uri "200@$url:$sip"
  finish
}

# With what hash-secret prints in place of the password; SIPp knows no SHA-512-256.
scenario_auth-hashes() {
  configure "inbound_user = \"pbx\"
$(printf %s pbx-pw | "$SIPEDGE" hash-secret pbx)
digest = [\"SHA-256\"]"
  edge
  called basic
  caller auth -au pbx -ap pbx-pw -auth_uri "200@$url:$sip"
  finish
}

# Two proxies stand before the PBX that is called.
our_login='user = "edge"
password = "edge-pw"'

scenario_auth-proxies() {
  configure '' '' "$no_probes
$our_login"
  edge
  called auth-proxies
  caller basic
  finish
  never sipedge.log 'does not take our login'
}
# It fails with each call, and is said once.
scenario_login-refused() {
  configure '' '' "$no_probes
$our_login"
  edge
  called login-refused -m 2
  for n in 1 2; do
    api make 200
    await "the end of call $n" have_ended "$n"
  done
  finish
  says sipedge.log 'WARN .*does not take our login.*trunk="b".*user="edge".*refused the user or password'
  [ "$(grep -c 'does not take our login' "$dir/sipedge.log")" = 1 ] || fault 'the log has a line for each call'
}
have_ended() { [ "$(grep -c 'call ended' "$dir/sipedge.log")" = "$1" ]; }
# What is answered without a description is of no use, and the log says so.
scenario_no-description() {
  edge
  called no-description
  api make 200
  finish
  says sipedge.log 'WARN .*answer cannot be used.*trunk="b".*it has no session description'
}
scenario_audio-refused() {
  plain_scenario audio-refused
  says sipedge.log 'WARN .*cannot be served.*the answer refuses audio \(port 0\)'
}
# The ACK brings the answer here.
scenario_late-offer-unanswered() {
  plain_scenario late-offer-unanswered
  says sipedge.log 'WARN .*answer cannot be used.*trunk="a".*it has no session description'
}
scenario_late-offer-unreadable() {
  plain_scenario late-offer-unreadable
  says sipedge.log 'WARN .*answer cannot be used.*trunk="a".*its session description cannot be read'
}
# It refused, and answered nothing.
scenario_unsupported-type() {
  plain_scenario unsupported-type
  says sipedge.log 'WARN .*takes no session description.*trunk="b" offered="RTP/AVP PCMU" status=415'
}
plain_scenario() { edge; called "$1"; caller "$1"; finish; }
# The call goes on without it.
scenario_rtcp-nowhere() {
  edge
  called rtcp-nowhere
  caller basic
  finish
  says sipedge.log 'WARN .*no way to .*call=[0-9A-F]+ leg=L[0-9]+ .*rtcp=255.255.255.255:9.*it is a broadcast address'
}
scenario_no-header() { edge; called no-header; caller basic; finish; }
# Messages in the log, and no secrets; they can be switched on alone.
scenario_wire-log() {
  level='info,sipedge::sip::wire=trace'
  login 'digest = ["MD5"]'
  says sipedge.log 'TRACE SIP received'
  says sipedge.log '^  INVITE sip:200@'
  says sipedge.log '^  Authorization: Digest .*response="…"'
  never sipedge.log 'response="[0-9a-f]'
  never sipedge.log ' DEBUG '
  id=$(sed -n 's/^Call-ID: *//p' "$dir/caller.messages" | head -1 | tr -d '\r')
  grep -qF "sip_call_id=$id" "$dir/sipedge.log" || fault "the log does not say which call $id is"
  id=$(sed -n 's/^Call-ID: *//p' "$dir/called.messages" | head -1 | tr -d '\r')
  grep -qF "sip_call_id=$id" "$dir/sipedge.log" || fault "the log does not say which call $id is"
}

# What an unknown user hears is what a wrong password hears, but for the nonce and what SIPp numbers.
scenario_auth-refused() {
  configure "$digest"
  edge
  for who in 'pbx wrong' 'nobody pbx-pw'; do
    caller auth-refused -au "${who% *}" -ap "${who#* }" -auth_uri "200@$url:$sip"
    wait_for_peers
    # the answer to the credentials: the last 401
    tac "$dir/caller.messages" | sed '/^SIP\/2.0 401/q' | tac | grep -iE '^(SIP|WWW-Auth|Server|Allow|Content|Retry)' |
      sed 's/nonce="[^"]*"/nonce=""/' >"$dir/answer.${who% *}"
  done
  finish
  [ -s "$dir/answer.pbx" ] && cmp -s "$dir/answer.pbx" "$dir/answer.nobody" || fault 'a wrong password and an unknown user are told apart'
  # a source that fails is a line a minute
  [ "$(grep -c 'login refused.*user="pbx"' "$dir/sipedge.log")" = 1 ] || fault 'the log does not tell of the refused login'
  [ "$(grep -c 'login refused' "$dir/sipedge.log")" = 1 ] || fault 'the log has a line for each guess'
}

# ---- a PBX that registers: trunk.a, which then has no host

# $1: more lines of the trunk.
registers() {
  configure "$digest
digest = [\"MD5\"]
register = \"accept\"
${1:-}" "[[route]]
number = \"3??\"
to = \"trunk.a\""
  sed -i '/^\[trunk.a\]/,/^$/{/^host/d}' "$dir/sipedge.toml"
  edge
}
# The PBX that registers, as user pbx with a password.
registrant() { peer caller uac "$home/$1.uac.xml" "$a" -s pbx -au pbx -ap "$2" -auth_uri "$url:$sip"; }

scenario_registrar() {
  registers
  registrant registrar pbx-pw
  finish
  says sipedge.log 'INFO .*registered here.*contact=sip:one@'
  says sipedge.log 'INFO .*registered elsewhere.*contact=sip:two@'
  says sipedge.log 'INFO .*took its registration away'
}
# Where all places ring, a further one takes no calls away from the others.
scenario_registrar-two() {
  registers 'ring = "all"'
  registrant registrar-two pbx-pw
  finish
  says sipedge.log 'INFO .*registered here.*contact=sip:one@'
  says sipedge.log 'INFO .*registered at another place: calls ring there too.*contact=sip:two@'
  never sipedge.log 'registered elsewhere'
}
scenario_registrar-refused() {
  registers
  registrant registrar-refused wrong
  finish
  says sipedge.log 'WARN .*login refused.*user="pbx".*method=REGISTER'
  never sipedge.log 'registered here'
}
# Before it registers its calls end at once; then they go to the proxy of its Path.
scenario_registrar-call() {
  registers
  api make 300
  await 'the end of a call to nobody' logs 'call ended.*cause=unreachable'
  sed "s/PATH/$b/" "$home/registrar-call.uac.xml" >"$dir/registrar-call.xml"
  peer caller uac "$dir/registrar-call.xml" "$a" -s pbx -au pbx -ap pbx-pw -auth_uri "$url:$sip"
  await 'the registration' logs 'registered here'
  wait_for_peers
  called api-call
  api make 300
  finish
  says called.messages '^INVITE sip:300@192.0.2.77:5099;line=abc SIP/2.0'
  says called.messages "^Route: <sip:$url:$b;lr>"
}

# It registers once; after a restart it is called there all the same.
scenario_registrar-kept() {
  registers
  mkdir "$dir/state"
  printf '\n[state]\ndirectory = "%s"\n' "$dir/state" >>"$dir/sipedge.toml"
  stop_edge
  edge
  sed "s/PATH/$b/" "$home/registrar-call.uac.xml" >"$dir/registrar-call.xml"
  peer caller uac "$dir/registrar-call.xml" "$a" -s pbx -au pbx -ap pbx-pw -auth_uri "$url:$sip"
  wait_for_peers
  await 'the registration' logs 'registered here'
  stop_edge
  mv "$dir/sipedge.log" "$dir/sipedge.first.log"
  edge
  await 'the registration of before' logs 'registrations from before the restart hold'
  called api-call
  api make 300
  finish
  says called.messages '^INVITE sip:300@192.0.2.77:5099;line=abc SIP/2.0'
  says called.messages "^Route: <sip:$url:$b;lr>"
}

# ---- a PBX that is registered at two places: $b and $c

# $1: lines of the trunk; $2, $3: parameters of the two contacts. Waits until they are registered.
forks() {
  registers "$1"
  local bindings="+ Contact: <sip:one@$url:$b>${2:-}\\n  + Contact: <sip:two@$url:$c>${3:-}"
  sed "s|BINDINGS|$bindings|" "$home/fork.uac.xml" >"$dir/fork.xml"
  peer caller uac "$dir/fork.xml" "$a" -s pbx -au pbx -ap pbx-pw -auth_uri "$url:$sip"
  await 'the registration' logs 'registered here'
  wait_for_peers
}
# What the two places do.
places() {
  called "$1"
  peer second uas "$home/$2.uas.xml" "$c"
  await 'the start of the second place' is_bound "$c"
  api make 300
}
dialed() { [ "$(grep -c ' dialing ' "$dir/sipedge.log")" = "$1" ] || fault "not $1 were dialled"; }

scenario_fork-all() {
  forks 'ring = "all"' ';q=0.5' ''
  places fork-loses fork-wins
  finish
  dialed 2
  says sipedge.log 'one of its places.*contact=sip:one@'
}
scenario_fork-busy() { forks 'ring = "all"'; places busy fork-wins; finish; dialed 2; }
scenario_fork-all-busy() {
  forks 'ring = "all"'
  places busy busy
  finish
  dialed 2
  says sipedge.log 'call ended.*cause=busy'
}
# One that rings is told to stop when the other one declines.
scenario_fork-declined() {
  forks 'ring = "all"'
  places fork-given-up declined
  finish
  says sipedge.log 'call ended.*cause=declined'
}
# The second is called when the first has rung for a second, or is busy.
scenario_fork-by-q() {
  forks 'ring = "by-q"
ring_each = "1s"' ';q=0.9' ';q=0.8'
  places fork-given-up fork-wins
  finish
  dialed 2
  says sipedge.log 'not reached.*cause=no-answer'
}
scenario_fork-by-q-busy() {
  forks 'ring = "by-q"' ';q=0.8' ';q=0.9'
  places fork-wins busy
  finish
  dialed 2
  says sipedge.log 'not reached.*cause=busy'
}
# Nobody is at the other place, and nobody asks for it.
scenario_fork-first() {
  forks '' ';q=0.9' ';q=0.8'
  called fork-wins
  api make 300
  finish
  dialed 1
}

scenario_stranger() { configure 'inbound = "off"'; common stranger; never sipedge.log 'call started'; }

# ---- lost messages: SIPp shall not know a repeated message as such

scenario_lost-ack() { edge; called lost-ack; caller lost-ack -nr; finish; }
scenario_lost-acks() {
  patience=60
  edge
  called lost-acks
  caller lost-acks
  finish
  # 0, 0.5, 1.5, 3.5 s, then every 4 s: eleven
  [ "$(grep -c '^SIP/2.0 200' "$dir/caller.messages")" -ge 11 ] || fault 'the 200 did not come again and again'
}
scenario_lost-invite() { edge; called lost-invite -nr; api make 200; finish; }
scenario_lost-ack-of-ours() { edge; called lost-ack-of-ours -nr; api make 200; finish; }
scenario_lost-bye() { edge; called lost-bye -nr; caller lost-bye; finish; }
scenario_lost-200-of-bye() { edge; called lost-200-of-bye; caller lost-200-of-bye -nr; finish; }
# One PRACK, whatever comes twice; the 200 comes after it.
scenario_reliable() {
  common reliable
  [ "$(grep -c '^PRACK ' "$dir/called.messages")" = 1 ] || fault 'the 183 that came again has a PRACK of its own'
}

# ---- before the answer

# Starts rtp.mjs at two ports, which scenarios know as [first] and [second]; what they hear stands in rtp.log.
listener() {
  first=$((port + 22)) second=$((port + 24))
  command -v node >/dev/null || { fault 'no node here'; verdict; }
  head -c 16000 /dev/zero >"$dir/sound"  # for SIPp to send
  node "$home/rtp.mjs" "$dir/rtp.log" "$ip" "$first" "$second" &
  names_pid=$!
  await 'the start of the listener' grep -qs listens "$dir/rtp.log"
}
# What came there, in the order in which it did: PORT PAYLOAD-TYPE.
heard() {
  local came=$(tail -n +2 "$dir/rtp.log" | paste -sd,)
  [ "$came" = "$1" ] || fault "media came otherwise: $came"
}
# A call whose called side has its media at the listener; $1 names it, further words go to the caller.
heard_call() {
  listener
  edge
  called "$1" -key first "$first" -key second "$second"
  caller "$@"
  finish
}
codecs='codecs = ["PCMU", "PCMA"]'

scenario_early-update() { heard_call early-update; heard "$first 0,$second 0"; }
scenario_early-codec() { two_codecs; heard_call early-codec; heard "$first 0,$first 8"; }
scenario_early-events() { heard_call early-events; heard "$first 101"; }
scenario_early-late-offer() { heard_call early-late-offer; heard "$first 0"; }

# ---- within a call

scenario_connected() { configure 'rewrite_callers_out = ["4712=+554712"]'; common connected; }
scenario_connected-untrusted() {
  configure 'trusted = false'
  connected_quiet 'INVITE, ACK, BYE, CANCEL, UPDATE'
  never caller.messages 'P-Asserted-Identity'
}
# Who does not take UPDATE hears of the answer alone.
scenario_connected-no-update() {
  connected_quiet 'INVITE, ACK, BYE, CANCEL'
  says caller.messages 'P-Asserted-Identity: "Anna" <sip:4711@'
  never caller.messages 'Carl'
}
# $1: what the caller takes.
connected_quiet() {
  edge
  called connected-quiet
  caller connected-quiet -key allow "$1"
  finish
  never caller.messages '^UPDATE '
}

scenario_info-dtmf() {
  configure '' '' 'qualify = "off"
dtmf = "info"'
  common info-dtmf
  never called.messages 'telephone-event'
}
scenario_codec-change() { two_codecs; heard_call codec-change; heard "$first 0,$first 8"; }
scenario_codec-refused() { two_codecs; common codec-refused; }
# The caller has its media at the listener.
scenario_codec-other() {
  two_codecs
  listener
  edge
  called codec-other
  caller codec-other -key first "$first"
  finish
  heard "$first 0"
}
two_codecs() {
  configure "$codecs" '' "$no_probes
$codecs"
}
scenario_keepalive() { kept_alive 90 keepalive; }
scenario_keepalive-silent() {
  kept_alive 200 keepalive-silent
  says sipedge.log 'call ended.*cause=unreachable'
}
# The shortest interval, and no media whose silence would tell.
kept_alive() {
  patience=$1
  export SIPEDGE_MEDIA__TIMEOUT=600s
  configure '' '' "$no_probes
dialog_keepalive = \"30s\""
  common "$2"
}
# Who transfers is called trunk b; who refuses to have it done is trunk a.
scenario_refer-blind() {
  common refer-blind
  [ "$(grep -c '^INVITE ' "$dir/caller.messages")" = 1 ] || fault 'who stays was offered something'
  says sipedge.log 'call transferred'
  says sipedge.log 'transfer failed.*cause=not-found'
}
scenario_refer-refused() { configure 'transfers = false'; plain_call refer-refused; }
scenario_refer-invalid() { edge; called refer-invalid -m 2; caller refer-invalid; finish; }
scenario_refer-codec() {
  configure '' "[trunk.c]
host = \"$url:$b\"
codecs = [\"PCMA\"]
inbound = \"off\"
$no_probes

[[route]]
number = \"301\"
to = \"trunk.c\""
  edge
  called refer-codec -m 2
  caller refer-codec
  finish
}
scenario_refer-replaces() {
  edge
  called refer-replaces -m 2
  caller refer-replaces
  finish
  says called.messages '^Replaces: abc@192.0.2.9;to-tag=12;from-tag=34'
  says called.messages '^Referred-By: "?Desk"? <sip:desk@'
}
# The number is at the same PBX and rings for a while, so that who transfers has gone when it is answered.
scenario_refer-leaves() {
  edge
  called refer-leaves -m 2
  caller refer-leaves
  finish
  says sipedge.log 'call transferred'
  says sipedge.log 'call ended.*cause=normal'
}
scenario_refer-attended() {
  replacing
  common refer-attended
  says sipedge.log 'another leg takes the place'
  says sipedge.log 'call transferred'
  [ "$(grep -c '^INVITE ' "$dir/caller.messages")" = 1 ] || fault 'who stays was offered something'
}
scenario_replaces() {
  replacing
  common replaces
  [ "$(grep -c 'call started' "$dir/sipedge.log")" = 1 ] || fault 'there was more than one call'
}
scenario_pickup() {
  replacing
  common pickup
  [ "$(grep -c 'call started' "$dir/sipedge.log")" = 1 ] || fault 'there was more than one call'
}
scenario_refer-ringing() {
  replacing
  cat >>"$dir/sipedge.toml" <<TOML

[trunk.c]
host = "$url:$c"
inbound = "off"
$no_probes

[[route]]
number = "300"
to = "trunk.c"
TOML
  second pickup-own
  common refer-ringing
  says sipedge.log 'call transferred'
  [ "$(grep -c '^INVITE ' "$dir/caller.messages")" = 1 ] || fault 'who stays was offered something'
}
scenario_replaces-refused() { replacing 'transfers = false'; common replaces-refused; }
# The trunk that is called calls too.
replacing() {
  configure 'inbound = "off"' '' "qualify = \"off\"
${1:-}"
  sed -i '/^\[trunk.b\]/,/^$/s/^inbound = "off"/inbound = "address"/' "$dir/sipedge.toml"
}
scenario_redirect() {
  edge
  called redirect -m 3
  caller redirect
  finish
  [ "$(grep -c '^INVITE sip:200@' "$dir/called.messages")" = 1 ] || fault 'a number was dialled twice'
  ! logs '203.0.113.9:' || fault 'a host was called that no trunk names'
}

# ---- session timers

scenario_session-timer() {
  configure '' '' 'qualify = "off"
session_timers = "always"'
  common session-timer
}
# Of 60 s, without media.
scenario_session-refresh() {
  patience=90
  export SIPEDGE_MEDIA__TIMEOUT=120s
  common session-refresh
  o=$(grep '^o=' "$dir/called.messages" | grep -v '^o=- 1 1 ' | tr -d '\r' | sort -u | wc -l)
  [ "$o" = 1 ] || fault "the refresh has another version: $o"
  [ "$(grep -c '^INVITE ' "$dir/called.messages")" = 2 ] || fault 'there was not one refresh'
}
# ---- the called side is that of a plain call

scenario_multipart() { plain_call multipart; }
scenario_optional-srtp() { plain_call optional-srtp; }
# DTLS is told by its fingerprint, not by the profile's name.
scenario_dtls-profiles() {
  configure 'media_encryption = "dtls"' '' "$no_probes
media_encryption = \"dtls\""
  edge
  called dtls-profiles
  caller dtls-profiles
  finish
}
scenario_privacy() {
  configure '' '' "trusted = false
$no_probes"
  private_call
  never called.messages '551130000001'
}
scenario_privacy-trusted() {
  private_call
  says called.messages '^P-Asserted-Identity: <sip:\+551130000001@'
  says called.messages '^Privacy: id'
  never called.messages '^From: .*551130'
}
private_call() { edge; called forward; caller privacy; finish; }
# 300 is busy there, so that it goes on to 555 there, which answers; both are trunk.b, told apart by the number
scenario_forward() {
  configure 'pass_headers = ["X-Customer"]
rewrite_callers_in = ["0*=+49*"]' '[[route]]
number = "300"
to = "trunk.b"

[[route]]
number = "300"
to = "trunk.shut"
when = "no-answer"

[[route]]
number = "3*"
to = "trunk.b"
dial = "55*"
when = ["busy", "unreachable"]' "pass_headers = [\"x-customer\"]
$no_probes"
  edge
  called forward -m 2
  caller forward
  finish
  says called.messages '^INVITE sip:300@'
  says called.messages '^INVITE sip:5500@'
  says called.messages '^Diversion: <sip:300@.*>;reason=user-busy'
  says called.messages '^X-Customer: 4711'
  says called.messages '^P-Asserted-Identity: <sip:\+49301234@'
  never called.messages '^X-Other:'
  [ "$(grep -c '^Diversion: ' "$dir/called.messages")" = 1 ] || fault 'the first call was told of a diversion'
}
# Both routes lead to trunk.b; the number tells them apart.
scenario_next-codec() {
  configure '' '[[route]]
number = "300"
to = "trunk.b"

[[route]]
number = "3*"
to = "trunk.b"
dial = "55*"'
  edge
  called next-codec -m 2
  caller next-codec
  finish
  says called.messages '^INVITE sip:5500@'
  says sipedge.log 'not reached.*cause=no-common-codec'
  says sipedge.log 'WARN .*takes nothing of our offer.*trunk="b" offered="RTP/AVP PCMU".*media_encryption, codecs'
}
plain_call() { edge; called basic; caller "$1"; finish; }
# Nobody listens by UDP or by TCP, nobody has answered lately, and the name is none.
scenario_unreachable() {
  local tables='' way n=300
  for way in udp tcp down name; do
    tables+="
[trunk.$way]
inbound = \"off\"
host = \"$([ $way = name ] && echo pbx.test || echo "$url:$shut")\"
transport = \"$([ $way = tcp ] && echo tcp || echo udp)\"
qualify = \"$([ $way = down ] && echo 1s || echo off)\"

[[route]]
number = \"$n\"
to = \"trunk.$way\"
"
    n=$((n + 1))
  done
  configure '' "$tables"
  name_server 'other.pbx.test 60 A 192.0.2.77'
  edge
  await 'the word that nobody answers' logs 'the trunk is down.*trunk="down"'
  for n in 300 301 302 303; do
    caller unreachable -s $n
    wait_for_peers
  done
  finish
  [ "$(grep -c 'call ended.*cause=unreachable' "$dir/sipedge.log")" = 4 ] || fault 'a call came to another end'
  never caller.messages '^Retry-After:'
}
scenario_no-codec() { common no-codec; never sipedge.log ' dialing '; }
scenario_srtp-only() {
  common srtp-only
  says sipedge.log 'WARN.*trunk.NAME.media_encryption is off: make that sdes'
  never sipedge.log ' dialing '
}

scenario_invite-repeated() {
  edge
  called invite-repeated
  caller invite-repeated -nr
  finish
  [ "$(grep -c '^INVITE ' "$dir/called.messages")" = 1 ] || fault 'it rang twice'
}

# ---- addresses

scenario_hold-null-ipv6() {
  ip=::1 url='[::1]'
  configure
  edge
  called hold-null
  sed 's/addr=0\.0\.0\.0/addr=::/' "$home/hold-null.uac.xml" >"$dir/hold-null.xml"
  peer caller uac "$dir/hold-null.xml" "$a" -s 200
  finish
}
# SIP is on all addresses, and who calls from another port than its PBX's has no socket that is connected to it: the routes say
# which address of ours it is.
scenario_other-version() {
  sed -i "s/^listen = \[\"$url:$sip\"\]/listen = [\"0.0.0.0:$sip\", \"[::]:$sip\"]/" "$dir/sipedge.toml"
  edge
  called basic
  peer caller uac "$home/basic.uac.xml" "$c" -s 200 -mi ::1
  finish
  says caller.messages '^o=- [0-9]{9,} .* IN IP6 ::1'
}
scenario_ipv6() { ip=::1 url='[::1]'; configure; edge; called basic; caller basic; finish; }

# ---- the trunk as such

# SIPp ends sipedge in the middle of it.
scenario_register() {
  configure '' '' 'qualify = "off"
user = "pbx"
password = "pbx-pw"
register = true
register_expires = "60s"'
  called register
  edge
  finish
}
# Where it is registered says which way calls go, and says something else with each refresh.
scenario_service-route() {
  configure '' '' 'qualify = "off"
user = "pbx"
password = "pbx-pw"
register = true
register_expires = "60s"'
  called service-route -m 3
  edge
  await 'the way of the calls' logs 'the way that the registrar names.*first.example'
  api make 200
  await 'the other way' logs 'the way that the registrar names.*second.example'
  api make 201
  await 'the end of the second call' have_ended 2
  stop_edge
  finish
  [ "$(sed -n '/^INVITE sip:200@/,/^Content-Length/s/^Route: *//p' "$dir/called.messages" | tr -d '\r' | paste -sd,)" = '<sip:first.example;lr>,<sip:orig@core.example;lr>' ] || fault 'the first call went another way'
  [ "$(sed -n '/^INVITE sip:201@/,/^Content-Length/s/^Route: *//p' "$dir/called.messages" | tr -d '\r' | paste -sd,)" = '<sip:second.example;lr>' ] || fault 'the second call went another way'
}
scenario_register-forbidden() {
  configure '' '' 'qualify = "off"
user = "pbx"
password = "pbx-pw"
register = true'
  called register-forbidden
  edge
  wait_for_peers
  await 'a word of it' logs 'not registered'
  finish
  says sipedge.log 'WARN .*not registered.*trunk="b".*403 Forbidden: check user and password'
}
# It fails with each call, and is said once.
scenario_login-forbidden() {
  configure '' '' "$no_probes
$our_login"
  edge
  called login-forbidden -m 2
  for n in 1 2; do
    api make 200
    await "the end of call $n" have_ended "$n"
  done
  finish
  says sipedge.log 'WARN .*forbids a call of our login.*trunk="b".*user="edge".*403 Forbidden: check user and password'
  [ "$(grep -c 'forbids a call' "$dir/sipedge.log")" = 1 ] || fault 'the log has a line for each call'
}
scenario_qualify() {
  configure '' '' 'qualify = "1s"'
  called qualify -m 2
  edge
  finish
}
# While the call lives, nobody else is let in.
scenario_drain() {
  configure '' '[call]
drain = "20s"'
  edge
  called drain
  caller drain
  await 'the drain' logs 'ending.*calls=1'
  peer drained uac "$home/drained.uac.xml" "$shut" -s 200
  finish
  says sipedge.log 'call ended.*cause=normal'
}
scenario_tcp() {
  configure '' '' 'qualify = "off"
transport = "tcp"'
  edge
  called basic -t t1
  caller basic -t t1
  finish
  says caller.messages '^Via: SIP/2.0/TCP'
  says called.messages '^Via: SIP/2.0/TCP'
}

# ---- too large for a datagram

large() {
  configure 'pass_headers = ["X-Large"]' '' "pass_headers = [\"X-Large\"]
$no_probes"
  edge
}
scenario_large() {
  large
  called basic -t t1
  caller large
  finish
  says called.messages '^Via: SIP/2.0/TCP'
}
scenario_large-cancel() {
  large
  called cancel-ringing -t t1
  caller large-cancel
  finish
}
# Nobody listens for TCP.
scenario_large-refused() {
  large
  called basic
  caller large
  finish
  says called.messages '^Via: SIP/2.0/UDP'
  [ "$(grep -c '^INVITE ' "$dir/called.messages")" = 1 ] || fault 'the INVITE came more than once'
}
# Somebody does, who says nothing: the first call waits for it, the second one does not try.
scenario_large-silent() {
  large
  peer silent uas "$home/silent.uas.xml" "$b" -t t1 -cp $((port + 14)) -min_rtp_port $((port + 40)) -max_rtp_port $((port + 42))
  await 'the start of the silent side' is_bound "$b"
  peer called uas "$home/basic.uas.xml" "$b" -m 2
  await 'the start of the called side' is_bound_by_udp "$b"
  caller large -m 2 -l 1
  finish
  [ "$(grep -c '^INVITE ' "$dir/silent.messages")" = 1 ] || fault 'TCP was tried again'
  [ "$(grep -c '^INVITE ' "$dir/called.messages")" = 2 ] || fault 'there were not two calls by UDP'
}

# SIPp verifies nobody; it is verified when it is called, by its very certificate.
scenario_tls() {
  by_tls
  says caller.messages '^Via: SIP/2.0/TLS'
  says called.messages '^Via: SIP/2.0/TLS.*;alias'
  says called.messages "^Contact: <sip:caller@$url:$tls;transport=tls>"
}
by_tls() { # more lines of both trunks
  command -v openssl >/dev/null || { fault "no openssl here"; return; }
  configure "${1:-}" '' "qualify = \"off\"
${1:-}
transport = \"tls\"
tls_ca = \"$dir/sipp.pem\""
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=sipp -keyout "$dir/sipp.key" -out "$dir/sipp.pem" 2>"$dir/openssl.log"
  tls=$((port + 3))
  sed -i "s|^\[sip\]|&\ntls_listen = [\"$url:$tls\"]\ntls_certificate = \"$dir/sipp.pem\"\ntls_key = \"$dir/sipp.key\"|" "$dir/sipedge.toml"
  edge
  sip=$tls
  for role in called caller; do "$role" basic -t l1 -tls_cert sipp.pem -tls_key sipp.key; done
  finish
}

# ---- both PBXs are beyond a NAT: they are told its address, and name it when they mean sipedge

# $1: the NAT's address as it stands in a URI, $2: more lines of both trunks.
behind_nat() {
  nat=$1
  nat_ip=${1#[}
  nat_ip=${nat_ip%]}
  trunks="external = \"$nat_ip\"
${2:-}"
  configure "$trunks" '' "$trunks
$no_probes"
}
# A call of these files, in which what means sipedge names the NAT; further words go to both SIPps.
call_by_nat() {
  local each=$1 role
  shift
  sed 's/\[remote_ip\]/[nat]/; s/@call /&uri=sip:200@[nat]:[remote_port] /' "$home/$each.uac.xml" >"$dir/$each.caller.in"
  sed 's/\[remote_ip\]/[nat]/' "$home/$each.uas.xml" >"$dir/$each.called.in"
  set -- -key nat "$nat" "$@"
  peer called uas "$dir/$each.called.in" "$b" "$@"
  await 'the start of the called side' is_bound "$b"
  peer caller uac "$dir/$each.caller.in" "$a" -s 200 "$@"
  wait_for_peers
  for role in caller called; do told_nat "$role" 3; done
}
# What a peer was told of sipedge, in Via, Contact, o= and c=, is the NAT's address: so many lines at least.
told_nat() {
  awk '/ message (received|sent) / { is_heard = / received /; kind = ""; next }
    !is_heard || NF == 0 { next }
    kind == "" { kind = /^SIP/ ? "response" : "request" }
    (kind == "request" && /^Via:/) || /^Contact:/ || /^[oc]=/' "$dir/$1.messages" | tr -d '\r' >"$dir/$1.told"
  local told
  told=$(wc -l <"$dir/$1.told")
  [ "$told" -ge "$2" ] || fault "$1 was told of sipedge $told times"
  told=$(grep -vF -e "@$nat:$sip" -e " $nat:$sip;" -e ":$nat:$sip" "$dir/$1.told" | grep -Ev "^[oc]=(.* )?IN IP[46] $nat_ip\$" | head -1)
  [ -z "$told" ] || fault "$1 was told of another address: $told"
}

scenario_external() {
  behind_nat 203.0.113.7
  edge
  for each in basic hold-by-caller hold-by-called reliable update late-offer in-dialog refer-blind; do call_by_nat "$each"; done
  finish
  says sipedge.log 'call transferred'
}
scenario_external-ipv6() {
  ip=::1 url='[::1]'
  behind_nat '[2001:db8::7]'
  edge
  call_by_nat basic
  call_by_nat update
  call_by_nat late-offer
  finish
}
scenario_external-tcp() {
  behind_nat 203.0.113.7 'transport = "tcp"'
  edge
  call_by_nat basic -t t1
  finish
  says called.messages '^Via: SIP/2.0/TCP'
}
scenario_external-tls() {
  nat=203.0.113.7 nat_ip=203.0.113.7
  by_tls 'external = "203.0.113.7"'
  told_nat caller 3
  told_nat called 3
}
# The call that a PBX names by our address is ours, wherever it is reached.
scenario_external-replaces() {
  behind_nat 203.0.113.7
  sed -i '/^\[trunk.b\]/,/^$/s/^inbound = "off"/inbound = "address"/; /^\[trunk.a\]/a inbound = "off"' "$dir/sipedge.toml"
  edge
  call_by_nat refer-attended
  finish
  says sipedge.log 'another leg takes the place'
}
scenario_external-register() {
  configure '' '' 'qualify = "off"
external = "203.0.113.7"
user = "pbx"
password = "pbx-pw"
register = true
register_expires = "60s"'
  called register
  edge
  finish
  nat=203.0.113.7 nat_ip=203.0.113.7
  told_nat called 12
}
# A PBX that registers at the NAT's address, and is called from there.
scenario_external-registrar() {
  nat=203.0.113.7 nat_ip=203.0.113.7
  registers "external = \"$nat\""
  sed "s|BINDINGS|+ Contact: <sip:one@$url:$b>|; s|@REGISTER|& uri=sip:$nat:$sip|" "$home/fork.uac.xml" >"$dir/fork.xml"
  peer caller uac "$dir/fork.xml" "$a" -s pbx -au pbx -ap pbx-pw -auth_uri "$nat:$sip"
  await 'the registration' logs 'registered here'
  wait_for_peers
  called api-call
  api make 300
  finish
  told_nat called 4
}

# ---- a PBX with a name or with several addresses: trunk b is at pbx.test, or has these lines in place of its host

at_name() { # of trunk b: its host line; more lines of it
  configure '' '' "$no_probes
${2:-}"
  sed -i "/^\[trunk.b\]/,/^\$/s|^host = .*|$1|" "$dir/sipedge.toml"
}
pbx='host = "pbx.test"'
both_hosts() { echo "hosts = [\"$url:$1\", \"$url:$2\"]"; }

scenario_dns-srv() {
  at_name "$pbx"
  name_server "_sip._udp.pbx.test 60 SRV 1 1 $b a.pbx.test" 'a.pbx.test 60 CNAME b.pbx.test' "b.pbx.test 60 A $ip" \
    'pbx.test 60 A 192.0.2.77'
  plain_call basic
  says called.messages '^INVITE sip:200@pbx.test SIP/2.0'
  says dns.log '^NAPTR pbx.test'
  says dns.log '^SRV _sip._udp.pbx.test'
  never dns.log '^A pbx.test'
  [ "$(grep -c '^SRV _sip._udp' "$dir/dns.log")" = 1 ] || fault 'the same was asked twice'
}
scenario_dns-naptr() {
  at_name "$pbx"
  name_server 'pbx.test 60 NAPTR 20 10 s SIP+D2U _sip._udp.pbx.test' 'pbx.test 60 NAPTR 10 10 s SIP+D2T _t.pbx.test' \
    "_t.pbx.test 60 SRV 1 1 $b a.pbx.test" "_sip._udp.pbx.test 60 SRV 1 1 $shut a.pbx.test" "a.pbx.test 60 A $ip"
  edge
  called basic -t t1
  caller basic
  finish
  says called.messages '^Via: SIP/2.0/TCP'
  says called.messages '^Contact: <sip:.*;transport=tcp>'
  never dns.log '^SRV _sip._udp'
}
scenario_dns-failover() {
  at_name "$pbx"
  name_server "_sip._udp.pbx.test 60 SRV 1 1 $shut a.pbx.test" "_sip._udp.pbx.test 60 SRV 2 1 $b a.pbx.test" "a.pbx.test 60 A $ip"
  edge
  called basic -m 2
  caller basic -m 2 -l 1
  finish
  # the second call has learnt from the first
  [ "$(grep -c 'dialing again' "$dir/sipedge.log")" = 1 ] || fault 'not one call went on to the second host'
}
scenario_dns-503() {
  at_name "$pbx"
  name_server "_sip._udp.pbx.test 60 SRV 1 1 $c a.pbx.test" "_sip._udp.pbx.test 60 SRV 2 1 $b a.pbx.test" "a.pbx.test 60 A $ip"
  edge
  second dns-503
  called basic -m 2
  caller basic -m 2 -l 1
  finish
  [ "$(grep -c '^INVITE ' "$dir/second.messages")" = 1 ] || fault 'the second call went there, too'
  first=$(grep -h '^Via: ' "$dir/second.messages" | head -1)
  ! grep -qF "$first" "$dir/called.messages" || fault 'the next host was called with the same branch'
}
# The name server is dead from the start, and comes to life.
scenario_dns-dead() {
  at_name "$pbx" 'transport = "udp"'
  name_server "_sip._udp.pbx.test 60 SRV 1 1 $b a.pbx.test" "a.pbx.test 60 A $ip"
  kill -USR1 "$names_pid"
  await 'the end of the name server' grep -q 'falls silent' "$dir/dns.log"
  edge
  await 'a word of the name server' logs "WARN .*cannot be looked up.*trunk=\"b\".*host=\"pbx.test\".*no usable answer from the name server 127.0.0.1:$dns"
  kill -USR1 "$names_pid"
  await 'the name' logs 'INFO .*can be looked up again.*host="pbx.test"'
  called basic
  caller basic
  finish
  [ "$(grep -c 'cannot be looked up.*host="pbx.test"' "$dir/sipedge.log")" = 1 ] || fault 'it was said more than once'
}
# The answer is used on after its time.
scenario_dns-gone() {
  at_name "$pbx" 'transport = "udp"'
  name_server "_sip._udp.pbx.test 1 SRV 1 1 $b a.pbx.test" "a.pbx.test 1 A $ip"
  edge
  called basic -m 2
  caller basic
  await 'the first call' logs 'call ended.*cause=normal'
  kill -USR1 "$names_pid"
  await 'the end of the name server' grep -q 'falls silent' "$dir/dns.log"
  sleep 1.2
  peer later uac "$home/basic.uac.xml" "$shut" -s 200
  finish
  says dns.log '^silent SRV _sip._udp.pbx.test'
}
scenario_targets-priority() {
  at_name "hosts = [\"$url:$shut;priority=2;weight=100\", \"$url:$b;priority=1\"]"
  plain_call basic
  never sipedge.log 'dialing again'
}
# By TCP a host where nobody listens refuses the connection.
scenario_targets-tcp() {
  at_name "$(both_hosts "$shut" "$b")" 'transport = "tcp"'
  edge
  called basic -t t1
  caller basic
  finish
  says sipedge.log 'dialing again'
  says called.messages '^Via: SIP/2.0/TCP'
}
# It answers after all, when the call has gone on to the next.
scenario_targets-silent() {
  at_name "$(both_hosts "$c" "$b")" 'failover_after = "1s"'
  edge
  second targets-silent -nr
  called basic
  caller basic
  finish
  # at 0 and 0.5 s; at 1.5 s it has been given up
  [ "$(grep -c '^INVITE ' "$dir/second.messages")" = 2 ] || fault 'the INVITE went on to be repeated'
}
# An answer is an answer.
scenario_targets-busy() {
  at_name "$(both_hosts "$b" "$shut")"
  edge
  called busy
  caller busy
  finish
  never sipedge.log 'dialing again'
}
scenario_proxy-route() {
  at_name "host = \"pbx.test:5999\"\nproxy = \"$url:$b\""
  plain_call basic
  says called.messages '^INVITE sip:200@pbx.test:5999 SIP/2.0'
  says called.messages "^Route: <sip:$url:$b;lr>"
  says called.messages '^To: .*<sip:200@pbx.test>'
}
scenario_register-failover() {
  at_name "$(both_hosts "$shut" "$b")" 'user = "pbx"
password = "pbx-pw"
register = true
register_expires = "60s"'
  called register
  edge
  finish
}

# ---- many at once

# Each call sends 150 packets; SIPp compares what comes back (exit code 253), and sipedge counts.
# More calls than sessions were once let in, two of which a call from trunk to trunk has.
scenario_many() {
  rtp=$((SIPP_PORT + 11000))-$((SIPP_PORT + 16999))
  level=info
  configure
  edge
  called many -m 1050
  caller many -m 1050 -l 1050 -r 350
  finish
  count=$(grep -c 'call ended.*cause=normal' "$dir/sipedge.log")
  [ "$count" = 1050 ] || fault "only $count of 1,050 calls came and went"
}
scenario_media-200() {
  rtp=$((SIPP_PORT + 17000))-$((SIPP_PORT + 18999))
  level=info
  configure
  edge
  called media-200 -m 200 -rtp_echo
  caller media-200 -m 200 -l 200 -r 200 -min_rtp_port $((SIPP_PORT + 19000)) -max_rtp_port $((SIPP_PORT + 19999)) -audiotolerance 0.3
  finish
  # both legs of a call; a busy machine has SIPp send fewer
  count=$(streams 75)
  [ "$count" = 400 ] || fault "only $count of 400 legs have their packets both ways"
}
# How many streams have had so many packets, and sent as many but for a tenth, which came late or was on the way.
streams() {
  sed -n 's/.*media stream ended.* packets_in=\([0-9]*\) packets_out=\([0-9]*\) .*/\1 \2/p' "$dir/sipedge.log" |
    awk -v least="$1" '$1 >= least && $2 >= $1 * 0.9 { n++ } END { print n + 0 }'
}
scenario_echo-100() {
  rtp=$((SIPP_PORT + 10000))-$((SIPP_PORT + 10399))  # ports of this scenario alone
  level=info
  configure
  edge
  caller echo-100 -m 100 -l 100 -r 100 -min_rtp_port $((SIPP_PORT + 9000)) -max_rtp_port $((SIPP_PORT + 9999)) -audiotolerance 0.3
  finish
  count=$(streams 140)
  [ "$count" = 100 ] || fault "only $count of 100 calls have their packets back"
}
