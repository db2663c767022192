//! The table of edges, and nothing else.

pub mod contract;
pub mod local;
pub mod trunk;
pub mod wago;

use contract::Edge;

/// Every edge. A new one adds its folder, its `mod` line and its row.
pub const EDGES: &[Edge] = &[trunk::EDGE, wago::EDGE, local::EDGE];
