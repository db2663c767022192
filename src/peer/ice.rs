//! The ICE agents of one association (RFC 8445), one for each address family, and our `UDPMux`.
//!
//! The crate's agents find and nominate a pair; answering, path binding and consent are `core`'s. They read
//! and write [`MemoryEnd`]s and are given STUN alone. One agent a family, because all candidates of an agent
//! share its mux connection and take each other's datagrams.
//!
//! An exception to "same inputs, same outputs": the crate has tasks, a clock and randomness of its own. Its
//! liveness timeouts are switched off (ten years), so wall-clock jumps change nothing.

use super::conn::{Engine, FromEngine, MemoryEnd};
use super::output::StartIce;
use super::{IceRole, LocalParameters, RemoteParameters};
use crate::base::Family;
use async_trait::async_trait;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::candidate_base::CandidateBaseConfig;
use webrtc_ice::candidate::candidate_host::CandidateHostConfig;
use webrtc_ice::candidate::{Candidate, CandidateType};
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::udp_mux::UDPMux;
use webrtc_ice::udp_network::UDPNetwork;
use webrtc_util::Conn;
use webrtc_util::vnet::interface::Interface;
use webrtc_util::vnet::net::Net;

/// Times either check interval of `core` this is more than its deadline.
const MAX_CHECKS: u16 = 3_000;
/// The agent's own liveness reads the wall clock and counts the wrong thing: consent is ours.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);
/// An agent that does not end within this time is left to its own tasks' end.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The running agents.
pub(crate) struct Agents(Vec<FamilyAgent>);

struct FamilyAgent {
    family: Family,
    end: Arc<MemoryEnd>,
    agent: Arc<Agent>,
    /// Dropped to end `dial` or `accept`.
    _running: mpsc::Sender<()>,
}

impl Agents {
    /// Starts an agent for each family we have an address of.
    ///
    /// # Errors
    /// What the crate says; nothing runs then.
    pub(crate) async fn start(
        local: &LocalParameters,
        remote: &RemoteParameters,
        how: &StartIce,
        out: &mpsc::Sender<FromEngine>,
    ) -> Result<Self, webrtc_ice::Error> {
        let mut agents = Self(Vec::new());
        for family in [Family::V4, Family::V6] {
            let Some(address) = local.addresses.iter().find(|a| Family::of(a.ip()) == family) else {
                continue;
            };
            match start_one(local, remote, how, family, *address, out).await {
                Ok(agent) => agents.0.push(agent),
                Err(error) => {
                    agents.close().await;
                    return Err(error);
                }
            }
        }
        Ok(agents)
    }

    /// A verified STUN message for the agent of its sender's family.
    pub(crate) fn deliver(&self, remote: SocketAddr, bytes: Vec<u8>) {
        let family = Family::of(remote.ip());
        if let Some(agent) = self.0.iter().find(|a| a.family == family) {
            agent.end.deliver(remote, bytes);
        }
    }

    /// Ends all agents and their tasks.
    pub(crate) async fn close(self) {
        for FamilyAgent { end, agent, .. } in self.0 {
            end.shut();
            let _ = tokio::time::timeout(CLOSE_LIMIT, agent.close()).await;
        }
    }
}

async fn start_one(
    local: &LocalParameters,
    remote: &RemoteParameters,
    how: &StartIce,
    family: Family,
    address: SocketAddr,
    out: &mpsc::Sender<FromEngine>,
) -> Result<FamilyAgent, webrtc_ice::Error> {
    let end = Arc::new(MemoryEnd::new(Engine::Ice, address, out.clone()));
    let network_type = if family == Family::V4 { NetworkType::Udp4 } else { NetworkType::Udp6 };
    let config = AgentConfig {
        udp_network: UDPNetwork::Muxed(Arc::new(Mux(Arc::clone(&end)))),
        local_ufrag: local.credentials.ufrag.clone(),
        local_pwd: local.credentials.pwd.expose().to_owned(),
        multicast_dns_mode: MulticastDnsMode::Disabled,
        disconnected_timeout: Some(NEVER),
        failed_timeout: Some(NEVER),
        keepalive_interval: Some(Duration::ZERO),
        network_types: vec![network_type],
        candidate_types: vec![CandidateType::Host],
        check_interval: how.check_interval,
        max_binding_requests: Some(MAX_CHECKS),
        is_controlling: how.role == IceRole::Controlling,
        host_acceptance_min_wait: Some(Duration::ZERO),
        prflx_acceptance_min_wait: Some(Duration::ZERO),
        // the agent is told of one interface with our address, and never asks the system
        net: Some(Arc::new(interface_with(address.ip())?)),
        include_loopback: true,
        ..AgentConfig::default()
    };
    let agent = Arc::new(Agent::new(config).await?);
    let (running, stop) = mpsc::channel(1);
    let started = FamilyAgent { family, end, agent: Arc::clone(&agent), _running: running };
    let result = prepare(&agent, remote, family, out);
    if let Err(error) = result {
        Agents(vec![started]).close().await;
        return Err(error);
    }
    let (ufrag, pwd) = (remote.credentials.ufrag.clone(), remote.credentials.pwd.expose().to_owned());
    let role = how.role;
    tokio::spawn(async move {
        // ends with a pair, or when `stop` closes; what it found is told by the handler
        let _ = match role {
            IceRole::Controlling => agent.dial(stop, ufrag, pwd).await.map(drop),
            IceRole::Controlled => agent.accept(stop, ufrag, pwd).await.map(drop),
        };
    });
    Ok(started)
}

fn prepare(
    agent: &Agent,
    remote: &RemoteParameters,
    family: Family,
    out: &mpsc::Sender<FromEngine>,
) -> Result<(), webrtc_ice::Error> {
    let selected = out.clone();
    agent.on_selected_candidate_pair_change(Box::new(move |_, theirs| {
        // a full queue means hundreds of unread datagrams; the deadline then ends the association
        let _ = selected.try_send(FromEngine::Selected { remote: theirs.addr() });
        Box::pin(std::future::ready(()))
    }));
    agent.on_candidate(Box::new(|_| Box::pin(std::future::ready(()))));
    agent.gather_candidates()?;
    for candidate in remote.candidates.iter().filter(|c| Family::of(c.ip()) == family) {
        // the type only orders pairs; what counts is the address
        let host = CandidateHostConfig {
            base_config: CandidateBaseConfig {
                network: "udp".to_owned(),
                address: candidate.ip().to_string(),
                port: candidate.port(),
                component: 1,
                ..CandidateBaseConfig::default()
            },
            ..CandidateHostConfig::default()
        };
        let candidate: Arc<dyn Candidate + Send + Sync> = Arc::new(host.new_candidate_host()?);
        agent.add_remote_candidate(&candidate)?;
    }
    Ok(())
}

fn interface_with(ip: IpAddr) -> Result<Net, webrtc_ice::Error> {
    let mask = match ip {
        IpAddr::V4(_) => IpAddr::from([255; 4]),
        IpAddr::V6(_) => IpAddr::from([255; 16]),
    };
    let address = Interface::convert(SocketAddr::new(ip, 0), Some(SocketAddr::new(mask, 0)))
        .map_err(|error| webrtc_ice::Error::Other(error.to_string()))?;
    Ok(Net::Ifs(vec![Interface::new("media".to_owned(), vec![address])]))
}

/// The one connection of an agent. Datagrams come by `core`, which knows whose they are, so there is nothing
/// to tell apart here.
struct Mux(Arc<MemoryEnd>);

#[async_trait]
impl UDPMux for Mux {
    async fn close(&self) -> Result<(), webrtc_util::Error> {
        self.0.shut();
        Ok(())
    }

    async fn get_conn(self: Arc<Self>, _: &str) -> Result<Arc<dyn Conn + Send + Sync>, webrtc_util::Error> {
        let conn: Arc<dyn Conn + Send + Sync> = Arc::<MemoryEnd>::clone(&self.0);
        Ok(conn)
    }

    async fn remove_conn_by_ufrag(&self, _: &str) {
        self.0.shut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Secret, Seed};
    use crate::peer::{Certificate, DtlsRole, IceCredentials};

    fn credentials(ufrag: &str) -> IceCredentials {
        IceCredentials { ufrag: ufrag.to_owned(), pwd: Secret::new("passwordpasswordpassword") }
    }

    #[tokio::test]
    async fn an_agent_that_is_closed_while_it_gathers_leaves_no_task() {
        let local = LocalParameters {
            credentials: credentials("ours"),
            certificate: Arc::new(Certificate::generate().unwrap()),
            profiles: Vec::new(),
            addresses: vec!["192.0.2.1:7000".parse().unwrap()],
            allow_loopback: false,
        };
        let remote = RemoteParameters {
            credentials: credentials("them"),
            fingerprints: Vec::new(),
            is_lite: false,
            candidates: vec!["192.0.2.2:5000".parse().unwrap()],
            dtls_role: DtlsRole::Client,
            ice_role: IceRole::Controlled,
        };
        let how = StartIce { role: IceRole::Controlled, check_interval: Duration::from_millis(10) };
        let (out, _engines) = mpsc::channel(8);
        let mut seed = Seed::from_number(1);
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        for _ in 0..100 {
            let agents = Agents::start(&local, &remote, &how, &out).await.unwrap();
            // anywhere in its first steps
            for _ in 0..seed.below(20) {
                tokio::task::yield_now().await;
            }
            agents.close().await;
        }
        let over = async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        let is_over = tokio::time::timeout(Duration::from_secs(5), over).await.is_ok();
        assert!(is_over, "{} tasks are left", tasks() - before);
    }
}
