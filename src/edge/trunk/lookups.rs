//! Which of a trunk's hosts cannot be looked up, so that the log says it once and not with every attempt. Pure.

use crate::net::dns::Missing;
use std::collections::BTreeMap;

/// What is known of the hosts that cannot be; there are no more of them than the configuration names.
#[derive(Debug, Default)]
pub(super) struct Lookups(BTreeMap<String, Missing>);

impl Lookups {
    /// A host was looked up, and this is missing; none: it was found. True when that is news: it was found before or was not
    /// looked up yet and is missing now, for another reason than before, or it is found again.
    pub(super) fn heard(&mut self, host: &str, missing: Option<Missing>) -> bool {
        match missing {
            Some(missing) => self.0.insert(host.to_owned(), missing) != Some(missing),
            None => self.0.remove(host).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_missing_is_news_once_and_so_is_its_return() {
        let mut lookups = Lookups::default();
        let mut heard = |host: &str, missing| lookups.heard(host, missing);
        assert!(!heard("pbx.test", None), "that all is well is no news");
        assert!(heard("pbx.test", Some(Missing::Failed)));
        assert!(!heard("pbx.test", Some(Missing::Failed)));
        assert!(heard("other.test", Some(Missing::Failed)), "each host for itself");
        assert!(heard("pbx.test", Some(Missing::Absent)), "another reason");
        assert!(heard("pbx.test", None));
        assert!(!heard("pbx.test", None));
        assert!(heard("pbx.test", Some(Missing::Failed)), "and again");
    }
}
