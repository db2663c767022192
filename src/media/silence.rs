//! Payloads of 20 ms of silence, for the side whose other side has no media: a PBX that hears nothing at all
//! ends the call.

use crate::call::port::Codec;

/// µ-law of zero (ITU-T G.711: all bits set).
const PCMU: [u8; 160] = [0xff; 160];
/// A-law of the smallest positive value (ITU-T G.711: even bits inverted).
const PCMA: [u8; 160] = [0xd5; 160];
/// G.722 (ITU-T G.722 §3): a lower band code whose four upper bits are all set, the one value that the inverse
/// adaptive quantizer takes for zero, so that no predictor learns from it; the upper band's smallest step.
/// It is also what an encoder at rest makes of its first zero.
const G722: [u8; 160] = [0xfd; 160];
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

    /// Level of samples in dBFS, full scale being a square wave; silence of all zeros is minus infinity.
    fn level(samples: impl Iterator<Item = f64>) -> f64 {
        let (sum, count) = samples.fold((0.0, 0.0), |(sum, count), s| (sum + s * s, count + 1.0));
        assert!(count >= 50.0 * 160.0, "50 packets were decoded");
        10.0 * (sum / count).log10()
    }

    fn g722_silence(decoder: &mut audio_codec::g722::G722Decoder) -> Vec<f64> {
        let decoded: Vec<i16> = (0..50).flat_map(|_| decoder.decode_frame(silence(Codec::G722))).collect();
        assert_eq!(decoded.len(), 50 * 320, "16 kHz");
        decoded.into_iter().map(|s| f64::from(s) / 32_768.0).collect()
    }

    #[test]
    fn fifty_packets_of_g722_silence_decode_to_less_than_minus_60_dbfs() {
        let level_db = level(g722_silence(&mut audio_codec::g722::G722Decoder::new()).into_iter());
        assert!(level_db < -60.0, "{level_db}");
    }

    #[test]
    fn after_a_loud_tone_fifty_packets_of_g722_silence_leave_nothing_that_sounds() {
        use audio_codec::Encoder;
        for hertz in [440.0, 3_000.0, 6_000.0] {
            let tone: Vec<i16> = (0..16_000)
                .map(|n| (20_000.0 * (f64::from(n) * hertz * std::f64::consts::TAU / 16_000.0).sin()) as i16)
                .collect();
            let mut decoder = audio_codec::g722::G722Decoder::new();
            let before = decoder.decode_frame(&audio_codec::g722::G722Encoder::new().encode(&tone));
            assert!(level(before.into_iter().map(|s| f64::from(s) / 32_768.0)) > -20.0, "it is loud");
            // the quantizers' steps fade within half a second
            (0..25).for_each(|_| drop(decoder.decode_frame(silence(Codec::G722))));
            let decoded = g722_silence(&mut decoder);
            let offset = decoded.iter().sum::<f64>() / 16_000.0;
            // a constant of 30 steps of 32,768 may stay, which nobody hears
            assert!(offset.abs() < 0.002, "{offset}");
            let level_db = level(decoded.into_iter().map(|s| s - offset));
            assert!(level_db < -60.0, "{hertz} Hz: {level_db}");
        }
    }

    #[test]
    fn fifty_packets_of_opus_silence_decode_to_less_than_minus_60_dbfs() {
        for channels in [1, 2] {
            let mut decoder = opus_rs::OpusDecoder::new(48_000, channels).unwrap();
            let mut decoded = Vec::new();
            for _ in 0..50 {
                let mut frame = vec![1.0_f32; 960 * channels];
                let count = decoder.decode(silence(Codec::Opus), 960, &mut frame).unwrap();
                assert_eq!(count, 960, "20 ms");
                decoded.extend(frame);
            }
            let level_db = level(decoded.into_iter().map(f64::from));
            assert!(level_db < -60.0, "{level_db}");
        }
    }
}
