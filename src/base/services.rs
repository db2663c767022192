//! What the program hands to its edges, found by type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

/// A shelf of shared services. An edge that speaks SIP takes the SIP stack from here, another never hears
/// of it; so the contract of edges names no protocol.
#[derive(Clone, Default)]
pub struct Services(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Services {
    /// Puts a service on the shelf, in place of one of the same type.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, service: Arc<T>) -> Self {
        self.0.insert(TypeId::of::<T>(), service);
        self
    }

    /// The service of that type.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.get(&TypeId::of::<T>()).cloned().and_then(|s| s.downcast().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_its_type_alone() {
        let shelf = Services::default().with(Arc::new(7_u32));
        assert_eq!(shelf.get::<u32>().as_deref(), Some(&7));
        assert!(shelf.get::<u64>().is_none());
    }
}
