//! A far side that holds the call, with music of its own and without.

use super::*;

impl World {
    /// Packets of our own making that left for the browser.
    fn played_to_browser(&mut self, until: Instant) -> usize {
        let before = self.stats[0].silence_out.get();
        self.outputs(until);
        (self.stats[0].silence_out.get() - before) as usize
    }
}

#[test]
fn who_is_held_by_a_far_side_that_sends_nothing_is_played_to_until_it_sends() {
    let mut world = world();
    let t0 = world.t0;
    let at = |ms: u64| t0 + Duration::from_millis(ms);
    assert!(matches!(world.pbx_sends(t0, 5), Verdict::Send(_)));
    world.worker.set_direction(t0, PBX, false, true).unwrap();
    world.worker.play(WEB, crate::media::tone::Program::Music).unwrap();
    world.outputs(t0);
    // what was on its way when the hold began is no music
    assert!(matches!(world.pbx_sends(at(40), 6), Verdict::Send(_)));
    assert_eq!(world.played_to_browser(at(900)), 0, "it may have music of its own");
    let played = world.played_to_browser(at(3_000));
    // looked at each quarter of a second: seen at 250 ms, mute a second later
    assert!((85..=90).contains(&played), "{played} packets from 1.25 s to 3 s");
    assert!(matches!(world.pbx_sends(at(3_005), 7), Verdict::Send(_)), "its first packet is heard");
    for n in 0..100_u64 {
        assert_eq!(world.played_to_browser(at(3_010 + 20 * n)), 0, "nothing is played beside its music");
        assert!(matches!(world.pbx_sends(at(3_010 + 20 * n), 8 + n), Verdict::Send(_)));
    }
    assert!(world.played_to_browser(at(8_000)) > 80, "its music ended");
    world.worker.set_direction(at(8_000), PBX, true, true).unwrap();
    assert_eq!(world.played_to_browser(at(9_000)), 0, "nothing is played to who is held no more");
}

#[test]
fn a_far_side_that_holds_and_sends_nothing_is_not_lost_and_counts_anew_when_it_comes_back() {
    let mut world = world();
    let t0 = world.t0;
    let at = |seconds: u64| t0 + Duration::from_secs(seconds);
    let lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().filter(|(o, _)| matches!(o, Output::Lost(PBX, _))).count()
    };
    world.worker.expect(t0, PBX).unwrap();
    world.worker.set_direction(t0, PBX, false, true).unwrap();
    assert!(matches!(world.pbx_sends(t0 + Duration::from_millis(40), 5), Verdict::Send(_)));
    assert_eq!(lost(world.outputs(at(300))), 0);
    world.worker.set_direction(at(300), PBX, true, true).unwrap();
    assert_eq!(lost(world.outputs(at(329))), 0);
    assert_eq!(lost(world.outputs(at(331))), 1);
}

#[test]
fn a_far_side_whose_music_on_hold_ends_is_lost_after_the_media_timeout() {
    let mut world = world();
    let t0 = world.t0;
    world.worker.expect(t0, PBX).unwrap();
    world.worker.set_direction(t0, PBX, false, true).unwrap();
    for n in 0..100 {
        let now = t0 + Duration::from_millis(20 * n);
        world.outputs(now);
        assert!(matches!(world.pbx_sends(now, n), Verdict::Send(_)));
    }
    let is_lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().any(|(o, _)| matches!(o, Output::Lost(PBX, Cause::MediaTimeout)))
    };
    assert!(!is_lost(world.outputs(t0 + Duration::from_secs(31))));
    assert!(is_lost(world.outputs(t0 + Duration::from_secs(33))));
}
