//! The picture of a table: a bar for each way, with the bounds of its ratio.

use std::fmt::Write as _;

use crate::measure::Ratio;

/// The width of a ratio of 1.
const WIDTH: f64 = 360.0;
const LEFT: f64 = 250.0;
const ROW: f64 = 26.0;

/// An SVG of the ratios to the first bar.
pub(crate) fn draw(engine: &str, bars: &[(&str, Ratio)]) -> String {
    let most = bars.iter().map(|(_, ratio)| ratio.bounds[1]).fold(1.0, f64::max);
    let (width, height) = (LEFT + WIDTH * most + 70.0, 56.0 + ROW * bars.len() as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">One bundle up and down, as a ratio to {}</text>\n\
         <text x=\"10\" y=\"40\" fill=\"#555\">{engine}; less is faster; the lines are the bounds of 95 %</text>\n",
        bars[0].0
    );
    for (number, (name, ratio)) in bars.iter().enumerate() {
        let y = 50.0 + ROW * number as f64;
        let [low, high] = ratio.bounds.map(|it| LEFT + it * WIDTH);
        let is_ours = name.starts_with("launch") || name.starts_with("create_network");
        let fill = if is_ours { "#2b7a4b" } else { "#9aa5b1" };
        let middle = y + 10.0;
        writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{:.0}\" height=\"20\" fill=\"{fill}\"/>\n\
             <path d=\"M{low:.1} {middle:.0}H{high:.1}\" stroke=\"#222\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\">{:.2}</text>",
            LEFT - 8.0,
            y + 15.0,
            ratio.median * WIDTH,
            high + 6.0,
            y + 15.0,
            ratio.median
        )
        .unwrap();
    }
    svg + "</svg>\n"
}
