//! Where a call goes: the question the call asks, the answer `registry` gives.

use crate::base::Cause;
use crate::base::{CallId, LegId};
use std::time::Duration;

/// What proved a caller's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An account, by token or digest.
    Account(String),
    /// A trunk, by digest or address.
    Trunk(String),
    /// An extension of sipedge's own.
    Local(String),
}

impl std::fmt::Display for Source {
    /// As it is written in a route: `account.anna`, `trunk.pbx`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Account(name) => write!(f, "account.{name}"),
            Self::Trunk(name) => write!(f, "trunk.{name}"),
            Self::Local(name) => write!(f, "local.{name}"),
        }
    }
}

/// Who calls whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteQuery {
    /// Where the call comes from.
    pub source: Source,
    /// The number called.
    pub to: String,
}

/// One place to ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A target of one edge.
    Target(Target),
    /// An account: everything it has at any edge.
    Account {
        /// Its name.
        name: String,
        /// The number that was called.
        number: String,
    },
}

/// Why a call that came to nothing may go on to another step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The party is in another call.
    Busy,
    /// It rang, and nobody answered in time.
    NoAnswer,
    /// It cannot be rung now, or its system cannot be reached or speaks no codec of the caller's.
    Unreachable,
}

impl Occasion {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Busy, Self::NoAnswer, Self::Unreachable];

    /// As it is written in a route.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Unreachable => "unreachable",
        }
    }

    /// What a failure is an occasion for; none where no other party shall be tried: one that declines has answered for
    /// all, and a number that is wrong is wrong everywhere.
    #[must_use]
    pub const fn of(cause: Cause) -> Option<Self> {
        match cause {
            Cause::Busy => Some(Self::Busy),
            Cause::NoAnswer => Some(Self::NoAnswer),
            Cause::Unavailable
            | Cause::Unreachable
            | Cause::Unauthorized
            | Cause::Congestion
            | Cause::NoCommonCodec
            | Cause::RemoteFailure => Some(Self::Unreachable),
            _ => None,
        }
    }
}

/// A step of a route: its places ring together; when none answers, the next step is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What rings.
    pub places: Vec<Place>,
    /// How long; none: as long as the caller lets it.
    pub ring_timeout: Option<Duration>,
    /// It is a forward of a call that came to nothing in one of these ways; none: it is tried whatever was before.
    pub when: Vec<Occasion>,
}

/// What one edge dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The edge that dials, by its name in the table of edges.
    pub edge: &'static str,
    /// Which of the edge's own (a trunk's name, an account's).
    pub name: String,
    /// The number to dial there.
    pub number: String,
    /// Which of the places that the name stands for (a trunk may be registered at several), in the edge's own count;
    /// none: the one that the edge thinks best.
    pub place: Option<u64>,
}

/// Places that ring together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// They.
    pub targets: Vec<Target>,
    /// How long they ring when another group follows; none: as long as the route lets them.
    pub ring_timeout: Option<Duration>,
}

/// The edge whose targets are legs of other calls here; no route can name it.
pub const JOIN: &str = "join";

impl Target {
    /// The party that a leg of another call talks to.
    #[must_use]
    pub fn partner_of(call: CallId, leg: LegId) -> Self {
        Self { edge: JOIN, name: call.to_string(), number: leg.0.to_string(), place: None }
    }

    /// The leg whose partner this is.
    #[must_use]
    pub fn as_partner_of(&self) -> Option<(CallId, LegId)> {
        let leg = self.number.parse().ok().map(LegId)?;
        (self.edge == JOIN).then(|| self.name.parse().ok().map(|call| (call, leg))).flatten()
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteDecision {
    /// Ring these, one after the other until somebody answers.
    To(Vec<Step>),
    /// No route matches.
    NoRoute,
    /// A rule forbids it.
    Forbidden,
}

/// Answers route queries.
pub trait Router: Send + Sync {
    /// The decision for a query; pure.
    fn route(&self, query: &RouteQuery) -> RouteDecision;
}
