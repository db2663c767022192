# shellcheck shell=bash
# SIPp and sipedge, for `run` and `bench`: sets $SIPP and $SIPEDGE from $binary, in the repository's folder. Without $binary
# sipedge is built in $profile.

: "${profile:=ci}"
if [ -n "$binary" ]; then
  [ -x "$binary" ] || { echo "sipp: $binary is no program" >&2; exit 2; }
  binary=$(readlink -f -- "$binary")
fi
cd "$home/.." || exit 3
if [ -z "${SIPP:-}" ]; then
  version=$(sipp -v 2>/dev/null | sed -n 's/.*SIPp v\([0-9]*\.[0-9]*\).*/\1/p')
  if [ -n "$version" ] && [ "$(printf '%s\n3.7\n' "$version" | sort -V | head -1)" = 3.7 ]; then
    SIPP=$(command -v sipp)
  else
    if [ -z "${PBX_HOME:-}" ]; then
      PBX_HOME=$PWD/.pbx
      if [ "$(id -u)" = 0 ] && ! setpriv --reuid nobody --clear-groups test -x "$PWD" 2>/dev/null; then PBX_HOME=/var/tmp/sipedge-tests; fi
    fi
    mkdir -p "$PBX_HOME"
    SIPP=$(PBX_HOME=$PBX_HOME sip-tests/pbx/install-peer.sh sipp 2>/dev/null | tail -1)
    [ -x "$SIPP" ] || { echo "sipp: no SIPp 3.7 or later, and none could be unpacked: sip-tests/pbx/install-peer.sh sipp says why" >&2; exit 3; }
  fi
fi
for tool in curl awk xargs; do
  command -v "$tool" >/dev/null || { echo "sipp: no $tool here; install it first" >&2; exit 3; }
done
if [ -z "$binary" ]; then
  cargo build --locked --profile "$profile" --quiet || exit 3
  target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  binary=$target/$profile/sipedge
fi
export SIPP SIPEDGE=$binary
