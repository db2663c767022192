# Writes out the short lines of a scenario, so that a file shows what it proves and not forty header lines a message.
# `sipp/run` calls it with -v role=uac or uas; what comes out is plain SIPp XML.
#
# A line that begins with @ stands for a message. Lines below it that begin with + add headers to what is sent; in what
# is received they are regular expressions that a header, or `body:`, must match.
#
#   @call                        INVITE that begins a call            (uac)
#   @rung                        waits for one, remembers its parties (uas)
#   @180, @200, ...              response to it                       (uas)
#   @on 200                      waits for the 2xx, remembers its tag (uac)
#   @hear 486, @hear BYE         waits for a message
#   @ACK                         of a 2xx;  @ACK of=failure  of any other final response just received
#   @CANCEL                      after a provisional response just received; @CANCEL fresh  of nothing
#   @REGISTER                    of the user -s, with the Contact lines that are below it
#   @login                       waits for a REGISTER with the right digest
#   @BYE, @INVITE, @OPTIONS ...  request within the call
#   @reply 200                   response to the request just received
#
# Words after it: body=sdp (mixed: one with ISUP beside it, of handling=; ack: no session description), dir=, codec=,
# addr=, version=, profile=, ptime=, maxptime= of the description; any other body= is text, + for the end of a line, with its type=; srtp (a section of RTP/SAVP before it), key (a line a=crypto), dtls=SETUP (a fingerprint and a=setup); cseq=; to=NUMBER in place of -s; uri=, max= (Max-Forwards); once (sent once, whatever happens); again (with the branch
# of the response just received).
BEGIN { quote = "\""; rtpmap["0"] = "PCMU"; rtpmap["8"] = "PCMA"; rtpmap["9"] = "G722"; rtpmap["18"] = "G729"; rtpmap["101"] = "telephone-event"; held = "" }

/^[ \t]*@/ { flush(); held = $0; more = ""; next }
/^[ \t]*\+/ { sub(/^[ \t]*\+[ \t]*/, ""); more = more $0 "\n"; next }
/<\/scenario>/ { flush(); if (named) print "  <Reference variables=\"" named "\"/>" }
{ flush(); print }

function flush(   n, i, words, pair) {
  if (held == "") return
  sub(/^[ \t]*@/, "", held)
  n = split(held, words, /[ \t]+/)
  held = ""
  split("", opt)
  for (i = 2; i <= n; i++) {
    if (words[i] == "") continue
    if (index(words[i], "=")) { pair = index(words[i], "="); opt[substr(words[i], 1, pair - 1)] = substr(words[i], pair + 1) }
    else opt[words[i]] = 1
  }
  write(words[1], words[2])
}

function word(name, otherwise) { return name in opt ? opt[name] : otherwise }

# Our side of the dialog and theirs, as they stand in From and To.
function ours() { return role == "uac" ? "<sip:caller@[local_ip]:[local_port]>;tag=[pid]c[call_number]" : "[$to];tag=[pid]s[call_number]" }

function write(kind, what) {
  if (kind == "call") request("INVITE", word("uri", "sip:" word("to", "[service]") "@[remote_ip]:[remote_port]"), ours(), "<sip:" word("to", "[service]") "@[remote_ip]:[remote_port]>", new_via(), word("cseq", 1))
  else if (kind == "rung") {
    receive("request", "INVITE")
    remember("Via:", "via"); remember("CSeq:", "cseq"); remember("From:", "from"); remember("To:", "to")
    received()
  }
  else if (kind == "on") { receive("response", what); remember("To:", "from"); received() }
  else if (kind == "hear") { receive(what ~ /^[0-9]/ ? "response" : "request", what); received() }
  else if (kind == "reply") response(what, "[last_Via:]", "[last_From:]", "[last_To:]", "[last_CSeq:]", "body" in opt)
  else if (kind ~ /^[1-6][0-9][0-9]$/) response(kind, "Via: [$via]", "From: [$from]", "To: " ours(), "CSeq: [$cseq]", kind >= 200)
  else if (kind == "ACK" && word("of") == "failure") request("ACK", "sip:" word("to", "[service]") "@[remote_ip]:[remote_port]", ours(), "[last_To:]", "[last_Via:]", word("cseq", 1))
  else if (kind == "CANCEL") request("CANCEL", "sip:" word("to", "[service]") "@[remote_ip]:[remote_port]", ours(), "<sip:" word("to", "[service]") "@[remote_ip]:[remote_port]>", "fresh" in opt ? new_via() : "[last_Via:]", word("cseq", 1))
  else if (kind == "login") {
    receive("request", "REGISTER")
    print "      <verifyauth assign_to=\"login\" username=\"pbx\" password=\"pbx-pw\"/>"
    received()
    print "  <nop test=\"login\" next=\"login" ++logins "\"/>"
    print "  <nop>\n    <action>\n      <error message=\"wrong digest\"/>\n    </action>\n  </nop>\n  <label id=\"login" logins "\"/>"
  }
  else if (kind == "REGISTER") request("REGISTER", word("uri", "sip:[remote_ip]:[remote_port]"), "<sip:[service]@[remote_ip]:[remote_port]>;tag=[pid]c[call_number]", "<sip:[service]@[remote_ip]:[remote_port]>", new_via(), word("cseq", 1))
  else request(kind, word("uri", "[next_url]"), ours(), "uri" in opt ? "<" opt["uri"] ">" : "[$from]", new_via(), word("cseq", kind == "ACK" ? 1 : 2))
}

function new_via() { return "again" in opt ? "[last_Via:]" : "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport" }

# Where requests within the call go is known from INVITE, its 2xx and what may want a PRACK.
function receive(kind, what) {
  print "  <recv " kind "=\"" what "\"" (what == "INVITE" || what == 200 || what == 183 || what == 180 ? " rrs=\"true\"" : "") ">\n    <action>"
}

# What must stand in the message: lines of a header, or of the body.
function received(   n, i, lines, colon) {
  n = split(more, lines, "\n")
  for (i = 1; i < n; i++) {
    colon = index(lines[i], ": ")
    remember(substr(lines[i], 1, colon), "h" ++heard, substr(lines[i], colon + 2))
  }
  print "    </action>\n  </recv>"
}

function remember(header, name, regexp) {
  gsub(quote, "\\&quot;", regexp)
  print "      <ereg regexp=\"" (regexp ? regexp : "[^ ].*") "\" search_in=\"" (header == "body:" ? "msg" : "hdr\" header=\"" header) "\" check_it=\"true\" assign_to=\"" name "\"/>"
  if (!(name in is_named)) named = named (named ? "," : "") name
  is_named[name] = 1
}

function request(method, uri, from, to, via, cseq) {
  begin(method != "ACK" && !("once" in opt))
  print method " " uri " SIP/2.0\n" via
  print "From: " from "\n" (to ~ /^\[last/ ? to : "To: " to)
  print "Call-ID: [call_id]\nCSeq: " cseq " " method
  if (method != "CANCEL" && method != "BYE" && method != "REGISTER") print "Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>"
  print "Max-Forwards: " word("max", 70)
  end()
}

function response(status, via, from, to, cseq, is_resent) {
  begin(is_resent && !("once" in opt))
  print "SIP/2.0 " status " " phrase(status) "\n" via "\n" from "\n" to "\n[last_Call-ID:]\n" cseq
  print "Contact: <sip:[local_ip]:[local_port];transport=[transport]>"
  end()
}

function phrase(status) {
  return status == 100 ? "Trying" : status == 180 ? "Ringing" : status == 183 ? "Session Progress" : status == 200 ? "OK" : "So Be It"
}

function begin(is_resent) {
  print "  <send" (is_resent ? " retrans=\"500\"" : "") ("label" in opt ? " label=\"" opt["label"] "\"" : "") ">\n    <![CDATA[\n"
}

function end() {
  printf "%s", more
  if (!("body" in opt)) print "Content-Length: 0\n"
  else if (opt["body"] == "sdp") { print "Content-Type: application/sdp\nContent-Length: [len]\n"; sdp() }
  else if (opt["body"] == "mixed") {
    print "Content-Type: multipart/mixed;boundary=\"a part\"\nContent-Length: [len]\n\n--a part\nContent-Type: application/isup;version=itu-t92+"
    print "Content-Disposition: signal;handling=" word("handling", "optional") "\n\nISUP\n--a part\nContent-Type: application/sdp\n"
    sdp()
    print "--a part--"
  }
  else {
    gsub(/\+/, "\n", opt["body"])
    print "Content-Type: " word("type", "text/plain") "\nContent-Length: [len]\n\n" opt["body"]
  }
  print "\n    ]]>\n  </send>"
}

function sdp(   n, i, types, codecs) {
  codecs = word("codec", "0")
  n = split(codecs, types, ",")
  gsub(",", " ", codecs)
  print "v=0\no=- 1 " word("version", 1) " IN IP[media_ip_type] [media_ip]\ns=-\nc=IN IP[media_ip_type] " word("addr", "[media_ip]") "\nt=0 0"
  if ("srtp" in opt) print "m=audio 9 RTP/SAVP " codecs "\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
  print "m=audio " word("port", "[media_port]") " " word("profile", "RTP/AVP") " " codecs
  for (i = 1; i <= n; i++) if (types[i] in rtpmap) print "a=rtpmap:" types[i] " " rtpmap[types[i]] "/8000"
  if ("key" in opt) print "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
  if ("ptime" in opt) print "a=ptime:" opt["ptime"]
  if ("maxptime" in opt) print "a=maxptime:" opt["maxptime"]
  if ("dtls" in opt) {
    print "a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
    print "a=setup:" opt["dtls"]
  }
  print "a=" word("dir", "sendrecv")
}
