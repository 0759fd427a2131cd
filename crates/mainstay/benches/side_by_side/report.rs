//! Tables of what was measured: medians, and ratios to HAProxy within one round.
//!
//! Owns [`Report`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::product::Product;
use crate::workload::{Figure, Figures, Workload};

/// Everything that was measured, round by round.
pub(crate) struct Report {
    products: Vec<Product>,
    workloads: Vec<Workload>,
    values: BTreeMap<(Workload, Figure, Product), Vec<f64>>,
}

/// To what the others are compared.
pub(crate) const REFERENCE: Product = Product::Haproxy;

/// What the rows of a table are about, in this order.
const FIGURES: [Figure; 6] =
    [Figure::Rate, Figure::Cpu, Figure::MachineCpu, Figure::P99, Figure::P999, Figure::Memory];

/// The median of ratios with the lowest and the highest of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) low: f64,
    pub(crate) middle: f64,
    pub(crate) high: f64,
}

impl Report {
    pub(crate) fn new(products: &[Product], workloads: &[Workload]) -> Self {
        Self { products: products.to_vec(), workloads: workloads.to_vec(), values: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, product: Product, workload: Workload, figures: Figures) {
        for (figure, value) in figures {
            self.values.entry((workload, figure, product)).or_default().push(value);
        }
    }

    /// What was measured.
    pub(crate) fn products(&self) -> &[Product] {
        &self.products
    }

    /// Every row that somebody has a value in.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Workload, Figure)> {
        let rows = self
            .workloads
            .iter()
            .flat_map(|&workload| FIGURES.map(|figure| (workload, figure)))
            .filter(|&(workload, figure)| !workload.grows() || figure != Figure::P999);
        rows.filter(|&(workload, figure)| {
            self.products.iter().any(|&product| !self.values(workload, figure, product).is_empty())
        })
    }

    /// The whole page, for people who were not there.
    pub(crate) fn page(&self, command: &str) -> String {
        format!(
            "# Performance\n\n\
             mainstay beside other balancers, all with the same {cores} cores of one machine, in one run of\n\n\
             ```\nmake bench BENCH=\"{command}\"\n```\n\n\
             on Linux {kernel}, with {haproxy} and {nginx}. Clients, balancer and servers are three network namespaces joined \
             by two cables, on the same cores. Each cell is the median over all rounds; **bold** is the median of the ratios to \
             HAProxy within each round, with the lowest and the highest of them. A virtual machine's speed moves: look at \
             ratios, and at CPU time rather than at rates.\n\n\
             ![Ratios to HAProxy](performance.svg)\n\n{tables}\n",
            cores = std::thread::available_parallelism().map_or(1, usize::from),
            kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
            haproxy = version("haproxy"),
            nginx = version("nginx"),
            tables = self.markdown(),
        )
    }

    /// One row for each figure, one column for each product.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| |");
        for product in &self.products {
            let _ = write!(text, " {} |", product.name());
        }
        text.push_str("\n| --- |");
        text.push_str(&" --- |".repeat(self.products.len()));
        for (workload, figure) in self.rows() {
            let _ = write!(text, "\n| {} {} |", workload.name(), label(workload, figure));
            for &product in &self.products {
                let _ = write!(text, " {} |", self.cell(workload, figure, product));
            }
        }
        text.push('\n');
        let mut meanings: Vec<(Cow<'_, str>, &str)> = Vec::new();
        for workload in &self.workloads {
            let name = if workload.grows() {
                workload.name().trim_start_matches(|c: char| c.is_numeric() || c == '-').to_owned().into()
            } else {
                workload.name()
            };
            if meanings.iter().all(|(known, _)| *known != name) {
                meanings.push((name, workload.meaning()));
            }
        }
        for (name, meaning) in meanings {
            let _ = write!(text, "\n- {name}: {meaning}");
        }
        if self.products.contains(&Product::Nat) {
            text.push_str(
                "\n- CPU of mainstay-nat: what the whole machine spends more than with clients that connect to the servers; its \
                 connections cost the kernel memory, and no process",
            );
        }
        text
    }

    /// How a product compares to HAProxy.
    pub(crate) fn ratio(&self, workload: Workload, figure: Figure, product: Product) -> Option<Ratio> {
        let of = |product| self.values(workload, figure, product);
        // Nobody's CPU time and memory: there is nothing in between.
        if product == REFERENCE
            || product == Product::Direct && matches!(figure, Figure::Cpu | Figure::Memory)
        {
            return None;
        }
        let mut ratios: Vec<f64> =
            of(product).iter().zip(of(REFERENCE)).map(|(value, reference)| value / reference).collect();
        ratios.sort_by(f64::total_cmp);
        Some(Ratio { low: *ratios.first()?, middle: median(&ratios)?, high: *ratios.last()? })
    }

    /// One for each round. What the kernel forwards costs no process anything: its cost is what the machine spends more than
    /// without anything in between.
    fn values(&self, workload: Workload, figure: Figure, product: Product) -> Vec<f64> {
        let measured = |figure, product| self.values.get(&(workload, figure, product)).cloned();
        if (product, figure) != (Product::Nat, Figure::Cpu) {
            return measured(figure, product).unwrap_or_default();
        }
        let all = measured(Figure::MachineCpu, Product::Nat).unwrap_or_default();
        let direct = measured(Figure::MachineCpu, Product::Direct).unwrap_or_default();
        all.iter().zip(direct).map(|(all, direct)| all - direct).collect()
    }

    fn cell(&self, workload: Workload, figure: Figure, product: Product) -> String {
        let Some(middle) = median(&self.values(workload, figure, product)) else { return String::new() };
        if product == Product::Direct && matches!(figure, Figure::Cpu | Figure::Memory) {
            return "-".to_owned();
        }
        let shown = shown(figure, workload, middle);
        match self.ratio(workload, figure, product) {
            Some(Ratio { low, middle, high }) => format!("{shown}, **{middle:.2}x** ({low:.2}-{high:.2})"),
            None => shown,
        }
    }
}

pub(crate) fn label(workload: Workload, figure: Figure) -> String {
    let unit = match workload {
        Workload::Bulk => "GB",
        Workload::NewConnections | Workload::Servers(_) | Workload::Endpoints(_) => "connection",
        _ => "request",
    };
    match figure {
        Figure::Rate if workload == Workload::Bulk => "GB/s".to_owned(),
        Figure::Rate => format!("{unit}s/s"),
        Figure::Cpu => format!("CPU per {unit}"),
        Figure::MachineCpu => format!("CPU of the machine per {unit}"),
        Figure::P99 => "p99".to_owned(),
        Figure::P999 => "p99.9".to_owned(),
        Figure::Memory => "memory per connection".to_owned(),
    }
}

fn shown(figure: Figure, workload: Workload, value: f64) -> String {
    match (figure, workload) {
        (Figure::Rate, Workload::Bulk) => format!("{value:.2}"),
        (Figure::Cpu | Figure::MachineCpu, Workload::Bulk) => format!("{value:.2} s"),
        (Figure::Rate, _) => format!("{:.1} k", value / 1e3),
        (Figure::Cpu | Figure::MachineCpu, _) => format!("{value:.1} us"),
        (Figure::P99 | Figure::P999, _) => format!("{:.2} ms", value / 1e3),
        (Figure::Memory, _) => format!("{value:.0} B"),
    }
}

/// What a program calls itself.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("-v").output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or("nothing of that name").trim_start_matches("nginx version: ").to_owned()
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
