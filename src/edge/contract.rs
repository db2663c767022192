//! What an edge is. Adding one = its folder, its `mod` line and its row in `edge/mod.rs`.

use crate::base::{Fault, Section, Services};
use crate::call::io::{Dialer, Switch};
use crate::registry::Registry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How a table of the configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `[name]`.
    One(&'static str),
    /// `[name.this]`, `[name.that]`.
    Named(&'static str),
}

/// Judges an edge's sections: what is good to start, or all that is wrong.
pub type Prepare = fn(&[Section]) -> Result<Box<dyn Prepared>, Vec<Fault>>;

/// A row of the table of edges.
pub struct Edge {
    /// Its name: in routes, logs and metrics.
    pub name: &'static str,
    /// Its table in the configuration.
    pub table: Table,
    /// Judges its sections (one for [`Table::One`], any number for [`Table::Named`]).
    pub prepare: Prepare,
    /// Its part of the OpenAPI description, if it serves HTTP: an object of `paths` and `components`.
    pub openapi: Option<&'static str>,
}

/// A PBX whose configuration can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pbx {
    /// Asterisk's pjsip.conf.
    Asterisk,
    /// Asterisk's pjsip_wizard.conf.
    AsteriskWizard,
    /// FreeSWITCH's gateway, dialplan and directory.
    FreeSwitch,
}

/// Where requests for a target go, as it is written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// The key that says it.
    pub key: &'static str,
    /// Address or name.
    pub host: String,
    /// With its port, where it is written as an address.
    pub address: Option<SocketAddr>,
}

impl Whereabouts {
    /// Whether it is another machine, as far as can be told without asking anybody.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let is_here = self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        !is_here
    }
}

/// What an edge works with.
#[derive(Clone)]
pub struct EdgeContext {
    /// Starts calls.
    pub switch: Switch,
    /// Accounts, routes, limits.
    pub registry: Arc<Registry>,
    /// What the program shares, by type.
    pub services: Services,
}

/// An edge whose configuration is good.
pub trait Prepared: Send {
    /// What routes can name behind the edge's name: `to = "edge.this"`.
    fn targets(&self) -> Vec<String>;

    /// What must be so for a target to be reached, where that is not known from the configuration; for people.
    fn condition(&self, _target: &str) -> Option<&'static str> {
        None
    }

    /// The host of a target, where it is known from the configuration.
    fn host(&self, _target: &str) -> Option<String> {
        None
    }

    /// Where requests for a target go: one place or several, none where that is not known from the configuration.
    fn whereabouts(&self, _target: &str) -> Vec<Whereabouts> {
        Vec::new()
    }

    /// The addresses of ours that a target beyond a NAT is told, at most one of each IP version; none where there is no NAT.
    fn external(&self, _target: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    /// Whether we and a target reach each other by TLS, at our address for it.
    fn is_by_tls(&self, _target: &str) -> bool {
        false
    }

    /// The other end of a target, as the configuration of that PBX, where it is one; `ours` is where it reaches us,
    /// `HOST:PORT`, and `lines` are the users that accounts have there.
    ///
    /// # Errors
    /// Why there is none, with a remedy.
    fn pbx_end(&self, target: &str, _pbx: Pbx, _ours: &str, _lines: &[&str]) -> Result<String, String> {
        Err(format!("trunk.{target} has no such end"))
    }

    /// Its way to place calls, if it can.
    ///
    /// # Errors
    /// What it needs and does not find, with a remedy.
    fn dialer(&mut self, services: &Services) -> Result<Option<Arc<dyn Dialer>>, String>;

    /// Goes to work; HTTP routes come back and are served by the shared listener.
    fn start(self: Box<Self>, context: EdgeContext) -> Option<axum::Router>;
}
