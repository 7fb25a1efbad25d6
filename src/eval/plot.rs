//! Small charts as SVG: lines and steps in a frame with numbers, readable on white and on black, with nothing to load.

use std::fmt::Write;

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: String,
    /// Its lower and upper end.
    pub from: f64,
    /// Its upper end, above `from`.
    pub to: f64,
}

/// A line through points.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is.
    pub label: String,
    /// Horizontal and vertical, on the axes.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// Of colours that people with any colour vision tell apart, at most eight.
    pub lines: Vec<Line>,
}

/// After Okabe and Ito, "Color Universal Design", 2008, without black.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#b3a100"];

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
const TICKS: usize = 5;
const LEGEND: f64 = 16.0;

impl Chart {
    /// The chart as an `<svg>` element, which may stand in an HTML page or in a file of its own.
    pub fn svg(&self) -> String {
        let height = HEIGHT + LEGEND * self.lines.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{0}\" font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"currentColor\">\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"13\" font-weight=\"600\">{0}</text>\n",
            escaped(&self.title)
        );
        self.draw(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn across(&self, x: f64) -> f64 {
        LEFT + along(&self.x, x) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - along(&self.y, y) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut String) {
        let (bottom, middle) = (HEIGHT - BOTTOM, f64::midpoint(LEFT, WIDTH - RIGHT));
        for n in 0..=TICKS {
            let share = n as f64 / TICKS as f64;
            let (x, y) = (value(&self.x, share), value(&self.y, share));
            let (across, up) = (self.across(x), self.up(y));
            put(
                svg,
                format_args!(
                    "<path d=\"M{LEFT} {up:.1}H{:.1}\" stroke=\"currentColor\" stroke-opacity=\".15\"/>\n",
                    WIDTH - RIGHT
                ),
            );
            put(
                svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 6.0,
                    up + 4.0,
                    number(y)
                ),
            );
            put(
                svg,
                format_args!(
                    "<text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    bottom + 15.0,
                    number(x)
                ),
            );
        }
        put(
            svg,
            format_args!(
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 32.0,
                escaped(&self.x.label)
            ),
        );
        let centre = f64::midpoint(TOP, bottom);
        put(
            svg,
            format_args!(
                "<text transform=\"translate(14 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                escaped(&self.y.label)
            ),
        );
        for (n, (line, colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let points: Vec<String> =
                line.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", self.across(x), self.up(y))).collect();
            put(
                svg,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                    points.join(" ")
                ),
            );
            let y = HEIGHT + LEGEND * n as f64;
            put(svg, format_args!("<path d=\"M{LEFT} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\n", y - 4.0));
            put(svg, format_args!("<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>\n", LEFT + 24.0, escaped(&line.label)));
        }
    }
}

/// Growing a string cannot fail.
fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).ok();
}

/// How far along the axis a value is, 0 to 1; what lies beyond is put at its end.
fn along(axis: &Axis, value: f64) -> f64 {
    let share = (value - axis.from) / (axis.to - axis.from);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

fn value(axis: &Axis, share: f64) -> f64 {
    axis.from + share * (axis.to - axis.from)
}

/// As few digits as tell the numbers of an axis apart.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// For text and attributes of XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let axis = |label: &str, to: f64| Axis { label: label.to_owned(), from: 0.0, to };
        Chart {
            title: "a < b & \"c\"".to_owned(),
            x: axis("threshold", 1.0),
            y: axis("alarms per hour", 200.0),
            lines: vec![Line { label: "one".to_owned(), points: vec![(0.0, 200.0), (1.0, 0.0), (2.0, f64::NAN)] }],
        }
    }

    #[test]
    fn lines_lie_where_the_axes_say() {
        let svg = chart().svg();
        assert!(svg.contains("points=\"60.0,30.0 464.0,256.0 464.0,256.0\""), "{svg}");
        for number in [">200<", ">160<", ">0.2<", ">1<", ">0<"] {
            assert!(svg.contains(number), "{number}: {svg}");
        }
    }

    #[test]
    fn names_from_outside_are_text_and_nothing_is_loaded() {
        let svg = chart().svg();
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot;") && !svg.contains("a < b"));
        let addresses: Vec<_> = svg.match_indices("http").collect();
        assert_eq!(addresses.len(), 1, "the name space is no address to load: {svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (0.2, "0.2"), (0.05, "0.05"), (1200.4, "1200"), (12.34, "12.3"), (100.0, "100")]
        {
            assert_eq!(number(value), text);
        }
    }
}
