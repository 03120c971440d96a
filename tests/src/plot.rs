//! Charts as SVG: lines over time in panels below one another, readable on light and dark ground.

use std::fmt::Write as _;

/// A chart: panels that share their horizontal axis.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Where the horizontal axis ends; it begins at 0.
    pub length: f64,
    /// What that counts.
    pub unit: String,
    /// What happened when, in every panel.
    pub marks: Vec<Mark>,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

/// Lines with one vertical axis, which begins at 0.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What it shows, with the unit.
    pub title: String,
    /// Name and points of each, by time; a `NaN` interrupts it.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Mark {
    /// When.
    pub at: f64,
    /// What, in a word or two.
    pub what: String,
    /// Whether the reader must see it in the lines, rather than at the edge.
    pub is_major: bool,
}

const WIDTH: f64 = 900.0;
/// Left of the lines, for the vertical axis; right of them, for names.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 52.0;
/// Of the lines of one panel, and of what stands around them.
const HEIGHT: f64 = 120.0;
const BETWEEN: f64 = 44.0;
const BOTTOM: f64 = 44.0;
/// More points than a screen has dots tell nothing.
const MOST_POINTS: usize = 300;

/// Told apart by people who see colours differently, too (Okabe and Ito: "Color Universal Design").
/// Each stands out on white and on black.
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a8a00"];

const STYLE: &str = "text { font: 12px sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: bold; }
.ground { fill: #ffffff; }
.grid { stroke: #d0d7de; }
.minor { stroke: #8c959f; }
.major { stroke: #8c959f; stroke-dasharray: 4 3; }
.line { fill: none; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.ground { fill: #0d1117; }
.grid { stroke: #30363d; }
}";

impl Chart {
    /// The chart as an SVG file without scripts, and without anything from elsewhere.
    pub fn svg(&self) -> String {
        let bottom = TOP + self.panels.len() as f64 * (HEIGHT + BETWEEN);
        let height = bottom + BOTTOM - BETWEEN + 20.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{0}</title>\n\
             <style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"24\">{0}</text>\n",
            escaped(&self.title)
        );
        for (number, panel) in self.panels.iter().enumerate() {
            let top = TOP + number as f64 * (HEIGHT + BETWEEN);
            self.panel(&mut svg, panel, top);
        }
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n</svg>\n",
            self.x(self.length / 2.0),
            height - 10.0,
            escaped(&self.unit)
        );
        svg
    }

    fn panel(&self, svg: &mut String, panel: &Panel, top: f64) {
        let values = panel.lines.iter().flat_map(|(_, points)| points).map(|point| point.1);
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let (step, steps) = steps(most);
        let y = |value: f64| top + HEIGHT * (1.0 - value / (step * f64::from(steps)));
        let right = WIDTH - RIGHT;
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\">{}</text>",
            top - 8.0,
            escaped(&panel.title)
        );
        for number in 0..=steps {
            let value = step * f64::from(number);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{right}\"/>\
                 <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
                y(value),
                LEFT - 6.0,
                y(value) + 4.0,
                short(value)
            );
        }
        let (step, steps) = self::steps(self.length);
        for number in 0..=steps {
            let at = step * f64::from(number);
            if at <= self.length * 1.001 {
                let _ = writeln!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    self.x(at),
                    top + HEIGHT + 16.0,
                    short(at)
                );
            }
        }
        for mark in &self.marks {
            let (class, from) = match mark.is_major {
                true => ("major", top),
                false => ("minor", top + HEIGHT - 5.0),
            };
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{:.1} {from}V{}\"><title>{}</title></path>",
                self.x(mark.at),
                top + HEIGHT,
                escaped(&mark.what)
            );
        }
        for (number, (name, points)) in panel.lines.iter().enumerate() {
            let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or_default();
            let _ = writeln!(
                svg,
                "<path class=\"line\" stroke=\"{colour}\" d=\"{}\"/>\
                 <path class=\"line\" stroke=\"{colour}\" d=\"M{1} {2}h14\"/>\
                 <text x=\"{3}\" y=\"{4}\">{5}</text>",
                self.path(points, y),
                right + 8.0,
                top + 8.0 + 16.0 * number as f64,
                right + 26.0,
                top + 12.0 + 16.0 * number as f64,
                escaped(name)
            );
        }
    }

    /// A line in the language of SVG's paths: of points that fall together, the highest.
    fn path(&self, points: &[(f64, f64)], y: impl Fn(f64) -> f64) -> String {
        let mut path = String::new();
        let mut command = 'M';
        for group in points.chunks(points.len().div_ceil(MOST_POINTS).max(1)) {
            if group.iter().any(|point| point.1.is_nan()) {
                command = 'M';
                continue;
            }
            let highest = group.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1));
            let Some((time, value)) = highest else { continue };
            let _ = write!(path, "{command}{:.1} {:.1}", self.x(time), y(value));
            command = 'L';
        }
        path
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (WIDTH - RIGHT - LEFT) * at / self.length.max(f64::MIN_POSITIVE)
    }
}

/// Two to six steps of 1, 2 or 5 times a power of ten that reach `most`.
fn steps(most: f64) -> (f64, u32) {
    let most = most.max(1e-6);
    let power = 10_f64.powf((most / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| step * 6.0 >= most).unwrap_or(most);
    // At most six.
    (step, (most / step).ceil() as u32)
}

fn short(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{rounded}")
}

/// Text as it may stand in SVG.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_in_round_numbers_right_above_the_lines() {
        for (most, step, steps) in [
            (0.9, 0.2, 5),
            (1.0, 0.2, 5),
            (6.0, 1.0, 6),
            (7.0, 2.0, 4),
            (154.2, 50.0, 4),
            (1800.0, 500.0, 4),
        ] {
            let found = self::steps(most);
            assert!((found.0 - step).abs() < 1e-9 && found.1 == steps, "{most}: {found:?}");
        }
    }

    #[test]
    fn a_chart_has_all_that_a_reader_needs_and_stays_small() {
        let line = |factor: f64| {
            (0..10_000).map(|time| (f64::from(time), factor * f64::from(time))).collect::<Vec<_>>()
        };
        let mut broken = line(2.0);
        broken[5_000].1 = f64::NAN;
        let lines = vec![("a <b>".to_owned(), line(1.0)), ("c".to_owned(), broken)];
        let panel = Panel { title: "memory, MiB".to_owned(), lines };
        let mark = |at: f64, is_major| Mark { at, what: "kill \"-9\"".to_owned(), is_major };
        let svg = Chart {
            title: "R&D".to_owned(),
            length: 10_000.0,
            unit: "seconds".to_owned(),
            marks: vec![mark(1.0, true), mark(2.0, false)],
            panels: vec![panel.clone(), panel],
        }
        .svg();
        for part in [
            "<title>R&amp;D</title>",
            "seconds</text>",
            "memory, MiB</text>",
            ">20000</text>",
            ">10000</text>",
            "a &lt;b&gt;</text>",
            "kill &quot;-9&quot;",
            "prefers-color-scheme: dark",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("script"));
        assert!(svg.len() < 40_000, "{} bytes", svg.len());
        // Both panels: one line without a gap, one with.
        let gaps =
            svg.lines().filter(|line| line.contains("class=\"line\"") && line.contains("d=\"M"));
        let parts: Vec<usize> =
            gaps.map(|line| line.split("/>").next().unwrap().matches('M').count()).collect();
        assert_eq!(parts, [1, 2, 1, 2]);
        // Every element is closed, every text escaped.
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split_whitespace().next().unwrap());
            }
        }
        assert_eq!(open, [""; 0]);
    }
}
