//! What every folder may use: identities, causes, secrets, address pairs, sections of the configuration.
//!
//! Nothing here does I/O, reads a clock or asks for entropy.

mod cause;
mod digit;
mod external;
mod fresh;
mod id;
mod network;
mod path;
mod port_range;
mod recording;
mod secret;
mod section;
mod seed;
mod seldom;
mod services;
mod sparing;
mod state;
mod text;

pub use cause::{Cause, End};
pub use digit::Digit;
pub use external::{External, ExternalError};
pub use fresh::Fresh;
pub use id::{CallId, LegId, StreamId};
pub use network::{Network, NetworkError};
pub use path::{Family, Path};
pub use port_range::{PortRange, PortRangeError};
pub use recording::{Recording, RecordingError};
pub use secret::{Pii, Secret, set_pii_mask};
pub use section::{Fault, OneOrMany, Section, parse_duration};
pub use seed::Seed;
pub use seldom::Seldom;
pub use services::Services;
pub use sparing::{Sparing, Told};
pub use state::StateDirectory;
pub use text::{Excerpt, LOG_TEXT_LIMIT, is_hidden};
