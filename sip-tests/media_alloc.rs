//! The packet path allocates nothing: after warm-up, RTP of both directions through sockets, SRTP and relay
//! costs the media thread no allocation and no release of memory, for each SRTP profile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: what cannot be had ends it"
)]

#[path = "media_rig.rs"]
mod rig;

use rig::Rig;
use sipedge::peer::SrtpProfile;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

struct Counting;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread's allocations are the test's own; media threads have it unset.
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    if IS_COUNTING.load(Ordering::SeqCst) && !IS_TEST.try_with(Cell::get).unwrap_or(true) {
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
}

#[expect(unsafe_code, reason = "an allocator that counts and hands on to the system's")]
// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn relaying_a_thousand_packets_each_way_allocates_nothing_in_the_media_thread() {
    IS_TEST.with(|t| t.set(true));
    use SrtpProfile::{AeadAes128Gcm, AeadAes256Gcm, AesCm128HmacSha1_32, AesCm128HmacSha1_80};
    // towards the browser, and towards the PBX where that leg is protected
    for (profile, pbx) in [
        (AesCm128HmacSha1_80, None),
        (AeadAes128Gcm, None),
        (AeadAes256Gcm, None),
        (AeadAes128Gcm, Some(AesCm128HmacSha1_80)),
        (AesCm128HmacSha1_80, Some(AesCm128HmacSha1_32)),
        (AeadAes128Gcm, Some(AeadAes128Gcm)),
    ] {
        let mut rig = Rig::start(profile, 4);
        if let Some(pbx) = pbx {
            rig.protect(pbx);
        }
        rig.exchange(200);
        // the counter sees the media thread: a command allocates there
        COUNT.store(0, Ordering::SeqCst);
        IS_COUNTING.store(true, Ordering::SeqCst);
        rig.add_idle_stream();
        assert!(COUNT.load(Ordering::SeqCst) > 0, "the counter is blind");
        rig.exchange(50);
        COUNT.store(0, Ordering::SeqCst);
        rig.exchange(1_000);
        IS_COUNTING.store(false, Ordering::SeqCst);
        assert_eq!(COUNT.load(Ordering::SeqCst), 0, "{profile:?} {pbx:?}");
        rig.stop();
    }
}
