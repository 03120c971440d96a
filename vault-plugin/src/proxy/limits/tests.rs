use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

const MIB: usize = 1 << 20;
/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// Places of a process of its own, with so many bytes beside the reserve and what is left for new calls.
fn places(bytes: usize) -> Places {
    let places = Arc::new(Semaphore::new(512));
    let budget = Box::leak(Box::new(Budget::new(RESERVE + LEFT_FOR_NEW + bytes)));
    of_service(&places, budget)
}

/// A service of that process.
fn of_service(places: &Arc<Semaphore>, budget: &'static Budget) -> Places {
    let share = Arc::new(Share::new(budget));
    Places { service: Arc::clone(places), mount: Arc::clone(places), share }
}

fn assert_unused(places: &Places, bytes: usize) {
    assert_eq!(places.share.held.load(Ordering::Relaxed), 0);
    assert_eq!(places.share.budget.free.load(Ordering::Relaxed), LEFT_FOR_NEW + bytes);
    assert_eq!(places.share.budget.reserve.available_permits(), 1);
}

/// Occupies the reserve.
fn elsewhere(places: &Places) -> SemaphorePermit<'static> {
    places.share.budget.reserve.try_acquire().unwrap()
}

#[test]
fn full_is_told_at_once_and_dropped_places_come_back() {
    let places = Places::new(Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(2)));
    let first = places.reserve(10).unwrap();
    assert_eq!(places.reserve(10).unwrap_err(), Full::Service);
    drop(first);
    assert!(places.reserve(10).is_ok());
}

#[test]
fn a_request_over_the_budget_is_refused_and_takes_nothing() {
    let places = places(MIB);
    assert_eq!(places.reserve(BODY_BUDGET).unwrap_err(), Full::Bytes);
    let held = places.reserve(0).unwrap();
    assert!(held.memory.cover(MIB));
    assert!(!held.memory.cover(BODY_BUDGET));
    assert_eq!(held.memory.wait(BODY_BUDGET).now_or_never(), Some(false), "nobody waits for that");
    drop(held);
    assert_unused(&places, MIB);
}

#[tokio::test]
async fn an_answer_waits_for_what_another_gives_back() {
    let places = places(4 * MIB);
    let _occupied = elsewhere(&places);
    let (first, second) = (places.reserve(0).unwrap(), places.reserve(0).unwrap());
    assert!(first.memory.cover(3 * MIB));
    assert!(!second.memory.cover(3 * MIB));
    let mut waiting = second.memory.wait(3 * MIB);
    assert_eq!((&mut waiting).now_or_never(), None);
    drop(first);
    assert_eq!(timeout(LIMIT, waiting).await, Ok(true));
    assert!(second.memory.cover(3 * MIB));
}

#[tokio::test]
async fn the_reserve_goes_to_who_has_waited_longest_and_frees_what_it_held() {
    let places = places(4 * MIB);
    let [first, second, third] = [(); 3].map(|()| places.reserve(0).unwrap());
    for held in [&first, &second, &third] {
        assert!(held.memory.cover(MIB));
    }
    assert_eq!(first.memory.wait(RESERVE).now_or_never(), Some(true));
    assert!(first.memory.cover(RESERVE));
    // Of the four, three are free, now that the first needs none of them.
    let mut long = second.memory.wait(8 * MIB);
    let mut short = third.memory.wait(8 * MIB);
    assert_eq!(((&mut long).now_or_never(), (&mut short).now_or_never()), (None, None));
    assert!(places.reserve(0).unwrap().memory.cover(MIB));
    drop(first);
    assert_eq!((&mut short).now_or_never(), None);
    assert_eq!(long.now_or_never(), Some(true));
    drop(second);
    assert_eq!(timeout(LIMIT, short).await, Ok(true));
    drop(third);
    assert_unused(&places, 4 * MIB);
}

#[tokio::test]
async fn a_large_answers_bytes_can_be_kept_longer_than_its_places() {
    let places = places(MIB);
    let small = places.reserve(0).unwrap();
    assert!(small.memory.cover(FIRST_ANSWER) && small.kept_for_large().is_none());
    drop(small);
    let _occupied = elsewhere(&places);
    let large = places.reserve(0).unwrap();
    assert!(large.memory.cover(MIB));
    let kept = large.kept_for_large();
    assert!(kept.is_some());
    drop(large);
    assert_eq!(places.service.available_permits(), 512);
    let next = places.reserve(0).unwrap();
    let mut waiting = next.memory.wait(MIB);
    assert_eq!((&mut waiting).now_or_never(), None);
    drop(kept);
    assert_eq!(timeout(LIMIT, waiting).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_hold_parts_and_want_more_come_to_their_end() {
    let places = places(8 * MIB);
    let mut calls = JoinSet::new();
    for number in 0..40 {
        let places = places.clone();
        calls.spawn(async move {
            let held = places.reserve(1000 * number).unwrap();
            // As decoding grows, by pieces; to the most that there may be.
            for bytes in (FIRST_ANSWER..=RESERVE).step_by(FIRST_ANSWER) {
                assert!(held.memory.cover(bytes) || held.memory.wait(bytes).await);
                tokio::task::yield_now().await;
            }
        });
    }
    timeout(LIMIT, calls.join_all()).await.expect("they wait for each other");
    assert_unused(&places, 8 * MIB);
}

#[tokio::test]
async fn new_calls_find_places_while_answers_wait() {
    let places = places(4 * MIB);
    let _occupied = elsewhere(&places);
    let held: Vec<_> = (0..20).map(|_| places.reserve(0).unwrap()).collect();
    let mut waiting: Vec<_> = held.iter().map(|held| held.memory.wait(MIB)).collect();
    let given = waiting.iter_mut().filter_map(|waiting| waiting.now_or_never()).count();
    assert!((1..20).contains(&given), "{given} have room, the others wait");
    let new: Vec<_> = (0..200).map(|_| places.reserve(0)).collect();
    assert!(new.iter().all(Result::is_ok));
}

#[tokio::test]
async fn giving_up_gives_everything_back() {
    let places = places(MIB);
    let occupied = elsewhere(&places);
    let held = places.reserve(7).unwrap();
    let mut waiting = held.memory.wait(2 * MIB);
    assert_eq!((&mut waiting).now_or_never(), None);
    drop(waiting);
    drop(occupied);
    assert_eq!(places.share.budget.reserve.available_permits(), 1);
    // Also when its turn had come already.
    let occupied = elsewhere(&places);
    let mut waiting = held.memory.wait(2 * MIB);
    assert_eq!((&mut waiting).now_or_never(), None);
    drop(occupied);
    drop(waiting);
    drop(held);
    assert_unused(&places, MIB);
}

#[tokio::test]
async fn a_service_has_no_more_than_its_share_and_the_others_find_room() {
    let places = places(SHARE + 8 * MIB);
    let other = of_service(&places.mount, places.share.budget);
    // All that an upstream may announce without sending it.
    let held: Vec<_> = (0..20).map(|_| places.reserve(0).unwrap()).collect();
    let mut waiting: Vec<_> = held.iter().map(|held| held.memory.wait(8 * MIB)).collect();
    let covered = waiting.iter_mut().filter_map(|waiting| waiting.now_or_never()).count();
    assert_eq!(covered, SHARE / (8 * MIB) + 1, "its share, and one in the reserve");
    assert_eq!(places.reserve(8 * MIB).unwrap_err(), Full::Bytes, "bodies of requests, too");
    let answer = other.reserve(MIB).unwrap();
    assert!(answer.memory.cover(4 * MIB));
    drop(waiting);
    drop((held, answer));
    assert_unused(&places, SHARE + 8 * MIB);
    assert_unused(&other, SHARE + 8 * MIB);
}

#[tokio::test]
async fn who_waits_for_the_services_share_hears_of_it() {
    let places = places(SHARE + 8 * MIB);
    let _occupied = elsewhere(&places);
    let first = places.reserve(0).unwrap();
    assert!(first.memory.cover(SHARE));
    let second = places.reserve(0).unwrap();
    let mut waiting = second.memory.wait(MIB);
    assert_eq!((&mut waiting).now_or_never(), None);
    drop(first);
    assert_eq!(timeout(LIMIT, waiting).await, Ok(true));
}

#[test]
fn what_a_search_adds_is_covered_as_long_as_there_is_anything() {
    let places = places(MIB);
    let held = places.reserve(0).unwrap();
    assert!(held.memory.cover(MIB));
    assert!(!held.memory.cover(MIB + 30), "answers leave the rest to new calls");
    assert!(held.cover_marks(MIB + 30));
    assert!(!held.cover_marks(LEFT_FOR_NEW + 2 * MIB));
    drop(held);
    assert_unused(&places, MIB);
}

#[test]
fn an_answer_takes_no_more_than_it_can_need() {
    let places = places(SHARE);
    let held = places.reserve(0).unwrap();
    for bytes in [20 * MIB, 20 * MIB + 1, 40 * MIB + 1] {
        assert!(held.memory.cover(bytes));
    }
    assert!(places.share.held.load(Ordering::Relaxed) <= RESERVE);
}
