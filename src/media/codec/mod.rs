//! Codecs that sipedge itself speaks, for what it plays. Calls pass through without being decoded.

pub mod g711;
