//! Tests of the guards; the handshake messages are built by hand after RFC 6347 §4.2.2, or are those of a real
//! browser.

use super::*;
use crate::base::Seed;

const FIREFOX: [&[u8]; 4] = [
    include_bytes!("../../sip-tests/data/browser-hellos/firefox-153_clienthello_1_1408B.bin"),
    include_bytes!("../../sip-tests/data/browser-hellos/firefox-153_clienthello_2_103B.bin"),
    include_bytes!("../../sip-tests/data/browser-hellos/firefox-153_clienthello_3_1408B.bin"),
    include_bytes!("../../sip-tests/data/browser-hellos/firefox-153_clienthello_4_123B.bin"),
];

fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0xfe, 0xfd];
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A fragment with this many bytes really there.
fn fragment(kind: u8, len: u32, sequence: u16, offset: u32, claimed: u32, there: usize) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&len.to_be_bytes()[1..]);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes()[1..]);
    bytes.extend_from_slice(&claimed.to_be_bytes()[1..]);
    bytes.resize(bytes.len() + there, 0xAA);
    bytes
}

fn verdict_as(role: DtlsRole, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
    RecordGuard::new(role).filter(datagram)
}

fn verdict(datagram: &[u8]) -> Result<Vec<u8>, Refused> {
    verdict_as(DtlsRole::Client, datagram)
}

#[test]
fn a_browsers_hello_in_two_datagrams_passes_unchanged_in_both_orders() {
    for order in [[0, 1, 2, 3], [1, 0, 3, 2]] {
        let mut guard = RecordGuard::new(DtlsRole::Server);
        for i in order {
            assert_eq!(guard.filter(FIREFOX[i]).unwrap(), FIREFOX[i], "{order:?} {i}");
        }
        assert_eq!(guard.refused(), 0);
    }
}

#[test]
fn a_plaintext_alert_application_data_and_a_strange_change_cipher_spec_are_refused() {
    assert_eq!(verdict(&record(21, 0, &[2, 40])), Err(Refused::OutOfPlace));
    assert_eq!(verdict(&record(23, 0, b"hello")), Err(Refused::OutOfPlace));
    assert_eq!(verdict(&record(20, 0, &[2])), Err(Refused::OutOfPlace));
    assert_eq!(verdict(&record(20, 0, &[1, 1])), Err(Refused::OutOfPlace));
    assert_eq!(verdict(&record(99, 0, &[1])), Err(Refused::OutOfPlace));
    assert!(verdict(&record(20, 0, &[1])).is_ok());
}

#[test]
fn a_bad_record_does_not_take_a_good_one_with_it() {
    let good = record(20, 0, &[1]);
    let mut datagram = record(21, 0, &[2, 40]);
    datagram.extend_from_slice(&good);
    assert_eq!(verdict(&datagram).unwrap(), good);
}

#[test]
fn records_of_other_versions_lengths_and_epochs_are_refused() {
    let mut tls = record(22, 0, &fragment(14, 0, 0, 0, 0, 0));
    tls[1] = 3;
    assert_eq!(verdict(&tls), Err(Refused::Malformed));
    let good = record(22, 0, &fragment(14, 0, 0, 0, 0, 0));
    for cut in 0..good.len() {
        assert!(verdict(&good[..cut]).is_err(), "{cut}");
    }
    assert_eq!(verdict(&record(22, 2, &[0; 48])), Err(Refused::OutOfPlace));
    assert_eq!(verdict(&record(22, 0, &[])), Err(Refused::Malformed));
}

#[test]
fn a_message_that_the_far_side_never_sends_in_its_role_is_refused_rfc5246_7_4() {
    for (role, sends) in [
        (DtlsRole::Server, [1, 11, 15, 16].as_slice()),
        (DtlsRole::Client, [2, 3, 11, 12, 13, 14].as_slice()),
    ] {
        for kind in 0..=255 {
            let expected = if sends.contains(&kind) { Ok(()) } else { Err(Refused::OutOfPlace) };
            let whole = record(22, 0, &fragment(kind, 40, 1, 0, 40, 40));
            assert_eq!(verdict_as(role, &whole).map(drop), expected, "{role:?} {kind}");
            for (offset, len) in [(0, 100), (100, 100), (480, 20)] {
                let part = record(22, 0, &fragment(kind, 500, 1, offset, len, len as usize));
                assert_eq!(verdict_as(role, &part).map(drop), expected, "{role:?} {kind} at {offset}");
            }
            // whatever it is, it cannot be seen in an encrypted record
            assert!(verdict_as(role, &record(22, 1, &fragment(kind, 40, 1, 0, 40, 40))).is_ok(), "{kind}");
        }
        let hello_request = record(22, 0, &fragment(0, 0, 0, 0, 0, 0));
        assert_eq!(verdict_as(role, &hello_request), Err(Refused::OutOfPlace), "{role:?}");
    }
    let done = record(22, 0, &fragment(14, 0, 1, 0, 0, 0));
    assert_eq!(verdict_as(DtlsRole::Server, &done), Err(Refused::OutOfPlace));
    assert!(verdict_as(DtlsRole::Client, &done).is_ok());
}

#[test]
fn one_impossible_message_takes_its_record_with_it_and_leaves_no_trace() {
    let (good, bad) = (fragment(11, 40, 1, 0, 40, 40), fragment(14, 0, 2, 0, 0, 0));
    let mut guard = RecordGuard::new(DtlsRole::Server);
    for messages in [[good.clone(), bad.clone()], [bad, good]] {
        let forged = record(22, 0, &messages.concat());
        assert_eq!(guard.filter(&forged), Err(Refused::OutOfPlace));
        let mut datagram = forged;
        let honest = record(22, 0, &fragment(11, 60, 1, 0, 60, 60));
        datagram.extend_from_slice(&honest);
        assert_eq!(guard.filter(&datagram).unwrap(), honest, "the number 1 is still free for it");
    }
    assert_eq!(guard.refused(), 4);
}

#[test]
fn a_key_exchange_too_short_to_be_one_is_refused() {
    let told = [0x0c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(verdict(&record(22, 0, &told)), Err(Refused::KeyExchange));
    for (role, kind) in [(DtlsRole::Client, 12), (DtlsRole::Server, 16)] {
        for len in 0..4 {
            let message = fragment(kind, len, 1, 0, len, len as usize);
            assert_eq!(verdict_as(role, &record(22, 0, &message)), Err(Refused::KeyExchange), "{kind} {len}");
        }
        assert!(verdict_as(role, &record(22, 0, &fragment(kind, 33, 1, 0, 33, 33))).is_ok());
    }
}

#[test]
fn the_crash_file_of_the_older_crate_is_refused() {
    let file = include_bytes!("../../sip-tests/data/crate-panics/webrtc-dtls-0.12.0_ske_12B.bin");
    assert!(verdict(&record(22, 0, file)).is_err());
    assert!(verdict(file).is_err());
}

#[test]
fn fragments_that_claim_another_length_than_they_have_are_refused() {
    assert_eq!(verdict(&record(22, 0, &fragment(11, 500, 1, 0, 100, 99))), Err(Refused::Fragment));
    assert_eq!(verdict(&record(22, 0, &fragment(11, 500, 1, 0, 100, 101))), Err(Refused::Fragment));
    assert_eq!(verdict(&record(22, 0, &fragment(11, 50, 1, 0, 50, 49))), Err(Refused::Fragment));
    assert_eq!(verdict(&record(22, 0, &fragment(11, 500, 1, 450, 100, 100))), Err(Refused::Fragment));
    assert!(verdict(&record(22, 0, &fragment(11, 500, 1, 0, 100, 100))).is_ok());
}

#[test]
fn small_fragments_pass_only_as_the_end_of_their_message() {
    assert_eq!(verdict(&record(22, 0, &fragment(11, 500, 1, 0, 63, 63))), Err(Refused::Fragment));
    assert_eq!(verdict(&record(22, 0, &fragment(11, 500, 1, 0, 0, 0))), Err(Refused::Fragment));
    assert_eq!(verdict(&record(22, 0, &fragment(11, 500, 1, 500, 0, 0))), Err(Refused::Fragment));
    assert!(verdict(&record(22, 0, &fragment(11, 500, 1, 480, 20, 20))).is_ok());
    assert!(verdict(&record(22, 0, &fragment(11, 500, 1, 0, 64, 64))).is_ok());
}

#[test]
fn fragments_of_one_message_must_agree_on_its_type_and_length() {
    let mut guard = RecordGuard::new(DtlsRole::Client);
    guard.filter(&record(22, 0, &fragment(11, 500, 1, 0, 100, 100))).unwrap();
    let other_type = record(22, 0, &fragment(12, 500, 1, 100, 400, 400));
    let other_length = record(22, 0, &fragment(11, 300, 1, 100, 200, 200));
    assert_eq!(guard.filter(&other_type), Err(Refused::Fragment));
    assert_eq!(guard.filter(&other_length), Err(Refused::Fragment));
    assert!(guard.filter(&record(22, 0, &fragment(11, 500, 1, 100, 400, 400))).is_ok());
}

#[test]
fn a_handshake_gets_256_datagrams_and_256_kib() {
    let mut guard = RecordGuard::new(DtlsRole::Client);
    let small = record(20, 0, &[1]);
    assert_eq!((0..300).filter(|_| guard.filter(&small).is_ok()).count(), 256);
    let mut guard = RecordGuard::new(DtlsRole::Client);
    let mut large = record(22, 0, &fragment(11, 16_000, 1, 0, 16_000, 16_000));
    large.extend_from_slice(&small);
    let passed = (0..300).filter(|_| guard.filter(&large).is_ok()).count();
    assert_eq!(passed, 256 * 1024 / large.len());
}

#[test]
fn encrypted_records_are_bounded_in_size_and_number() {
    assert!(verdict(&record(22, 1, &[0; 48])).is_ok());
    assert_eq!(verdict(&record(22, 1, &[0; 200])), Err(Refused::OutOfPlace));
    assert_eq!(verdict(&record(23, 1, &[0; 48])), Err(Refused::OutOfPlace));
    let mut guard = RecordGuard::new(DtlsRole::Client);
    let many = record(22, 1, &[0; 48]).repeat(20);
    let passed: usize = (0..100).filter_map(|_| guard.filter(&many).ok()).map(|b| b.len() / 61).sum();
    assert_eq!(passed, 300);
}

#[test]
fn the_last_flight_is_repeated_when_asked_for_and_at_most_every_twenty_milliseconds() {
    let t0 = Instant::now();
    let mut flight = LastFlight::default();
    flight.record(&record(22, 0, &[1]));
    let (ccs, finished) = (record(20, 0, &[1]), record(22, 1, &[0; 48]));
    flight.record(&ccs);
    flight.record(&finished);
    let asks = record(22, 0, &[0; 20]);
    assert!(flight.repeat(t0, &record(21, 1, &[0; 26])).is_empty(), "an alert does not ask");
    assert!(flight.repeat(t0, &record(23, 1, &[0; 26])).is_empty());
    assert_eq!(flight.repeat(t0, &asks), [ccs.clone(), finished.clone()]);
    assert!(flight.repeat(t0 + Duration::from_millis(19), &asks).is_empty());
    assert_eq!(flight.repeat(t0 + Duration::from_millis(20), &asks), [ccs, finished]);
}

/// What passes is bytes the engine can parse: every message that fits one record goes through the crate's own
/// parser here, whose panics would fail the test.
#[test]
fn random_records_never_panic_neither_here_nor_in_the_engine_behind() {
    let mut seed = Seed::from_number(6347);
    let mut passed = 0_u32;
    for round in 0..120_000_u32 {
        let mut datagram = if round % 3 == 0 {
            FIREFOX[seed.below(4) as usize].to_vec()
        } else {
            let kind = [1, 2, 3, 11, 12, 13, 14, 15, 16, 20][seed.below(10) as usize];
            let len = seed.below(80) as u32;
            record(22, 0, &fragment(kind, len, seed.below(6) as u16, 0, len, len as usize))
        };
        for _ in 0..seed.below(6) {
            // not the header of the record alone: most changes shall reach the messages
            let at = seed.below(datagram.len() as u64) as usize;
            datagram[at] = seed.next_u32() as u8;
        }
        let role = if round % 2 == 0 { DtlsRole::Server } else { DtlsRole::Client };
        let Ok(bytes) = verdict_as(role, &datagram) else { continue };
        passed += 1;
        let mut rest = bytes.as_slice();
        while let Some((one, tail)) = split_record(rest) {
            let body = &one[RECORD_HEADER_LEN..];
            let whole = body.len() >= 12 && body[1..4] == body[9..12];
            if one[0] == 22 && one[3..5] == [0, 0] && whole {
                let len = u32::from_be_bytes([0, body[1], body[2], body[3]]) as usize;
                let _ = webrtc_dtls::handshake::Handshake::unmarshal(&mut &body[..12 + len]);
            }
            rest = tail;
        }
    }
    assert!(passed > 20_000, "{passed}");
}
