//! `[local]`.

use super::io::{Desk, LocalDialer};
use super::session::Extension;
use crate::base::{Fault, Section, Services};
use crate::call::io::Dialer;
use crate::edge::contract::{EdgeContext, Prepared};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Raw {
    enabled: Option<bool>,
}

pub(super) fn prepare(sections: &[Section]) -> Result<Box<dyn Prepared>, Vec<Fault>> {
    let empty = Section::new("local", "configuration", serde_json::Value::Null);
    let (raw, faults): (Raw, _) = sections.first().unwrap_or(&empty).read(&["enabled"])?;
    if !faults.is_empty() {
        return Err(faults);
    }
    let is_enabled = raw.enabled.unwrap_or(false); // a PBX has its own; the demo turns them on
    Ok(Box::new(Local { is_enabled, desk: Arc::default() }))
}

struct Local {
    is_enabled: bool,
    desk: Arc<Desk>,
}

impl Prepared for Local {
    fn targets(&self) -> Vec<String> {
        let names = Extension::ALL.iter().map(|e| e.name().to_owned());
        names.filter(|_| self.is_enabled).collect()
    }

    fn dialer(&mut self, _: &Services) -> Result<Option<Arc<dyn Dialer>>, String> {
        if self.is_enabled { Ok(Some(Arc::new(LocalDialer(self.desk.clone())))) } else { Ok(None) }
    }

    fn start(self: Box<Self>, context: EdgeContext) -> Option<axum::Router> {
        self.desk.open(context);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extensions_are_targets_only_when_they_are_enabled() {
        let read = |value| prepare(&[Section::new("local", "t", value)]);
        assert!(read(json!({})).unwrap().targets().is_empty());
        let targets = read(json!({ "enabled": true })).unwrap().targets();
        assert_eq!(targets, ["echo", "tone", "dtmf", "music", "callback"]);
        let faults = read(json!({ "enable": true })).err().unwrap();
        assert!(faults[0].remedy.contains("did you mean `enabled`"), "{faults:?}");
    }
}
