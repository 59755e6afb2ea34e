use vxtap_analyzers::snapshot::Act;

use super::*;
use crate::admission::{Admission, AdmissionSettings, Policy};

fn stream(vni: u32) -> StreamKey {
    StreamKey::vxlan([10, 0, 0, 7].into(), Vni::new(vni).unwrap())
}

fn registry(accept: &[&str], limit: u32) -> Arc<StreamRegistry> {
    let accept = accept.iter().map(|text| text.parse().unwrap()).collect();
    let settings = AdmissionSettings { policy: Policy { accept, reject: Vec::new() }, state: None };
    Arc::new(StreamRegistry::with_limit(limit).with_admission(Admission::open(&settings).unwrap()))
}

#[test]
fn a_decision_is_followed_from_the_next_batch_on() {
    let registry = registry(&["vni 1"], 10);
    let mut cache = StreamCache::new(Arc::clone(&registry), 1);
    let mut after = |act: Option<Act>| {
        if let Some(act) = act {
            registry.admission().decide(act, "vni 1-2").unwrap();
        }
        cache.refresh();
        [1, 2].map(|vni| {
            let found = cache.entry(stream(vni));
            if found.is_err() {
                cache.turn_away(&stream(vni), 5, 10);
            }
            found.map(|entry| entry.id.0)
        })
    };
    assert_eq!(after(None), [Ok(0), Err(DropReason::NotAdmitted)]);
    assert_eq!(after(Some(Act::Accept)), [Ok(0), Ok(1)]);
    assert_eq!(after(Some(Act::Reject)), [Err(DropReason::Rejected); 2]);
    assert_eq!(after(Some(Act::Accept)), [Ok(0), Ok(1)], "a stream keeps its number");
    let mut published = TurnedAwayReport::default();
    cache.publish_turned_away(u64::MAX, &mut published);
    assert_eq!((published.rows.len(), published.others.frames), (0, 3), "who is let in is listed no more");
    // In another cache, for the one above has published.
    let mut cache = StreamCache::new(Arc::clone(&registry), 1);
    assert!(cache.entry(stream(2)).is_ok());
    registry.admission().decide(Act::Forget, "vni 1-2").unwrap();
    cache.refresh();
    let found = [1, 2].map(|vni| cache.entry(stream(vni)).map(|entry| entry.id.0));
    assert_eq!(found, [Ok(0), Err(DropReason::NotAdmitted)], "what is configured counts again");
}

#[test]
fn streams_beyond_the_bound_share_a_number_and_those_of_other_workers_keep_theirs() {
    let registry = registry(&["all"], 4);
    let ids = |cache: &mut StreamCache, vnis: std::ops::Range<u32>| -> Vec<u32> {
        vnis.map(|vni| cache.entry(stream(vni)).unwrap().id.0).collect()
    };
    let mut one = StreamCache::new(Arc::clone(&registry), 1);
    let mut two = StreamCache::new(Arc::clone(&registry), 2);
    assert_eq!(ids(&mut one, 0..3), [0, 1, 2]);
    assert_eq!(ids(&mut two, 2..6), [2, 3, 4, 4]);
    assert_eq!(ids(&mut one, 0..6), [0, 1, 2, 3, 4, 4], "and what the other met keeps its number");
    assert!(one.has_all && two.has_all);
    // A decision that takes one away, and one that gives it back.
    registry.admission().decide(Act::Reject, "vni 3").unwrap();
    one.refresh();
    assert_eq!(one.entry(stream(3)).unwrap_err(), DropReason::Rejected);
    registry.admission().decide(Act::Accept, "vni 3").unwrap();
    one.refresh();
    assert_eq!(ids(&mut one, 3..5), [3, 4]);
}

#[test]
fn what_is_published_is_what_was_counted_and_only_what_is_new_is_copied() {
    let registry = registry(&["all"], 10);
    let mut cache = StreamCache::new(registry, 1);
    let count = |cache: &mut StreamCache, vni| {
        let id = cache.entry(stream(vni)).unwrap().id;
        cache.count(id, 7, 100, false, false);
    };
    let mut published = Vec::new();
    (0..3).for_each(|vni| count(&mut cache, vni));
    cache.publish(&mut published);
    assert_eq!(published.iter().map(|counters| counters.frames).collect::<Vec<_>>(), [1, 1, 1]);
    count(&mut cache, 1);
    count(&mut cache, 1);
    // What others did to the copy stays where nothing new came.
    published[0].frames = 99;
    cache.publish(&mut published);
    assert_eq!(
        published.iter().map(|counters| (counters.frames, counters.bytes)).collect::<Vec<_>>(),
        [(99, 100), (3, 300), (1, 100)]
    );
    assert!(cache.touched.is_empty());
}
