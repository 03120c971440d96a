//! Many bridges at one server, as on the morning after a restart.
#![expect(clippy::print_stdout, reason = "the times are for people; the case doesn't judge them")]

use e2e::scale::bridges::Many;
use e2e::world::World;

/// `make scale` starts 500.
const BRIDGES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_bridges_start_at_once_work_and_leave_no_token_behind() {
    let world = World::start_quiet().await;
    let bridges = Many::start(&world, BRIDGES).await;
    println!(
        "{BRIDGES} bridges: all tools listed after {:.1?}, all called after {:.1?}",
        bridges.listed, bridges.worked
    );
    assert_eq!(bridges.leave(&world).await, 0, "every bridge has ended its token");
}
