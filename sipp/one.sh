# One scenario: sipedge, its peers, and what they say in the end. Sourced by `run`.
#
# `cases.sh` uses: configure, edge, called, caller, api, finish, and says/expects for the log; ports are in $sip, $http,
# $a (the PBX that calls), $b (the PBX that is called), $c (another one, or another place of it), $shut (nobody), $dns
# (the name server).

port=$((SIPP_PORT + SIPP_SLOT * 100))
sip=$port http=$((port + 1)) a=$((port + 2)) b=$((port + 4)) shut=$((port + 6)) c=$((port + 8)) dns=$((port + 9))
ip=127.0.0.1 url=127.0.0.1   # the second is the first as it stands in a URI
no_probes='qualify = "off"'
token=sipp-token-0123456789
peers=() peer_names=() edge_pid='' names_pid='' faults=()

fault() { faults+=("$*"); }

# Writes the configuration. $1: more lines of the trunk that calls; $2: more tables; $3: lines of the called trunk, in place of `qualify = "off"`.
configure() {
  cat >"$dir/sipedge.toml" <<TOML
[http]
listen = "$url:$http"

[sip]
listen = ["$url:$sip"]

[media]
webrtc_port = $((port + 20))
addresses = ["$ip"]
rtp_ports = "${rtp:-$((port + 50))-$((port + 99))}"

[ice]
loopback = true

[local]
enabled = true

[trunk.a]
host = "$url:$a"
$no_probes
${1:-}

[trunk.b]
host = "$url:$b"
inbound = "off"
${3:-$no_probes}

[trunk.shut]
host = "$url:$shut"
inbound = "off"
$no_probes

[account.anna]
token = "$token"
numbers = ["anna"]

[[route]]
number = "2??"
to = "trunk.b"

[[route]]
number = "echo"
to = "local.echo"

[[route]]
number = "brief"
to = "trunk.b"
timeout = "1s"

[[route]]
number = "next"
to = "trunk.shut"

[[route]]
number = "next"
to = "trunk.b"

[[route]]
number = "anna"
to = "account.anna"
${2:-}
TOML
  # for scenarios, by <exec command="./api hold"/>
  cat >"$dir/api" <<SH
#!/bin/sh
# ./api make NUMBER, then hold, resume, hangup, ... of that call
ask() { curl -sS -m 10 -H 'token: $token' -d "\$2" "http://$url:$http/call/\$1" | tee -a api.log; echo >>api.log; }
case \$1 in
  make) ask make "{\"Phone\":\"\$2\"}" | sed -n 's/.*"callID":"\([^"]*\)".*/\1/p' | head -1 >call ;;
  *) ask "\$1" "{\"callID\":\"\$(cat call)\"}" >/dev/null ;;
esac
SH
  chmod +x "$dir/api"
}

# Waits until a condition holds, 10 s at most.
await() {
  local what=$1 tries=500
  shift
  until "$@"; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { fault "$what did not happen"; return 1; }
    sleep 0.02
  done
}

# Open to all: sipedge has sockets that are connected to the port, and a connection of the scenario before may linger.
is_bound_in() { local at=$1; shift; grep -Eqi "^ *[0-9]+: [0-9A-F]+:$(printf %04X "$at") 0+:0000 " "$@"; }
is_bound() { is_bound_in "$1" /proc/net/udp /proc/net/udp6 /proc/net/tcp /proc/net/tcp6; }
is_bound_by_udp() { is_bound_in "$1" /proc/net/udp; }
has_ended() { ! kill -0 "$edge_pid" 2>/dev/null; }
is_ready() { logs 'sipedge is ready' || has_ended; }
logs() { grep -Eqs -- "$1" "$dir/sipedge.log"; }

# Starts sipedge.
edge() {
  RUST_BACKTRACE=1 SIPEDGE_LOG__LEVEL=${level:-debug} "$SIPEDGE" --config "$dir/sipedge.toml" >"$dir/sipedge.log" 2>&1 &
  edge_pid=$!
  echo $edge_pid >"$dir/edge.pid"
  await 'the start of sipedge' is_ready
  if has_ended; then
    fault "sipedge did not start: $(tail -3 "$dir/sipedge.log")"
    verdict
  fi
}

# Starts a SIPp: its name, its role, its file, its port, further arguments.
peer() {
  local name=$1 role=$2 file=$3 at=$4
  shift 4
  local place=$(( at - port ))
  awk -v role="$role" -f "$home/expand.awk" "$file" >"$dir/$name.xml"
  (
    cd "$dir" || exit 1
    exec "$SIPP" "$url:$sip" -sf "$name.xml" -i "$ip" -p "$at" -mi "$ip" -ci 127.0.0.1 -cp $((at + 8)) \
      -watchdog_interval 0 -min_rtp_port $((port + 26 + place * 2)) -max_rtp_port $((port + 28 + place * 2)) \
      -m 1 -timeout "${patience:-20}" -timeout_error -nostdin -trace_err -error_file "$name.errors" \
      -trace_msg -message_file "$name.messages" "$@" >"$dir/$name.screen" 2>&1
  ) &
  peers+=($!)
  peer_names+=("$name")
}

# The PBX that is called by sipedge.
called() {
  peer called uas "$home/$1.uas.xml" "$b" "${@:2}"
  await 'the start of the called side' is_bound "$b"
}

# Another PBX that is called.
second() {
  peer second uas "$home/$1.uas.xml" "$c" "${@:2}"
  await 'the start of the second called side' is_bound "$c"
}

# A name server with these records (dns.mjs), which the configuration is told of; what it is asked stands in dns.log.
name_server() {
  command -v node >/dev/null || { fault 'no node here'; verdict; }
  printf '\n[dns]\nservers = ["127.0.0.1:%s"]\n' "$dns" >>"$dir/sipedge.toml"
  node "$home/dns.mjs" "127.0.0.1:$dns" "$dir/dns.log" "$@" &
  names_pid=$!
  await 'the start of the name server' grep -qs listens "$dir/dns.log"
}

# The PBX that calls sipedge, number 200 unless -s says otherwise.
caller() { peer caller uac "$home/$1.uac.xml" "$a" -s 200 "${@:2}"; }

api() { (cd "$dir" && ./api "$@"); }

# The first thing that a SIPp found wrong.
complaint() { sed -n '2s/^[^ ]* *[^ ]*: //p' "$dir/$1.errors" 2>/dev/null | tr -d '\r' | cut -c1-250; }

# Waits for the peers and reads their exit codes.
wait_for_peers() {
  local i code
  for i in "${!peers[@]}"; do
    wait "${peers[i]}"
    code=$?
    [ $code = 0 ] || fault "${peer_names[i]} ended with $code: $(complaint "${peer_names[i]}")"
  done
  peers=() peer_names=()
}

# Waits for the peers, stops sipedge and reads its exit code.
finish() {
  wait_for_peers
  stop_edge
}

stop_edge() {
  [ -n "$edge_pid" ] || return
  kill -TERM "$edge_pid" 2>/dev/null
  wait "$edge_pid"
  local code=$?
  edge_pid=''
  if [ -n "$names_pid" ]; then
    kill "$names_pid" 2>/dev/null
    wait "$names_pid"
    [ ! -f "$dir/dns.log" ] || never dns.log '^wrong:'
  fi
  [ $code = 0 ] || fault "sipedge ended with $code"
  ! logs 'panicked at' || fault "sipedge panicked"
}

# What must, or must not, stand in the log of sipedge or among the messages of a peer.
says() { grep -Eq -- "$2" "$dir/$1" || fault "$1 says nothing of: $2"; }
never() { ! grep -Eq -- "$2" "$dir/$1" || fault "$1 says: $2"; }

# What runs unless cases.sh has something else for the name: a call from one PBX to the other, or by the API.
common() {
  edge
  [ ! -f "$home/$1.uas.xml" ] || called "$1"
  if [ -f "$home/$1.uac.xml" ]; then caller "$1"; else api make 200; fi
  finish
}

prove() {
  name=$1 begin=$SECONDS
  dir=$OUT/$name
  mkdir -p "$dir" || exit 1
  trap 'kill "${peers[@]}" $edge_pid $names_pid 2>/dev/null; exit 1' INT TERM
  configure
  if declare -F "scenario_$name" >/dev/null; then "scenario_$name"; else common "$name"; fi
  verdict
}

verdict() {
  if [ ${#faults[@]} -gt 0 ]; then
    kill "${peers[@]}" $names_pid 2>/dev/null # those that wait for a sipedge that is not there
    printf 'FAILED  %s (%s s)\n' "$name" $((SECONDS - begin))
    printf '          %s\n' "${faults[@]}"
    exit 0   # others go on
  fi
  [ -n "$KEEP" ] || rm -rf "$dir"
  : >"$OUT/$name.passed"
  printf 'passed  %s (%s s)\n' "$name" $((SECONDS - begin))
}
