//! Memory: answers of the ceiling's size stay within what the plugin sets aside for bodies.
#![expect(clippy::print_stdout, reason = "measurements are for people; the case judges bounds")]

use std::time::Duration;

use e2e::scale::bodies::{self, ANSWER, BUDGET_MIB, CALLS, COPIES, TIME};
use e2e::world::World;
use serde_json::json;

#[tokio::test]
async fn sixty_four_largest_answers_at_once_wait_for_room_within_the_budget() {
    let world = World::start_quiet().await;
    let (_upstream, _) = world.service("demo").await;
    let outcome = bodies::at_once(&world).await;
    println!("{CALLS} answers of {} MiB at once: {outcome:.0?}", ANSWER >> 20);
    assert!(outcome.whole > 0, "there is room for some");
    assert_eq!(outcome.whole + outcome.too_large + outcome.late, CALLS, "none is refused unsent");
    // A machine may be too slow for all, but none gives up before.
    let spared = outcome.least_wait.unwrap_or(TIME) + Duration::from_secs(1);
    assert!(spared > TIME, "it had time left: {outcome:?}");
    let most = outcome.before + BUDGET_MIB * COPIES;
    assert!(outcome.peak < most, "bounded: {:.0} MiB of {most:.0}", outcome.peak);
    // The places and bytes are free again.
    let path = "mcp-proxy/proxy/demo/GET";
    let call = json!({ "path": format!("/size/{ANSWER}") });
    let answer = world.root.write(path, call).await.ok();
    assert_eq!(answer.data()["body"].as_str().unwrap().len(), ANSWER);
}
