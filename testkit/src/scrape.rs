//! Prometheus' text format, as much of it as tests ask for.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::ensure;

use crate::client;

/// The samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Asks `GET /metrics`.
    ///
    /// # Errors
    /// If the answer is not 200.
    pub async fn scrape(address: SocketAddr) -> anyhow::Result<Self> {
        let answer = client::request(address, "GET /metrics").await?;
        ensure!(answer.status() == 200, "/metrics answered {}", answer.status());
        Ok(Self::parse(&String::from_utf8_lossy(answer.body())))
    }

    /// Reads the text; lines that are no samples are left out.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(samples.filter_map(Sample::parse).collect())
    }

    /// The sum of all samples of this name that have all these labels; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|found| found == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        self.0.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// All values that a label of this metric takes, sorted.
    pub fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let samples = self.0.iter().filter(|sample| sample.name == name);
        let mut values = samples
            .filter_map(|sample| sample.labels.get(label).map(String::as_str))
            .collect::<Vec<_>>();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// How many samples there are: the bound on cardinality.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let Some((name, labels)) = series.split_once('{') else {
            return Some(Self { name: series.to_owned(), labels: BTreeMap::new(), value });
        };
        let labels = labels.strip_suffix('}')?;
        Some(Self { name: name.to_owned(), labels: read_labels(labels)?, value })
    }
}

/// `a="b",c="d\"e"`.
fn read_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(match characters.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.insert(name.to_owned(), value);
        text = characters.as_str().trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE requests counter\n\
        requests{src=\"checkout\",code=\"200\"} 7\n\
        requests{src=\"checkout\",code=\"403\"} 2\n\
        requests{src=\"a \\\"b\\\" c\",code=\"200\"} 1\n\
        up 1\n";

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_asked_for() {
        let metrics = Metrics::parse(TEXT);

        assert_eq!(metrics.sum("requests", &[("src", "checkout")]), 9.0);
        assert_eq!(metrics.sum("requests", &[("code", "200")]), 8.0);
        assert_eq!(metrics.sum("requests", &[("src", "a \"b\" c")]), 1.0);
        assert_eq!(metrics.sum("up", &[]), 1.0);
        assert_eq!(metrics.sum("down", &[]), 0.0);
        assert_eq!(metrics.values("requests", "code"), ["200", "403"]);
        assert_eq!(metrics.len(), 4);
    }
}
