//! The picture of a report: for each row, where each product is beside HAProxy, from the best round to the worst.
//!
//! Owns [`ratios`], which draws in SVG.

use std::fmt::Write as _;

use crate::product::Product;
use crate::report::{REFERENCE, Report, label};
use crate::workload::{Figure, Workload};

/// Where the axis begins and ends: a tenth, and four times, of what HAProxy does.
const LEAST: f64 = 0.03;
const MOST: f64 = 4.0;

/// Pixels.
const LEFT: f64 = 300.0;
const WIDTH: f64 = 560.0;
const TOP: f64 = 60.0;
const ROW: f64 = 24.0;

/// One for each product but the reference, told apart by people who see few colours, too.
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"];

/// One line for each row of the report.
pub(crate) fn ratios(report: &Report) -> String {
    let rows: Vec<(Workload, Figure)> =
        report.rows().filter(|&(_, figure)| figure != Figure::MachineCpu).collect();
    let products: Vec<(Product, &str)> =
        report.products().iter().copied().filter(|&product| product != REFERENCE).zip(COLOURS).collect();
    let height = TOP + ROW * rows.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width = LEFT + WIDTH + 20.0,
    );
    legend(&mut svg, &products);
    axis(&mut svg, TOP + ROW * rows.len() as f64);
    for (place, &(workload, figure)) in (0_u16..).zip(&rows) {
        let y = TOP + ROW * (f64::from(place) + 0.5);
        let (name, label) = (workload.name(), label(workload, figure));
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" dominant-baseline=\"middle\">{name} {label}</text>",
            x = LEFT - 10.0
        );
        for &(product, colour) in &products {
            let Some(ratio) = report.ratio(workload, figure, product) else { continue };
            let [low, middle, high] = [ratio.low, ratio.middle, ratio.high].map(place_of);
            let _ = writeln!(
                svg,
                "<line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-opacity=\"0.4\" stroke-width=\"4\"/>\
                 <circle cx=\"{middle:.1}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"><title>{product} {ratio:.2}</title></circle>",
                product = product.name(),
                ratio = ratio.middle
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where a ratio is on the logarithmic axis.
fn place_of(ratio: f64) -> f64 {
    LEFT + WIDTH * (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln()
}

fn legend(svg: &mut String, products: &[(Product, &str)]) {
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"16\">ratio to HAProxy, the same round; lines reach from the lowest to the highest</text>"
    );
    for (place, (product, colour)) in (0_u16..).zip(products) {
        let x = LEFT + f64::from(place) * 130.0;
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"34\" r=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"38\">{}</text>",
            x + 8.0,
            product.name()
        );
    }
}

fn axis(svg: &mut String, bottom: f64) {
    for ratio in [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0] {
        let x = place_of(ratio);
        let colour = if ratio == 1.0 { "#000000" } else { "#dddddd" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{ratio}</text>",
            y = bottom + 18.0
        );
    }
}
