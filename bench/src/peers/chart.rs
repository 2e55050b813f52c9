//! Bars as SVG, by hand: a few rectangles and texts need no library (docs/adr/0801). Pure.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LABELS: f64 = 200.0;
/// Right of the longest bar there is room for its figure.
const FIGURES: f64 = 110.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 34.0;
/// Lines of the grid, at most.
const STEPS: f64 = 6.0;

/// One colour of a chart, and what it stands for where there are several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colour {
    pub name: &'static str,
    pub fill: &'static str,
}

/// A row: parts one behind the other, and from where to where their sum was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub label: String,
    pub parts: Vec<(Colour, f64)>,
    pub spread: Option<(f64, f64)>,
    /// Stands behind it.
    pub figure: String,
}

/// The next of 1, 2, 2.5 and 5 times a power of ten that cuts `most` into few enough steps.
fn step(most: f64) -> f64 {
    let rough = most / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
}

/// The widest that a row gets.
fn reach(bar: &Bar) -> f64 {
    let sum: f64 = bar.parts.iter().map(|(_, value)| value).sum();
    bar.spread.map_or(sum, |(_, most)| sum.max(most))
}

/// A chart with a title, a unit, a legend where there is more than one colour, and a row for each bar.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let most = Some(bars.iter().map(reach).fold(0.0, f64::max)).filter(|most| *most > 0.0).unwrap_or(1.0);
    let scale = (WIDTH - LABELS - FIGURES) / most;
    let height = TOP + ROW * bars.iter().map(|_| 1.0).sum::<f64>() + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#24292f\">\n<title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"600\">{title}</text>\n",
        title = escaped(title),
    );
    legend(&mut svg, bars);
    grid(&mut svg, most, scale, height);
    let mut top = TOP;
    for bar in bars {
        row(&mut svg, bar, scale, top);
        top += ROW;
    }
    svg += "</svg>\n";
    svg
}

fn legend(svg: &mut String, bars: &[Bar]) {
    let mut colours: Vec<Colour> = Vec::new();
    for (colour, _) in bars.iter().flat_map(|bar| &bar.parts) {
        if !colour.name.is_empty() && !colours.contains(colour) {
            colours.push(*colour);
        }
    }
    let mut x = LABELS;
    for Colour { name, fill } in colours {
        let text = x + 16.0;
        // What is written into a string can't fail.
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"39\" width=\"11\" height=\"11\" fill=\"{fill}\"/>");
        let _ = writeln!(svg, "<text x=\"{text}\" y=\"49\" font-size=\"12\">{}</text>", escaped(name));
        x += 110.0;
    }
}

fn grid(svg: &mut String, most: f64, scale: f64, height: f64) {
    let (step, bottom) = (step(most), height - BOTTOM + 4.0);
    let mut value = 0.0;
    while value <= most {
        let (x, text) = (LABELS + value * scale, bottom + 16.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#d8dee4\"/>\
             <text x=\"{x:.1}\" y=\"{text}\" font-size=\"11\" fill=\"#57606a\" text-anchor=\"middle\">{}</text>",
            grouped(value)
        );
        value += step;
    }
}

fn row(svg: &mut String, bar: &Bar, scale: f64, top: f64) {
    let (y, text) = (top + (ROW - BAR) / 2.0, top + ROW / 2.0 + 4.5);
    let label = LABELS - 10.0;
    let _ =
        writeln!(svg, "<text x=\"{label}\" y=\"{text}\" text-anchor=\"end\">{}</text>", escaped(&bar.label));
    let mut x = LABELS;
    for (colour, value) in &bar.parts {
        let width = value * scale;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{}\"/>",
            colour.fill
        );
        x += width;
    }
    if let Some((least, most)) = bar.spread.filter(|(least, most)| least < most) {
        let (from, to, middle) = (LABELS + least * scale, LABELS + most * scale, top + ROW / 2.0);
        let (up, down) = (middle - 4.0, middle + 4.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {up}V{down}M{to:.1} {up}V{down}\" stroke=\"#24292f\" fill=\"none\"/>"
        );
    }
    let behind = LABELS + reach(bar) * scale + 8.0;
    let _ = writeln!(svg, "<text x=\"{behind:.1}\" y=\"{text}\">{}</text>", escaped(&bar.figure));
}

/// A number as people read it: thousands apart, decimals only where it is small.
pub(super) fn grouped(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLUE: Colour = Colour { name: "", fill: "#00f" };

    fn bar(value: f64, spread: Option<(f64, f64)>) -> Bar {
        Bar { label: "a & b".to_owned(), parts: vec![(BLUE, value)], spread, figure: grouped(value) }
    }

    #[test]
    fn steps_are_round_and_few() {
        for (most, expected) in
            [(6.0, 1.0), (7.0, 2.0), (13.0, 2.5), (26.0, 5.0), (400_000.0, 100_000.0), (0.5, 0.1)]
        {
            assert!((step(most) / expected - 1.0).abs() < 1e-9, "{most}: {}", step(most));
            assert!(most / step(most) <= STEPS + 1e-9);
        }
    }

    #[test]
    fn the_longest_bar_fills_its_room_and_others_their_share() {
        let room = WIDTH - LABELS - FIGURES;
        let svg = bars("t", &[bar(10.0, None), bar(5.0, Some((4.0, 20.0)))]);
        // The spread of the second one reaches 20: it is what fills the room.
        assert!(svg.contains(&format!("width=\"{:.1}\"", room / 2.0)), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", room / 4.0)), "{svg}");
        assert!(svg.contains(&format!("H{:.1}", WIDTH - FIGURES)), "{svg}");
        assert!(svg.contains("a &amp; b"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 1);
    }

    #[test]
    fn parts_lie_one_behind_the_other() {
        let two =
            Bar { parts: vec![(BLUE, 1.0), (Colour { name: "red", fill: "#f00" }, 3.0)], ..bar(0.0, None) };
        let svg = bars("t", &[two]);
        let quarter = (WIDTH - LABELS - FIGURES) / 4.0;
        assert!(
            svg.contains(&format!("x=\"{:.1}\" y=\"70\" width=\"{:.1}\"", LABELS + quarter, 3.0 * quarter)),
            "{svg}"
        );
        assert!(svg.contains(">red<"), "{svg}");
    }

    #[test]
    fn nothing_measured_is_no_chart_out_of_bounds() {
        let svg = bars("t", &[bar(0.0, None)]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn numbers_are_grouped() {
        let told = [0.0, 2.5, 99.96, 100.4, 1000.0, 280_000.0, 1_234_567.0].map(grouped);
        assert_eq!(told, ["0", "2.5", "100", "100", "1,000", "280,000", "1,234,567"]);
    }
}
