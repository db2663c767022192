//! Session descriptions as data.
/// A session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {}
