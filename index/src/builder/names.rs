//! The names by which flows are found in an index, in their order.

use vxtap_wire::FlowKey;

use crate::community_id::CommunityId;

/// The beginning of a flow's Community ID, and the flow's number.
pub(super) type Name = (u64, u32);

/// The names of `keys`, of which some have two, in rising order.
pub(super) fn in_order(keys: &[FlowKey]) -> Vec<Name> {
    let mut named = Vec::with_capacity(keys.len());
    for (flow, key) in (0_u32..).zip(keys) {
        let (id, other) = CommunityId::of_flow(key);
        named.push((id.prefix(), flow));
        named.extend(other.map(|other| (other.prefix(), flow)));
    }
    sorted(&named)
}

/// Sorts `names`. They begin with a hash and so are spread evenly, and most of the way to order is one step: from their first bits
/// to a part of the list. Whoever makes flows that all come into one part has no more than an ordinary sort done.
fn sorted(names: &[Name]) -> Vec<Name> {
    const PART: usize = 4;
    const PART_BITS_MAX: u32 = 16;
    let bits = (names.len() / PART).checked_ilog2().unwrap_or(0).clamp(1, PART_BITS_MAX);
    let part_of = |name: &Name| (name.0 >> (u64::BITS - bits)) as usize;
    let mut ends = vec![0_u32; 1 << bits];
    for name in names {
        ends[part_of(name)] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        // Where the part begins; it is moved to the end name by name.
        sum += std::mem::replace(end, sum);
    }
    let mut ordered = vec![(0, 0); names.len()];
    for name in names {
        let end = &mut ends[part_of(name)];
        ordered[*end as usize] = *name;
        *end += 1;
    }
    let mut rest = &mut ordered[..];
    let mut start = 0;
    for end in ends {
        let part = rest.split_off_mut(..(end - start) as usize).unwrap_or_default();
        if part.len() > 1 {
            part.sort_unstable();
        }
        start = end;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_however_they_are_spread() {
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for length in [0, 1, 2, 7, 8, 9, 100, 5000, 300_000] {
            let spreads: [fn(u64) -> u64; 4] = [|hash| hash, |_| 7, |hash| hash & 3, |hash| hash | 0xff << 56];
            for spread in spreads {
                let names: Vec<Name> = (0..length).map(|number| (spread(hash(number)), number as u32 ^ 5)).collect();
                let mut expected = names.clone();
                expected.sort_unstable();
                assert_eq!(sorted(&names), expected, "{length}");
            }
        }
    }
}
