//! G.711 (ITU-T G.711): 16-bit samples to µ-law and A-law.

/// Added before the segment is looked for, so that each segment begins at a power of two (G.711 table 2a).
const BIAS: i32 = 0x84;
/// Largest magnitude that µ-law can say, on the scale of 16 bits.
const CLIP: i32 = 32_635;

/// One sample in µ-law.
#[must_use]
pub fn to_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let segment = 24 - magnitude.leading_zeros(); // 7 for the highest: bit 14 is set
    !(sign | low_byte(segment << 4) | low_nibble(magnitude >> (segment + 3)))
}

/// One sample in A-law.
#[must_use]
pub fn to_alaw(sample: i16) -> u8 {
    // negative values are one's complements: the code has no second zero
    let (sign, magnitude) = if sample < 0 { (0, !i32::from(sample)) } else { (0x80, i32::from(sample)) };
    let code = if magnitude < 0x100 {
        low_nibble(magnitude >> 4)
    } else {
        let segment = 24 - magnitude.leading_zeros();
        low_byte(segment << 4) | low_nibble(magnitude >> (segment + 3))
    };
    (sign | code) ^ 0x55
}

const fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

const fn low_nibble(value: i32) -> u8 {
    value.to_le_bytes()[0] & 0x0f
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio_codec::{Decoder, pcma::PcmaDecoder, pcmu::PcmuDecoder};

    fn error(decoded: i16, sample: i16) -> i32 {
        (i32::from(decoded) - i32::from(sample)).abs()
    }

    /// Half a step of the segment a sample is in; the first step of A-law is whole.
    fn allowed(sample: i16) -> i32 {
        let magnitude = i32::from(sample).abs() + 0x84;
        (magnitude >> 4).max(16)
    }

    #[test]
    fn an_independent_decoder_gives_every_sample_back_within_a_step() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let ulaw: Vec<u8> = samples.iter().map(|s| to_ulaw(*s)).collect();
        let alaw: Vec<u8> = samples.iter().map(|s| to_alaw(*s)).collect();
        let decoded = [PcmuDecoder::new().decode(&ulaw), PcmaDecoder::new().decode(&alaw)];
        for decoded in decoded {
            assert_eq!(decoded.len(), samples.len());
            for (d, s) in decoded.iter().zip(&samples) {
                assert!(error(*d, *s) <= allowed(*s), "{s} became {d}");
            }
        }
    }

    #[test]
    fn zero_and_the_ends_have_the_codes_of_the_recommendation() {
        assert_eq!((to_ulaw(0), to_ulaw(i16::MAX), to_ulaw(i16::MIN)), (0xff, 0x80, 0x00));
        assert_eq!((to_alaw(0), to_alaw(i16::MAX), to_alaw(i16::MIN)), (0xd5, 0xaa, 0x2a));
    }
}
