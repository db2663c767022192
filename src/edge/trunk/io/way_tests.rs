//! Which place of a trunk a call goes to where some have no route, and from which address of ours.

use super::*;
use crate::base::Section;
use crate::call::port::OwnAddress;
use crate::sip::io::StackConfig;
use serde_json::json;

/// A dialer of one trunk, whose stack listens on an address of the loopback: nothing else can be reached from there.
fn dialer(more: serde_json::Value) -> (TrunkDialer, Arc<Trunk>) {
    let mut value = json!({"qualify": "off"});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let trunk = Arc::new(super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
    let listen = vec!["127.0.0.2:0".parse().unwrap()];
    let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
    let services = Services::default().with(sip);
    let dialer =
        TrunkDialer::new(vec![trunk.clone()], Bindings::default(), Legs::default(), &services).unwrap();
    (dialer, trunk)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_without_a_route_is_passed_over_for_the_next() {
    let (dialer, trunk) = dialer(json!({"hosts": ["192.0.2.1:5060", "127.0.0.1:9"]}));
    let (first, source, others) = dialer.destinations(CallId::from_bits(1), &trunk, None).await.unwrap();
    assert_eq!(first.hop.address.to_string(), "127.0.0.1:9");
    assert_eq!(source.to_string(), "127.0.0.2");
    assert!(others.destinations.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_without_a_route_is_unreachable_so_that_the_next_step_is_tried() {
    let (dialer, trunk) = dialer(json!({"host": "192.0.2.1"}));
    let lost = dialer.destinations(CallId::from_bits(1), &trunk, None).await;
    assert_eq!(lost.err(), Some(Cause::Unreachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn media_has_the_address_of_signalling_unless_another_is_written_or_none_is_known() {
    let own = |trunk: &Trunk, local: &str| {
        let way = Path { local: local.parse().unwrap(), remote: "127.0.0.1:9".parse().unwrap() };
        match trunk.profile(Vec::new(), way).media {
            MediaProfile::Rtp { own_address, .. } => own_address,
            other => panic!("{other:?}"),
        }
    };
    let (_, trunk) = dialer(json!({"host": "127.0.0.1:9"}));
    assert_eq!(own(&trunk, "10.0.0.100:5080"), OwnAddress::Signalling("10.0.0.100".parse().unwrap()));
    assert_eq!(own(&trunk, "[2001:db8::100]:5080"), OwnAddress::Signalling("2001:db8::100".parse().unwrap()));
    assert_eq!(own(&trunk, "0.0.0.0:5080"), OwnAddress::Towards);
    let (_, trunk) = dialer(json!({"host": "127.0.0.1:9", "media_address": "192.0.2.7"}));
    assert_eq!(own(&trunk, "127.0.0.1:5080"), OwnAddress::Fixed("192.0.2.7".parse().unwrap()));
}
