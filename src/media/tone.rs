//! What sipedge plays by itself: silence, the line-up tone, the tones of keys, music, recordings. Pure; one [`Player`] belongs to
//! one stream and makes a packet's payload when its timer asks for one. Nothing is allocated for that.
//!
//! Sounds are made at 8,000 Hz for G.711; a stream of another codec gets silence until there is a transcoder.

use super::codec::g711;
use super::silence::silence;
use crate::base::{Digit, Recording};
use crate::call::port::Codec;
use std::f64::consts::TAU;

/// Samples of a packet of 20 ms.
const FRAME: usize = 160;
const RATE: u32 = 8_000;
/// A sine of full scale is +3.17 dBm0 in µ-law (ITU-T G.711): -16 dBm0 is 19.17 dB below it.
const TONE_PEAK: f64 = 3_604.0;
const TONE_HERTZ: u16 = 1_004;
/// Each of the two tones of a key: -13 dBm0, well above what receivers must take (ITU-T Q.24).
const KEY_PEAK: f64 = 5_090.0;
/// Packets that a key sounds, and that are silent after it.
const KEY_FRAMES: u32 = 10;
const GAP_FRAMES: u32 = 4;
/// Keys that may wait to be played; more are not.
const KEYS_MAX: usize = 32;

/// What a stream gets while nobody is heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Program {
    /// Silence.
    #[default]
    Silence,
    /// 1,004 Hz at -16 dBm0.
    Tone,
    /// The tones of the keys its far side presses, else silence.
    Keys,
    /// Music.
    Music,
    /// A recording, over and over.
    Recording(Recording),
}

/// Plays a program.
#[derive(Debug)]
pub struct Player {
    program: Program,
    /// Samples since the program began.
    at: u32,
    keys: Vec<Digit>,
    /// Packets of the first key that were played.
    played: u32,
}

impl Default for Player {
    fn default() -> Self {
        Self { program: Program::Silence, at: 0, keys: Vec::with_capacity(KEYS_MAX), played: 0 }
    }
}

impl Player {
    /// Plays another program, from its beginning; the same one goes on.
    pub fn set(&mut self, program: Program) {
        if self.program != program {
            self.program = program;
            self.at = 0;
            self.played = 0;
            self.keys.clear();
        }
    }

    /// The far side pressed a key.
    pub fn press(&mut self, digit: Digit) {
        if self.program == Program::Keys && self.keys.len() < KEYS_MAX {
            self.keys.push(digit);
        }
    }

    /// The payload of the next packet, in `room` or elsewhere.
    pub fn frame<'a>(&mut self, codec: Codec, room: &'a mut [u8; FRAME]) -> &'a [u8] {
        let encode = match codec {
            Codec::Pcmu => g711::to_ulaw,
            Codec::Pcma => g711::to_alaw,
            Codec::G722 | Codec::Opus => return silence(codec),
        };
        let at = self.at;
        self.at = self.at.wrapping_add(RATE / 50);
        let key = self.next_key();
        let sample = |n: u32| match (&self.program, key) {
            (Program::Tone, _) => TONE_PEAK * sine(TONE_HERTZ, n),
            (Program::Keys, Some(digit)) => {
                let (low, high) = digit.tones();
                KEY_PEAK * (sine(low, n) + sine(high, n))
            }
            (Program::Music, _) => music(n),
            (Program::Recording(recording), _) => f64::from(recording.sample(n)),
            (Program::Silence | Program::Keys, _) => 0.0,
        };
        if self.program == Program::Silence || (self.program == Program::Keys && key.is_none()) {
            return silence(codec);
        }
        for (n, byte) in (at..).zip(room.iter_mut()) {
            *byte = encode(to_sample(sample(n)));
        }
        room
    }

    /// The key that sounds in this packet; its pause after it.
    fn next_key(&mut self) -> Option<Digit> {
        let digit = self.keys.first().copied()?;
        let sounds = self.played < KEY_FRAMES;
        self.played += 1;
        if self.played >= KEY_FRAMES + GAP_FRAMES {
            self.played = 0;
            self.keys.remove(0);
        }
        sounds.then_some(digit)
    }
}

/// A sine of a whole number of Hz at sample `n`: it repeats every second, so no phase is lost.
fn sine(hertz: u16, n: u32) -> f64 {
    let turns = u64::from(hertz) * u64::from(n % RATE) % u64::from(RATE);
    (TAU * f64::from(u32::try_from(turns).unwrap_or(0)) / f64::from(RATE)).sin()
}

#[allow(clippy::cast_possible_truncation, reason = "clamped to the range of the type")]
fn to_sample(value: f64) -> i16 {
    value.clamp(-32_767.0, 32_767.0) as i16
}

/// Samples of one note.
const NOTE: u32 = 2_400;
/// A broken chord a bar, four bars: C, A minor, F, G.
const MELODY: [u16; 32] = [
    523, 659, 784, 659, 1_047, 784, 659, 784, 440, 523, 659, 523, 880, 659, 523, 659, 349, 440, 523, 440,
    698, 523, 440, 523, 392, 494, 587, 494, 784, 587, 494, 587,
];
const BASS: [u16; 4] = [131, 110, 175, 196];

/// Soft plucked notes over a bass, at about -20 dBm0; the value of sample `n`.
fn music(n: u32) -> f64 {
    let note = n / NOTE;
    let pick =
        |list: &[u16], at: u32| list.get(usize::try_from(at).unwrap_or(0) % list.len().max(1)).copied();
    let melody = pick(&MELODY, note % 32).unwrap_or(523);
    let bass = pick(&BASS, note / 8 % 4).unwrap_or(131);
    let (into_note, into_bar) = (f64::from(n % NOTE), f64::from(n % (8 * NOTE)));
    // a rise of 10 ms against clicks, then a decay
    let envelope = |t: f64, decay: f64| (t / 80.0).min(1.0) * (-t / decay).exp();
    let pluck = sine(melody, n) + 0.3 * sine(melody.saturating_mul(2), n);
    let ground = sine(bass, n) + 0.2 * sine(bass.saturating_mul(3), n);
    2_600.0 * envelope(into_note, 1_600.0) * pluck + 1_500.0 * envelope(into_bar, 16_000.0) * ground
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio_codec::{Decoder, pcma::PcmaDecoder, pcmu::PcmuDecoder};

    fn play(player: &mut Player, codec: Codec, frames: usize) -> Vec<f64> {
        let bytes: Vec<u8> =
            (0..frames).flat_map(|_| player.frame(codec, &mut [0; FRAME]).to_vec()).collect();
        let decoded = if codec == Codec::Pcmu {
            PcmuDecoder::new().decode(&bytes)
        } else {
            PcmaDecoder::new().decode(&bytes)
        };
        decoded.into_iter().map(f64::from).collect()
    }

    /// Power of one frequency, by Goertzel's sum, as a part of the whole.
    fn share(samples: &[f64], hertz: f64) -> f64 {
        let sum = |f: fn(f64) -> f64| {
            samples.iter().enumerate().map(|(n, s)| s * f(TAU * hertz * n as f64 / 8_000.0)).sum::<f64>()
        };
        let power: f64 = samples.iter().map(|s| s * s).sum::<f64>() * samples.len() as f64 / 2.0;
        (sum(f64::cos).powi(2) + sum(f64::sin).powi(2)) / power.max(1.0)
    }

    fn level_dbm0(samples: &[f64]) -> f64 {
        let mean = samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64;
        10.0 * (mean / (32_124.0_f64.powi(2) / 2.0)).log10() + 3.17
    }

    #[test]
    fn the_tone_is_1004_hz_at_minus_16_dbm0_without_a_break_between_packets() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut player = Player::default();
            player.set(Program::Tone);
            let samples = play(&mut player, codec, 500);
            assert!(share(&samples, 1_004.0) > 0.99, "{}", share(&samples, 1_004.0));
            let level = level_dbm0(&samples);
            assert!((-16.3..=-15.7).contains(&level), "{level}");
        }
    }

    #[test]
    fn a_key_is_played_as_its_two_tones_once_and_then_there_is_silence() {
        let mut player = Player::default();
        player.set(Program::Keys);
        player.press(Digit::from_char('5').unwrap());
        player.press(Digit::from_char('#').unwrap());
        let samples = play(&mut player, Codec::Pcmu, 40);
        let key = |from: usize| &samples[from * FRAME..(from + 10) * FRAME];
        assert!(share(key(0), 770.0) + share(key(0), 1_336.0) > 0.97);
        assert!(share(key(14), 941.0) + share(key(14), 1_477.0) > 0.97);
        assert!(samples[10 * FRAME..14 * FRAME].iter().chain(&samples[28 * FRAME..]).all(|s| *s == 0.0));
    }

    #[test]
    fn more_keys_than_can_wait_are_not_played_and_cost_nothing() {
        let mut player = Player::default();
        player.press(Digit::from_char('1').unwrap());
        assert!(player.keys.is_empty(), "only the program of keys takes them");
        player.set(Program::Keys);
        (0..1_000).for_each(|_| player.press(Digit::from_char('1').unwrap()));
        assert_eq!((player.keys.len(), player.keys.capacity()), (KEYS_MAX, KEYS_MAX));
    }

    #[test]
    fn music_is_heard_and_neither_clips_nor_stops() {
        let mut player = Player::default();
        player.set(Program::Music);
        let samples = play(&mut player, Codec::Pcmu, 50 * 12);
        assert!(samples.iter().all(|s| s.abs() < 12_000.0));
        for second in samples.chunks(8_000) {
            let level = level_dbm0(second);
            assert!((-32.0..=-14.0).contains(&level), "{level}");
        }
    }

    #[test]
    fn a_recording_is_played_over_and_over() {
        let tone: Vec<i16> = (0..8_000).map(|n| to_sample(5_000.0 * sine(440, n))).collect();
        let mut player = Player::default();
        player.set(Program::Recording(Recording::from_samples(&tone).unwrap()));
        let samples = play(&mut player, Codec::Pcma, 125);
        assert!(share(&samples, 440.0) > 0.99);
    }

    #[test]
    fn other_codecs_get_their_silence() {
        let mut player = Player::default();
        player.set(Program::Music);
        for codec in [Codec::G722, Codec::Opus] {
            assert_eq!(player.frame(codec, &mut [0; FRAME]), silence(codec));
        }
    }
}
