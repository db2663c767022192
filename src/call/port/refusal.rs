//! Why media cannot serve a description, in words that name the remedy: they stand in the log, and in the Warning that a
//! PBX gets.

use super::Encryption;
use crate::base::Cause;
use std::net::IpAddr;

/// Why media could not serve an offer or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaRefusal {
    /// The two lists share nothing.
    NoCommonCodec {
        /// What the description offers.
        offered: Vec<String>,
        /// What the other leg can take.
        wanted: Vec<String>,
    },
    /// Something in the description is missing or not served; a sentence that names it and the remedy.
    Unusable(&'static str),
    /// It has no audio section, or none that is open (RFC 3264 §6: port 0).
    NoAudio,
    /// An answer to an offer of ours has none: whatever was offered, it was not taken.
    AudioRefused {
        /// How the offer had it protected.
        ours: Encryption,
    },
    /// Audio is protected otherwise than the leg shall be.
    Protection {
        /// How it shall be.
        ours: Encryption,
        /// How it is described.
        theirs: Described,
        /// The description answers an offer of ours.
        is_answer: bool,
    },
    /// There is no socket for it.
    NoSocket(NoSocket),
    /// The media side takes nothing more.
    Congestion,
}

/// How a description has audio protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// Not at all.
    Clear,
    /// By keys in the description (RFC 4568).
    Sdes,
    /// By such keys, as its profile says, and there are none.
    Keyless,
    /// By DTLS (RFC 5763).
    Dtls,
    /// By a profile that nobody here knows.
    Other,
}

/// Why there is no socket for a leg's media. Errors of the system are in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSocket {
    /// The system knows no way there.
    NoRoute {
        /// The far side.
        towards: IpAddr,
        /// The system's word.
        error: String,
    },
    /// This machine has not the address (any more, or not yet).
    NotOurs(IpAddr),
    /// This machine has no address that a browser could reach, yet.
    NoAddress,
    /// All ports of the range are in use.
    NoPort,
    /// Other programs hold the ports of the range.
    Taken,
    /// The limit of open files is reached.
    NoDescriptor {
        /// The system's word.
        error: String,
    },
    /// Another error.
    System {
        /// The system's word.
        error: String,
    },
}

impl std::fmt::Display for NoSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRoute { towards, error } => {
                write!(f, "there is no route to {towards} ({error}); see what `ip route get {towards}` says")
            }
            Self::NotOurs(ip) => {
                write!(f, "{ip} is no address of this machine now; media needs one that `ip address` shows")
            }
            Self::NoAddress => f.write_str(
                "this machine has no address yet that browsers could reach; see what `ip address` says, or set ice.loopback",
            ),
            Self::NoPort => f.write_str("all ports of media.rtp_ports are in use; widen that range"),
            Self::Taken => {
                f.write_str("other programs hold the ports of media.rtp_ports; choose another range")
            }
            Self::NoDescriptor { error } => {
                write!(f, "{error}: raise the limit of open files, as with LimitNOFILE= in a unit of systemd")
            }
            Self::System { error } => write!(f, "the system gives no socket: {error}"),
        }
    }
}

impl std::fmt::Display for MediaRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCommonCodec { offered, wanted } => {
                write!(
                    f,
                    "no common codec: {} described, {} possible; see codecs of the trunk, and allow in Asterisk",
                    offered.join(" "),
                    wanted.join(" ")
                )
            }
            Self::Unusable(why) => f.write_str(why),
            Self::NoAudio => f.write_str("no audio section; offer audio"),
            Self::AudioRefused { ours } => write!(
                f,
                "the answer refuses audio (port 0): compare trunk.NAME.media_encryption ({}) with media_encryption in Asterisk \
                 ({}), and trunk.NAME.codecs with allow",
                ours.name(),
                in_asterisk(*ours),
            ),
            Self::Protection { ours, theirs, is_answer } => mismatch(f, *ours, *theirs, *is_answer),
            Self::NoSocket(why) => why.fmt(f),
            Self::Congestion => f.write_str("the media thread takes no more commands"),
        }
    }
}

impl MediaRefusal {
    /// The cause a leg ends with when this ends it.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::NoCommonCodec { .. } => Cause::NoCommonCodec,
            Self::AudioRefused { .. } => Cause::AudioRefused,
            Self::Unusable(_) | Self::NoAudio | Self::Protection { .. } => Cause::BadMedia,
            // the next party may be elsewhere
            Self::NoSocket(NoSocket::NoRoute { .. }) => Cause::Unreachable,
            Self::NoSocket(_) | Self::Congestion => Cause::Congestion,
        }
    }

    /// Whether the description itself is what is wrong.
    #[must_use]
    pub const fn is_of_description(&self) -> bool {
        matches!(self.cause(), Cause::NoCommonCodec | Cause::BadMedia | Cause::AudioRefused)
    }
}

/// What Asterisk calls the same in `media_encryption`.
const fn in_asterisk(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Off => "no",
        Encryption::Sdes | Encryption::SdesOptional => "sdes",
        Encryption::Dtls => "dtls",
    }
}

/// Which two settings do not agree, and what either side may write.
fn mismatch(
    f: &mut std::fmt::Formatter<'_>,
    ours: Encryption,
    theirs: Described,
    is_answer: bool,
) -> std::fmt::Result {
    let whose = if is_answer { "answered" } else { "offered" };
    let (what, fitting) = match theirs {
        // no setting of ours would do
        Described::Keyless => {
            return write!(
                f,
                "the {whose} audio is RTP/SAVP and has no a=crypto line with its key; compare trunk.NAME.media_encryption ({}) with \
                 media_encryption in Asterisk ({})",
                ours.name(),
                in_asterisk(ours),
            );
        }
        Described::Clear if matches!(ours, Encryption::Sdes) => ("not encrypted", "off or sdes-optional"),
        Described::Clear => ("not encrypted", "off"),
        Described::Sdes => ("SRTP with a=crypto", "sdes"),
        Described::Dtls => ("DTLS-SRTP", "dtls"),
        Described::Other => ("of a profile that is not served", "what it has"),
    };
    // it stands for several settings, of which the other one would be overlooked
    let webrtc = if theirs == Described::Dtls { " and webrtc no" } else { "" };
    write!(
        f,
        "the {whose} audio is {what}, and trunk.NAME.media_encryption is {}: make that {fitting}, or media_encryption {}{webrtc} \
         in Asterisk",
        ours.name(),
        in_asterisk(ours),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Encryption; 4] =
        [Encryption::Off, Encryption::Sdes, Encryption::SdesOptional, Encryption::Dtls];

    #[test]
    fn a_mismatch_names_both_settings_and_what_either_side_may_write() {
        let said = |ours, theirs, is_answer| MediaRefusal::Protection { ours, theirs, is_answer }.to_string();
        assert_eq!(
            said(Encryption::Sdes, Described::Clear, false),
            "the offered audio is not encrypted, and trunk.NAME.media_encryption is sdes: make that off or sdes-optional, or \
             media_encryption sdes in Asterisk"
        );
        assert_eq!(
            said(Encryption::Off, Described::Dtls, true),
            "the answered audio is DTLS-SRTP, and trunk.NAME.media_encryption is off: make that dtls, or media_encryption no and \
             webrtc no in Asterisk"
        );
        assert_eq!(
            said(Encryption::Sdes, Described::Keyless, false),
            "the offered audio is RTP/SAVP and has no a=crypto line with its key; compare trunk.NAME.media_encryption (sdes) with \
             media_encryption in Asterisk (sdes)"
        );
        for ours in ALL {
            for theirs in
                [Described::Clear, Described::Sdes, Described::Keyless, Described::Dtls, Described::Other]
            {
                // the log cuts what is longer
                assert!(said(ours, theirs, true).len() < crate::base::LOG_TEXT_LIMIT);
            }
            let refused = MediaRefusal::AudioRefused { ours }.to_string();
            assert!(refused.len() < crate::base::LOG_TEXT_LIMIT, "{refused}");
            assert!(refused.contains(ours.name()) && refused.contains("allow"), "{refused}");
        }
    }
}
