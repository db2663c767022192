//! Routes that no call ever comes to.

use super::Route;
use crate::call::route::Source;

/// Them, by their place in the list (from one), and why.
#[must_use]
pub fn useless_routes(routes: &[Route]) -> Vec<(usize, String)> {
    let mut useless = Vec::new();
    for (n, route) in (1..).zip(routes) {
        let before = || (1..).zip(routes).take(n - 1);
        let why = match before().find(|(_, other)| other.ends_all(route)) {
            Some((other, _)) => format!("no call comes to it: route[{other}] takes all of them and is the last"),
            None if route.when.is_empty() || before().any(|(_, other)| other.may_share(route)) => continue,
            None => "no call comes to it: `when` is for calls that an earlier route could not place, and there is none".to_owned(),
        };
        useless.push((n, why));
    }
    useless
}

impl Route {
    /// Whether no call of another, later one gets past this.
    fn ends_all(&self, other: &Self) -> bool {
        self.is_last && (self.from.is_none() || self.from == other.from) && self.number.covers(&other.number)
    }

    /// Whether a call may be both this one's and another's, as far as can be told.
    fn may_share(&self, other: &Self) -> bool {
        let is_source = |a: &Option<Source>, b: &Option<Source>| a.is_none() || b.is_none() || a == b;
        is_source(&self.from, &other.from) && self.number.may_share(&other.number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_routes;
    use super::*;
    use crate::base::Section;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn useless(routes: &[Value]) -> Vec<(usize, bool)> {
        let sections: Vec<Section> = routes
            .iter()
            .map(|more| {
                let mut route = json!({"to": "trunk.a"});
                route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                Section::new("route[1]", "t", route)
            })
            .collect();
        let targets = BTreeMap::from([("trunk", vec!["a".to_owned(), "b".to_owned()])]);
        let routes = read_routes(&sections, &targets).unwrap();
        useless_routes(&routes).into_iter().map(|(n, why)| (n, why.contains("is the last"))).collect()
    }

    #[test]
    fn a_route_behind_one_that_takes_all_its_calls_and_is_the_last_is_useless() {
        let last = |number: &str| json!({"number": number, "last": true});
        for (number, later, is_useless) in [
            ("*", "5", true),
            ("*", "*", true),
            ("6*", "6??", true),
            ("6??", "6?0", true),
            ("5", "5", true),
            ("6??", "6*", false),
            ("6?", "6*", false),
            ("6*", "*", false),
            ("6*", "7", false),
        ] {
            let found = useless(&[last(number), json!({ "number": later })]);
            assert_eq!(found, if is_useless { vec![(2, true)] } else { vec![] }, "{number} {later}");
        }
        assert!(useless(&[json!({}), json!({"number": "5"})]).is_empty(), "calls fall through");
        let from = |name: &str| json!({"from": name, "last": true});
        assert!(useless(&[from("trunk.a"), json!({})]).is_empty());
        assert!(useless(&[from("trunk.a"), from("trunk.b")]).is_empty());
        assert_eq!(useless(&[from("trunk.a"), json!({}), from("trunk.a")]), [(3, true)]);
    }

    #[test]
    fn a_forward_of_what_no_route_before_it_could_place_is_useless() {
        let busy = |number: &str| json!({"number": number, "when": "busy"});
        assert_eq!(useless(&[busy("*")]), [(1, false)]);
        assert_eq!(useless(&[json!({"number": "5"}), busy("6")]), [(2, false)]);
        assert_eq!(
            useless(&[json!({"from": "trunk.b"}), json!({"from": "trunk.a", "when": "busy"})]),
            [(2, false)]
        );
        assert!(useless(&[json!({"number": "6??"}), busy("*")]).is_empty());
        assert!(useless(&[json!({"number": "6*"}), busy("600")]).is_empty());
    }
}
