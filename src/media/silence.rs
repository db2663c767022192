//! Payloads of 20 ms of silence, for the side whose other side has no media: a PBX that hears nothing at all
//! ends the call.

use crate::call::port::Codec;

/// µ-law of zero (ITU-T G.711: all bits set).
const PCMU: [u8; 160] = [0xff; 160];
/// A-law of the smallest positive value (ITU-T G.711: even bits inverted).
const PCMA: [u8; 160] = [0xd5; 160];
/// G.722 with both predictors at rest: the code words of the smallest step of either band.
const G722: [u8; 160] = [0xfa; 160];
/// Opus, CELT mode, fullband, mono, one frame of 20 ms (RFC 6716 §3.1: configuration 31) that codes silence
/// (§4.3: the silence flag, first symbol of the frame, is set by all ones).
const OPUS: [u8; 3] = [0xf8, 0xff, 0xfe];

/// The payload of one packet of silence.
#[must_use]
pub const fn silence(codec: Codec) -> &'static [u8] {
    match codec {
        Codec::Pcmu => &PCMU,
        Codec::Pcma => &PCMA,
        Codec::G722 => &G722,
        Codec::Opus => &OPUS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G.711 µ-law and A-law expansion, after the tables of ITU-T G.191.
    fn expand(codec: Codec, byte: u8) -> i32 {
        if codec == Codec::Pcmu {
            let inverted = !byte;
            let magnitude = ((i32::from(inverted & 0x0f) * 8 + 0x84) << ((inverted >> 4) & 7)) - 0x84;
            return if inverted & 0x80 == 0 { magnitude } else { -magnitude };
        }
        let even = byte ^ 0x55;
        let (exponent, mantissa) = ((even >> 4) & 7, i32::from(even & 0x0f) << 4);
        let magnitude =
            if exponent == 0 { mantissa + 8 } else { (mantissa + 0x108) << (i32::from(exponent) - 1) };
        if even & 0x80 == 0 { -magnitude } else { magnitude }
    }

    #[test]
    fn silence_of_g711_expands_to_the_smallest_value_for_20_ms() {
        assert_eq!(silence(Codec::Pcmu).len(), 160);
        assert!(silence(Codec::Pcmu).iter().all(|b| expand(Codec::Pcmu, *b) == 0));
        assert!(silence(Codec::Pcma).iter().all(|b| expand(Codec::Pcma, *b) == 8));
    }

    #[test]
    fn silence_of_opus_is_one_frame_of_20_ms_rfc6716_3_1() {
        let toc = silence(Codec::Opus)[0];
        assert_eq!((toc >> 3, toc & 3), (31, 0), "CELT fullband 20 ms, one frame");
    }
}
