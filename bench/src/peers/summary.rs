//! Medians and spreads of several runs.

use super::line::Line;

/// Of some figures: the one in the middle, the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// None of no figures.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let upper = *figures.get(middle)?;
        let lower = *figures.get((figures.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }
}

/// The runs of one contender.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    pub contender: String,
    pub runs: usize,
    pub events_per_second: Spread,
    /// Of the program, Kafka, Redis and the receiver, per million records.
    pub cpu_seconds: [Spread; 4],
    pub peak_mib: Spread,
    pub repeats: Spread,
    /// Runs after which something was missing or doubled.
    pub faulty: usize,
}

/// One for each contender, in the order in which they come first.
pub(super) fn summaries(lines: &[Line]) -> Vec<Summary> {
    let mut names: Vec<&str> = Vec::new();
    for line in lines {
        if !names.contains(&line.contender.as_str()) {
            names.push(&line.contender);
        }
    }
    names.into_iter().filter_map(|name| summary(name, lines)).collect()
}

fn summary(name: &str, lines: &[Line]) -> Option<Summary> {
    let of = || lines.iter().filter(|line| line.contender == name);
    let spread = |figure: fn(&Line) -> f64| Spread::of(of().map(figure));
    Some(Summary {
        contender: name.to_owned(),
        runs: of().count(),
        events_per_second: spread(|line| line.events_per_second)?,
        cpu_seconds: [
            spread(|line| line.cpu_seconds_per_million.program)?,
            spread(|line| line.cpu_seconds_per_million.kafka)?,
            spread(|line| line.cpu_seconds_per_million.redis)?,
            spread(|line| line.cpu_seconds_per_million.receiver)?,
        ],
        peak_mib: spread(|line| line.peak_mib)?,
        #[allow(clippy::cast_precision_loss, reason = "some thousand")]
        repeats: spread(|line| line.repeats as f64)?,
        faulty: of().filter(|line| line.fault.is_some()).count(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::line::Costs;
    use super::*;

    pub(in super::super) fn line(contender: &str, run: u32, events_per_second: f64) -> Line {
        Line {
            measured: "peers".to_owned(),
            contender: contender.to_owned(),
            run,
            records: 1000,
            partitions: 4,
            contents: 10,
            with_schema: false,
            events_per_second,
            seconds: 1.0,
            start_seconds: 0.1,
            cpu_seconds_per_million: Costs { program: 4.0, kafka: 3.0, redis: 2.0, receiver: 1.0 },
            peak_mib: 100.0,
            repeats: 0,
            cores: 2,
            load_average: 0.5,
            fault: None,
        }
    }

    #[test]
    fn the_median_is_the_one_in_the_middle_or_between_the_two() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0]), Some(Spread { median: 3.0, least: 3.0, most: 3.0 }));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
    }

    #[test]
    fn each_contender_has_its_own_runs_in_order() {
        let mut lines = vec![
            line("b", 1, 10.0),
            line("a", 1, 1.0),
            line("a", 2, 3.0),
            line("b", 2, 30.0),
            line("b", 3, 20.0),
        ];
        if let Some(line) = lines.last_mut() {
            line.fault = Some("one is missing".to_owned());
        }
        let summaries = summaries(&lines);
        let told: Vec<_> = summaries
            .iter()
            .map(|summary| {
                (summary.contender.as_str(), summary.runs, summary.events_per_second.median, summary.faulty)
            })
            .collect();
        assert_eq!(told, [("b", 3, 20.0, 1), ("a", 2, 2.0, 0)]);
    }
}
