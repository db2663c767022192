//! Finds out where a trunk's PBX is now, and lets what is found pass without the budget of strangers.

use super::super::config::{Place, Trunk};
use super::super::targets::Target;
use crate::base::{Seed, Services};
use crate::net::dns::io::Resolver;
use crate::net::dns::{DnsConfig, Families, Located, Missing, Way, by_weight};
use crate::sip::io::SipStack;
use crate::sip::{Hop, Transport};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Most places of a trunk.
const MAX_TARGETS: usize = 32;

/// Finds trunks.
pub(super) struct Finder {
    pub(super) sip: Arc<SipStack>,
    resolver: Arc<Resolver>,
    seed: Mutex<Seed>,
}

impl Finder {
    /// With what the program shares; none without the SIP stack.
    pub(super) fn new(services: &Services) -> Option<Self> {
        let mut entropy = [0; 32];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut entropy);
        Some(Self {
            sip: services.get::<SipStack>()?,
            resolver: services
                .get::<Resolver>()
                .unwrap_or_else(|| Arc::new(Resolver::new(DnsConfig::default()))),
            seed: Mutex::new(Seed::from_bytes(entropy)),
        })
    }

    /// Randomness of its own for somebody.
    pub(super) fn fork_seed(&self) -> Seed {
        self.seed.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// The places of a trunk, in the order to try them now. The seed decides among equals. A name that cannot be looked up,
    /// or can be again, is told to the log once.
    ///
    /// # Errors
    /// DNS knows of none, or gives no answer and never gave one.
    pub(super) async fn find(&self, trunk: &Trunk, seed: Seed) -> Result<Vec<Target>, Lost> {
        let targets = self.look_up(trunk, seed).await?;
        let (new, gone, targets) = {
            let mut known = trunk.targets();
            let (new, gone) = known.locate(&targets);
            (new, gone, known.in_order(Instant::now(), targets))
        };
        for hop in new {
            self.sip.trust(hop.address.ip());
            self.sip.meet(hop).await;
        }
        gone.iter().for_each(|hop| self.sip.distrust(hop.address.ip()));
        Ok(targets)
    }

    async fn look_up(&self, trunk: &Trunk, mut seed: Seed) -> Result<Vec<Target>, Lost> {
        let families = Families::of(trunk.listening(&self.sip));
        let places: Vec<(usize, &Place)> = match &trunk.proxy {
            Some(proxy) => vec![(0, proxy)],
            None => {
                let things = trunk.places.iter().enumerate().map(|(at, p)| (p.priority, p.weight, (at, p)));
                by_weight(things.collect(), &mut seed).into_iter().map(|(_, place)| place).collect()
            }
        };
        // they are looked up side by side: one whose name server is gone shall not hold the others up
        let mut open = JoinSet::new();
        let mut found: Vec<(usize, usize, Result<Vec<Located>, Missing>)> = Vec::new();
        let names = places.iter().filter(|(_, place)| place.ip().is_none()).count();
        for (order, (at, place)) in places.into_iter().enumerate() {
            let (resolver, seed) = (self.resolver.clone(), seed.fork());
            let wanted = place.wanted(trunk.written_way(), families);
            if names <= 1 || place.ip().is_some() {
                found.push((order, at, resolver.locate(wanted, seed).await));
            } else {
                open.spawn(async move { (order, at, resolver.locate(wanted, seed).await) });
            }
        }
        while let Some(located) = open.join_next().await {
            found.extend(located.ok());
        }
        found.sort_by_key(|(order, ..)| *order);
        let mut targets: Vec<Target> = Vec::new();
        let mut failure = Lost { host: String::new(), why: Missing::Absent.to_string() };
        for (_, at, located) in found {
            let host = trunk.proxy.as_ref().or_else(|| trunk.places.get(at)).map_or("", |p| p.host.as_str());
            self.tell(trunk, host, &located);
            match located {
                Ok(located) => {
                    let target = |l: &Located| Target { hop: hop_of(trunk, l), place: at };
                    targets.extend(located.iter().map(target));
                }
                Err(why) => failure = Lost { host: host.to_owned(), why: self.resolver.explain(why) },
            }
        }
        let mut seen = BTreeSet::new();
        targets.retain(|t| seen.insert(t.hop));
        // which of too many are left out is no matter of chance
        let mut kept: Vec<Target> = targets.clone();
        kept.sort_by_key(|t| (t.place, t.hop));
        kept.truncate(MAX_TARGETS);
        targets.retain(|t| kept.contains(t));
        if targets.is_empty() { Err(failure) } else { Ok(targets) }
    }
}

/// A trunk's host that leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Its name.
    pub(super) host: String,
    /// What DNS says, or who does not answer.
    pub(super) why: String,
}

impl Finder {
    /// Tells the log what is new.
    fn tell(&self, trunk: &Trunk, host: &str, located: &Result<Vec<Located>, Missing>) {
        match (trunk.lookups().heard(host, located.as_ref().err().copied()), located) {
            (true, Err(missing)) => {
                let why = self.resolver.explain(*missing);
                warn!(trunk = trunk.name, host, why, "the trunk's host cannot be looked up");
            }
            (true, Ok(_)) => info!(trunk = trunk.name, host, "the trunk's host can be looked up again"),
            (false, _) => {}
        }
    }
}

fn hop_of(trunk: &Trunk, located: &Located) -> Hop {
    let transport = match located.way {
        Way::Udp => Transport::Udp,
        Way::Tcp => Transport::Tcp,
        // to nobody but who proves to be the trunk's PBX
        Way::Tls => trunk.way(),
    };
    Hop { transport, address: located.address }
}
