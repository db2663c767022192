//! `[wago]`.

use super::io::{Lines, Wago, WagoDialer};
use super::wire::Envelope;
use crate::base::{Fault, Section, Services};
use crate::call::io::Dialer;
use crate::edge::contract::{EdgeContext, Prepared};
use serde::Deserialize;
use std::sync::Arc;

/// How this edge behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct WagoConfig {
    /// Shape of success answers.
    pub(super) envelope: Envelope,
    /// Whether a call ends when its browser is lost.
    pub(super) hangup_on_media_loss: bool,
}

#[derive(Deserialize)]
struct Raw {
    envelope: Option<String>,
    hangup_on_media_loss: Option<bool>,
}

pub(super) fn prepare(sections: &[Section]) -> Result<Box<dyn Prepared>, Vec<Fault>> {
    let empty = Section::new("wago", "configuration", serde_json::Value::Null);
    let section = sections.first().unwrap_or(&empty);
    let (raw, mut faults): (Raw, _) = section.read(&["envelope", "hangup_on_media_loss"])?;
    let envelope = match raw.envelope.as_deref() {
        None | Some("bare") => Envelope::Bare, // as in the published API
        Some("wrapped") => Envelope::Wrapped,
        Some(_) => {
            faults.push(section.fault("envelope", "write \"bare\" or \"wrapped\""));
            Envelope::Bare
        }
    };
    let hangup_on_media_loss = raw.hangup_on_media_loss.unwrap_or(false); // the call outlives its browser
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Box::new(WagoEdge(Arc::new(Lines::new(WagoConfig { envelope, hangup_on_media_loss })))))
}

struct WagoEdge(Arc<Lines>);

impl Prepared for WagoEdge {
    fn targets(&self) -> Vec<String> {
        Vec::new()
    }

    fn dialer(&mut self, _: &Services) -> Result<Option<Arc<dyn Dialer>>, String> {
        Ok(Some(Arc::new(WagoDialer(self.0.clone()))))
    }

    fn start(self: Box<Self>, context: EdgeContext) -> Option<axum::Router> {
        Some(Wago::start(self.0, context))
    }
}
