//! Tables of what was measured: medians, and ratios to HAProxy within one round.
//!
//! Owns [`Report`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::product::Product;
use crate::workload::{Figure, Figures, Workload};

/// Everything that was measured, round by round.
pub(crate) struct Report {
    products: Vec<Product>,
    workloads: Vec<Workload>,
    values: BTreeMap<(Workload, Figure, Product), Vec<f64>>,
}

/// To what the others are compared.
const REFERENCE: Product = Product::Haproxy;

impl Report {
    pub(crate) fn new(products: &[Product], workloads: &[Workload]) -> Self {
        Self { products: products.to_vec(), workloads: workloads.to_vec(), values: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, product: Product, workload: Workload, figures: Figures) {
        for (figure, value) in figures {
            self.values.entry((workload, figure, product)).or_default().push(value);
        }
    }

    /// One row for each figure, one column for each product: the median, and the median of its ratios to HAProxy with
    /// the lowest and the highest of them.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| |");
        for product in &self.products {
            let _ = write!(text, " {} |", product.name());
        }
        text.push_str("\n| --- |");
        text.push_str(&" --- |".repeat(self.products.len()));
        for &workload in &self.workloads {
            for figure in [Figure::Rate, Figure::Cpu, Figure::P99, Figure::P999, Figure::Memory] {
                if self
                    .products
                    .iter()
                    .all(|&product| !self.values.contains_key(&(workload, figure, product)))
                {
                    continue;
                }
                let _ = write!(text, "\n| {} {} |", workload.name(), label(workload, figure));
                for &product in &self.products {
                    let _ = write!(text, " {} |", self.cell(workload, figure, product));
                }
            }
        }
        text.push('\n');
        for workload in &self.workloads {
            let _ = write!(text, "\n- {}: {}", workload.name(), workload.meaning());
        }
        text
    }

    fn cell(&self, workload: Workload, figure: Figure, product: Product) -> String {
        let of = |product| self.values.get(&(workload, figure, product)).map_or(&[][..], Vec::as_slice);
        let Some(middle) = median(of(product)) else { return String::new() };
        let shown = shown(figure, workload, middle);
        // Nobody's CPU time and memory: there is nothing in between.
        if product == Product::Direct && matches!(figure, Figure::Cpu | Figure::Memory) {
            return "-".to_owned();
        }
        let mut ratios: Vec<f64> =
            of(product).iter().zip(of(REFERENCE)).map(|(value, reference)| value / reference).collect();
        ratios.sort_by(f64::total_cmp);
        match (median(&ratios), ratios.first(), ratios.last()) {
            (Some(ratio), Some(low), Some(high)) if product != REFERENCE => {
                format!("{shown}, **{ratio:.2}x** ({low:.2}-{high:.2})")
            }
            _ => shown,
        }
    }
}

fn label(workload: Workload, figure: Figure) -> &'static str {
    match (figure, workload) {
        (Figure::Rate, Workload::Bulk) => "GB/s",
        (Figure::Rate, Workload::NewConnections) => "connections/s",
        (Figure::Rate, _) => "requests/s",
        (Figure::Cpu, Workload::Bulk) => "CPU per GB",
        (Figure::Cpu, Workload::NewConnections) => "CPU per connection",
        (Figure::Cpu, _) => "CPU per request",
        (Figure::P99, _) => "p99",
        (Figure::P999, _) => "p99.9",
        (Figure::Memory, _) => "memory per connection",
    }
}

fn shown(figure: Figure, workload: Workload, value: f64) -> String {
    match (figure, workload) {
        (Figure::Rate | Figure::Cpu, Workload::Bulk) => {
            format!("{value:.2}{}", if figure == Figure::Cpu { " s" } else { "" })
        }
        (Figure::Rate, _) => format!("{:.1} k", value / 1e3),
        (Figure::Cpu, _) => format!("{value:.1} us"),
        (Figure::P99 | Figure::P999, _) => format!("{:.2} ms", value / 1e3),
        (Figure::Memory, _) => format!("{value:.0} B"),
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0)
    } else {
        sorted.get(middle).copied()
    }
}
