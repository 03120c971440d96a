//! A short run of what `make soak` does for long.

use std::time::Duration;

use e2e::soak::{course, results};

#[tokio::test(flavor = "multi_thread")]
async fn a_short_soak_calls_breaks_and_draws_what_it_saw() {
    let mut lines = Vec::new();
    let course = course::run(Duration::from_secs(10), |line| lines.push(line)).await;
    assert_eq!(course.failures, [""; 0], "what no fault excuses");
    assert!(
        course.calls > course.excused + 20,
        "{} calls, {} failed",
        course.calls,
        course.excused
    );
    assert!(course.faults.len() >= 3, "{:?}", course.faults);
    assert!(lines.iter().any(|line| line.contains("bridge 3")), "{lines:?}");
    let svg = results::chart(&course).svg();
    for series in &course.series {
        assert!(series.points.len() >= 3, "{}: {} samples", series.name, series.points.len());
        assert!(svg.contains(&format!(">{}</text>", series.name)), "{}", series.name);
    }
    for (_, fault) in &course.faults {
        assert!(svg.contains(&format!("<title>{}</title>", fault.name())), "{fault:?}");
    }
    // Too short to say what is flat: that is said of those that lived long enough, all the same.
    assert!(course.judged().iter().any(|judged| judged.name == "server"));
}
