//! Flame graphs as SVG: each function above the one that called it, as wide as its share.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::stacks::Stacks;
use crate::plot::escaped;

const WIDTH: f64 = 1200.0;
/// Of one function, and above all of them.
const HEIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
/// Narrower ones aren't drawn: nobody could tell them apart.
const LEAST: f64 = 2.0;
/// Narrower ones get no name.
const LEAST_NAMED: f64 = 30.0;
/// Of a character, on average.
const CHARACTER: f64 = 6.8;

const STYLE: &str = "text { font: 11px monospace; fill: #24292f; }
.title { font: bold 15px sans-serif; }
.ground { fill: #ffffff; }
rect { stroke: #ffffff; stroke-width: 0.5; }
.f0 { fill: #f2b27c; } .f1 { fill: #efc48f; } .f2 { fill: #e9a06a; } .f3 { fill: #f0d09c; }
@media (prefers-color-scheme: dark) {
.title { fill: #e6edf3; }
.ground { fill: #0d1117; }
rect { stroke: #0d1117; }
}";

/// A function within the functions that called it.
#[derive(Default)]
struct Node<'a> {
    weight: u64,
    called: BTreeMap<&'a str, Self>,
}

/// Draws stacks, without scripts, and without anything from elsewhere; the names of what is too narrow
/// to be named are shown where a pointer rests.
pub fn svg(title: &str, stacks: &Stacks) -> String {
    let mut root = Node::default();
    for (frames, weight) in stacks.iter() {
        root.weight += weight;
        let mut node = &mut root;
        for frame in frames {
            node = node.called.entry(frame).or_default();
            node.weight += weight;
        }
    }
    let scale = WIDTH / root.weight.max(1) as f64;
    let depth = depth(&root, scale);
    let height = TOP + depth as f64 * HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{0}</title>\n\
         <style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"8\" y=\"24\">{0}</text>\n",
        escaped(title)
    );
    draw(&mut svg, &root, 0.0, height, scale, root.weight);
    svg.push_str("</svg>\n");
    svg
}

/// How many functions stand above one another, at most, of those that are drawn.
fn depth(node: &Node<'_>, scale: f64) -> usize {
    let drawn = node.called.values().filter(|called| called.weight as f64 * scale >= LEAST);
    drawn.map(|called| 1 + depth(called, scale)).max().unwrap_or(0)
}

fn draw(svg: &mut String, node: &Node<'_>, left: f64, bottom: f64, scale: f64, total: u64) {
    let mut x = left;
    for (name, called) in &node.called {
        let width = called.weight as f64 * scale;
        if width >= LEAST {
            let y = bottom - HEIGHT;
            let share = called.weight as f64 * 100.0 / total.max(1) as f64;
            // By the name, so that a function looks the same wherever it stands.
            let colour =
                name.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 4;
            let _ = write!(
                svg,
                "<g><title>{} ({share:.1} %)</title>\
                 <rect class=\"f{colour}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" \
                 height=\"{HEIGHT}\"/>",
                escaped(name)
            );
            if width >= LEAST_NAMED {
                let shown: String =
                    short(name).chars().take((width / CHARACTER) as usize).collect();
                let (x, y) = (x + 3.0, y + 12.0);
                let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y}\">{}</text>", escaped(&shown));
            }
            svg.push_str("</g>\n");
            draw(svg, called, x, y, scale, total);
        }
        x += width;
    }
}

/// A name without the way to it: `poll_next`, `(*clientStream).RecvMsg`; of a closure or a future, that of
/// the function that it is of.
fn short(name: &str) -> &str {
    let name = name.trim_end_matches("::{{closure}}");
    let after = |separator: &str| name.rfind(separator).map(|at| at + separator.len());
    let at = after("::").or_else(|| after("/")).unwrap_or(0);
    name.get(at..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_as_wide_as_its_share_and_stands_above_its_caller() {
        let mut stacks = Stacks::default();
        stacks.add(["main", "a<b>::send"], 3);
        stacks.add(["main", "x/y.(*T).Read"], 1);
        stacks.add(["main", "a<b>::send", "narrow"], 0);
        stacks.add(["main", "c::serve::{{closure}}::{{closure}}"], 4);
        let svg = svg("R&D", &stacks);
        for part in [
            "<title>R&amp;D</title>",
            "<title>main (100.0 %)</title>",
            "<title>a&lt;b&gt;::send (37.5 %)</title>",
            "width=\"450.0\"",
            ">send</text>",
            ">serve</text>",
            ">y.(*T).Read</text>",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("narrow") && !svg.contains("script"));
    }
}
