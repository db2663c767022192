//! The order of servers of equal standing by chance and weight (RFC 2782).

use crate::base::Seed;

/// Things with a priority and a weight, in the order to try them: the lowest priority first, within one by chance, in
/// proportion to their weights. Each comes with its rank, the same for all of a priority, from 0 on.
///
/// What is written first makes no difference: the same things and the same seed give the same order.
#[must_use]
pub fn by_weight<T: Ord>(things: Vec<(u16, u16, T)>, seed: &mut Seed) -> Vec<(usize, T)> {
    let mut left = things;
    // those of weight 0 stand first in their priority, so that they have a small chance at all
    left.sort();
    let mut ordered = Vec::with_capacity(left.len());
    let (mut rank, mut current) = (0, None);
    while let Some(priority) = left.first().map(|(priority, ..)| *priority) {
        if current.is_some_and(|c| c != priority) {
            rank += 1;
        }
        current = Some(priority);
        let group = || left.iter().take_while(|(p, ..)| *p == priority);
        let sum: u64 = group().map(|(_, weight, _)| u64::from(*weight)).sum();
        let chance = seed.below(sum + 1);
        let mut running = 0;
        let at = group().position(|(_, weight, _)| {
            running += u64::from(*weight);
            running >= chance
        });
        let (_, _, thing) = left.remove(at.unwrap_or(0));
        ordered.push((rank, thing));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// How often each came first in 10,000 draws, as a share of a hundred.
    fn shares(things: &[(u16, u16, &'static str)]) -> BTreeMap<&'static str, f64> {
        let mut seed = Seed::from_number(2782);
        let mut firsts = BTreeMap::new();
        for _ in 0..10_000 {
            *firsts.entry(by_weight(things.to_vec(), &mut seed)[0].1).or_insert(0.0) += 0.01;
        }
        firsts
    }

    #[test]
    fn the_first_of_a_priority_is_drawn_in_proportion_to_the_weights_rfc_2782() {
        let shares = shares(&[(1, 10, "a"), (1, 30, "b"), (1, 60, "c"), (2, 1_000, "d")]);
        // the draw is from 0 to the sum, both included, as the RFC says: within a hundredth of the weights
        for (name, share) in [("a", 10.0), ("b", 30.0), ("c", 60.0)] {
            assert!((shares[name] - share).abs() < 2.0, "{shares:?}");
        }
        assert!(!shares.contains_key("d"));
    }

    #[test]
    fn one_of_weight_zero_is_drawn_rarely_and_not_never_rfc_2782() {
        let shares = shares(&[(1, 0, "rare"), (1, 99, "often")]);
        assert!((0.2..3.0).contains(&shares["rare"]), "{shares:?}");
        // all of weight 0: one of them, whichever
        assert_eq!(by_weight(vec![(1, 0, "x")], &mut Seed::from_number(1)), [(0, "x")]);
    }

    #[test]
    fn the_example_of_the_rfc_asks_the_slow_box_first_and_the_standby_after_both() {
        // _foobar._tcp of RFC 2782: two of priority 0 with weights 1 and 3, two of priority 1
        let things =
            vec![(0, 1, "old-slow-box"), (0, 3, "new-fast-box"), (1, 0, "sysadmins-box"), (1, 0, "server")];
        let mut seed = Seed::from_number(3);
        let mut fast = 0;
        for _ in 0..4_000 {
            let order = by_weight(things.clone(), &mut seed);
            let ranks: Vec<usize> = order.iter().map(|(rank, _)| *rank).collect();
            assert_eq!(ranks, [0, 0, 1, 1]);
            fast += u32::from(order[0].1 == "new-fast-box");
        }
        // from 0 to 4: 0 and 1 are the slow one's, of the five
        assert!((2_200..2_600).contains(&fast), "{fast}");
    }

    #[test]
    fn the_order_follows_from_the_seed_and_not_from_how_the_records_came() {
        let mut things: Vec<(u16, u16, u32)> = (0..20).map(|n| (1, 10, n)).collect();
        let first = by_weight(things.clone(), &mut Seed::from_number(7));
        things.reverse();
        assert_eq!(by_weight(things.clone(), &mut Seed::from_number(7)), first);
        assert_ne!(by_weight(things, &mut Seed::from_number(8)), first);
    }
}
