//! Recorded sound: a WAV file's samples, shared.

use std::fmt;
use std::sync::Arc;

/// Samples of a recording: 8,000 a second, one channel, 16 bits. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Recording(Arc<[i16]>);

/// Most seconds of a recording: it is kept in memory.
const MAX_SECONDS: usize = 600;
const RATE: u32 = 8_000;

/// Why a file is no recording that can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// It is no WAV file, or broken off.
    #[error("it is no WAV file; `sox IN -r 8000 -c 1 -b 16 OUT.wav` makes one")]
    NotWav,
    /// It is of another kind.
    #[error(
        "it must have one channel of 16 bits at 8000 Hz; `sox IN -r 8000 -c 1 -b 16 OUT.wav` makes it so"
    )]
    OtherFormat,
    /// It is empty or too long.
    #[error("it must last from 1 s to {MAX_SECONDS} s")]
    Length,
}

impl Recording {
    /// Reads a WAV file (RIFF, `fmt ` and `data` chunks, format 1: linear PCM).
    ///
    /// # Errors
    /// [`RecordingError`], with the remedy.
    pub fn from_wav(bytes: &[u8]) -> Result<Self, RecordingError> {
        let rest = bytes.strip_prefix(b"RIFF").and_then(|b| b.get(4..)).and_then(|b| b.strip_prefix(b"WAVE"));
        let mut rest = rest.ok_or(RecordingError::NotWav)?;
        let mut is_good = false;
        while let Some((head, tail)) = rest.split_first_chunk::<8>() {
            let [a, b, c, d, size @ ..] = *head;
            let size = usize::try_from(u32::from_le_bytes(size)).map_err(|_| RecordingError::NotWav)?;
            let body = tail.get(..size.min(tail.len())).unwrap_or_default();
            match [a, b, c, d] {
                [b'f', b'm', b't', b' '] => {
                    is_good = is_telephone(body);
                    if !is_good {
                        return Err(RecordingError::OtherFormat);
                    }
                }
                [b'd', b'a', b't', b'a'] if is_good => return Self::from_bytes(body),
                _ => {}
            }
            // chunks begin at even places
            rest = tail.get(size.saturating_add(size & 1)..).unwrap_or_default();
        }
        Err(RecordingError::NotWav)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, RecordingError> {
        let samples: Vec<i16> = bytes.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
        Self::from_samples(&samples)
    }

    /// Samples as they are.
    ///
    /// # Errors
    /// [`RecordingError::Length`].
    pub fn from_samples(samples: &[i16]) -> Result<Self, RecordingError> {
        let second = usize::try_from(RATE).unwrap_or(usize::MAX);
        let is_fit = (second..=second.saturating_mul(MAX_SECONDS)).contains(&samples.len());
        if is_fit { Ok(Self(samples.into())) } else { Err(RecordingError::Length) }
    }

    /// The sample at a place; after the end it begins anew.
    #[must_use]
    pub fn sample(&self, at: u32) -> i16 {
        let at = usize::try_from(at).unwrap_or(0).checked_rem(self.0.len()).unwrap_or(0);
        self.0.get(at).copied().unwrap_or(0)
    }
}

/// Whether a `fmt ` chunk says: linear PCM, one channel, 8,000 Hz, 16 bits.
fn is_telephone(body: &[u8]) -> bool {
    let word = |at: usize| body.get(at..at + 2)?.first_chunk::<2>().map(|b| u16::from_le_bytes(*b));
    let rate = body.get(4..8).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_le_bytes(*b));
    (word(0), word(2), rate, word(14)) == (Some(1), Some(1), Some(RATE), Some(16))
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording of {} samples", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(channels: u16, rate: u32, bits: u16, samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut fmt = Vec::new();
        fmt.extend(1_u16.to_le_bytes());
        fmt.extend(channels.to_le_bytes());
        fmt.extend(rate.to_le_bytes());
        fmt.extend((rate * 2).to_le_bytes());
        fmt.extend(2_u16.to_le_bytes());
        fmt.extend(bits.to_le_bytes());
        let chunk = |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_le_bytes(), body].concat();
        [b"RIFF\0\0\0\0WAVE".to_vec(), chunk(b"LIST", b"odd\0"), chunk(b"fmt ", &fmt), chunk(b"data", &data)]
            .concat()
    }

    #[test]
    fn a_telephone_recording_is_read_and_begins_anew_after_its_end() {
        let samples: Vec<i16> = (0..8_000).map(|n| n as i16).collect();
        let recording = Recording::from_wav(&wav(1, 8_000, 16, &samples)).unwrap();
        assert_eq!((recording.sample(0), recording.sample(7_999), recording.sample(8_001)), (0, 7_999, 1));
    }

    #[test]
    fn every_other_file_is_refused_with_a_remedy() {
        let second = vec![0; 8_000];
        let error = |bytes: &[u8]| Recording::from_wav(bytes).unwrap_err();
        assert_eq!(error(b"ID3"), RecordingError::NotWav);
        assert_eq!(error(b"RIFF\0\0\0\0WAVEdata"), RecordingError::NotWav);
        for (channels, rate, bits) in [(2, 8_000, 16), (1, 44_100, 16), (1, 8_000, 8)] {
            assert_eq!(error(&wav(channels, rate, bits, &second)), RecordingError::OtherFormat);
        }
        assert_eq!(error(&wav(1, 8_000, 16, &[1, 2, 3])), RecordingError::Length);
        let whole = wav(1, 8_000, 16, &second);
        (0..60).for_each(|n| assert!(Recording::from_wav(&whole[..n]).is_err(), "{n}"));
    }
}
