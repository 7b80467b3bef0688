//! A strict reader of Prometheus' text format, for tests: what it takes, every scraper takes.
//!
//! Stricter than the format: each metric has its HELP and its TYPE, in this order, and all its samples right behind.

use std::collections::BTreeMap;

/// Labels in order of their names.
pub(super) type Labels = BTreeMap<String, String>;

/// One metric as a scraper sees it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) samples: Vec<Sample>,
}

/// One line that is no comment.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// All metrics of a text, by name.
///
/// # Errors
///
/// What is wrong, with the line.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let mut families = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, _) = comment(help, "# HELP ").ok_or_else(|| format!("no help: {help}"))?;
        let line = lines.next().unwrap_or_default();
        let (typed, kind) = comment(line, "# TYPE ").ok_or_else(|| format!("no type: {line}"))?;
        if typed != name || !is_name(name) {
            return Err(format!("help for {name}, type for {typed}"));
        }
        let mut family = Family { kind: kind.to_owned(), samples: Vec::new() };
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            family.samples.push(sample(line).ok_or_else(|| format!("no sample: {line}"))?);
        }
        check(name, &family)?;
        if families.insert(name.to_owned(), family).is_some() {
            return Err(format!("{name} stands there twice"));
        }
    }
    Ok(families)
}

fn comment<'a>(line: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(mark)?.split_once(' ').filter(|(_, rest)| !rest.is_empty())
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `name{label="value",label="value"} 1.5`
fn sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = match head.split_once('{') {
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
        None => (head, Labels::new()),
    };
    let value: f64 = value.parse().ok()?;
    (is_name(name) && value.is_finite()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Values here are codes and numbers: none needs a quote, a comma or a backslash.
fn labels(text: &str) -> Option<Labels> {
    let mut labels = Labels::new();
    for pair in text.split("\",") {
        let (name, value) = pair.split_once("=\"")?;
        let value = value.strip_suffix('"').unwrap_or(value);
        let taken = labels.insert(name.to_owned(), value.to_owned());
        if !is_name(name) || value.contains(['"', '\\', '\n']) || taken.is_some() {
            return None;
        }
    }
    text.ends_with('"').then_some(labels)
}

fn check(name: &str, family: &Family) -> Result<(), String> {
    let fits = |sample: &Sample| match family.kind.as_str() {
        "counter" => sample.name == name && name.ends_with("_total") && sample.value >= 0.0,
        "gauge" => sample.name == name && !name.ends_with("_total"),
        "histogram" => {
            sample.name.strip_prefix(name).is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        }
        _ => false,
    };
    if let Some(stray) = family.samples.iter().find(|sample| !fits(sample)) {
        return Err(format!("not of a {} {name}: {stray:?}", family.kind));
    }
    for (at, sample) in family.samples.iter().enumerate() {
        if family.samples[..at].iter().any(|other| other.name == sample.name && other.labels == sample.labels)
        {
            return Err(format!("twice: {sample:?}"));
        }
    }
    if family.kind == "histogram" { check_histograms(name, family) } else { Ok(()) }
}

/// The buckets of each histogram, bounds and counts both rising, and its count.
fn check_histograms(name: &str, family: &Family) -> Result<(), String> {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").and_then(|le| le.parse().ok());
        let bound = bound.ok_or_else(|| format!("a bucket without a bound: {sample:?}"))?;
        buckets.entry(labels).or_default().push((bound, sample.value));
    }
    for (labels, buckets) in &buckets {
        if !buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1) {
            return Err(format!("buckets of {name} {labels:?} do not rise: {buckets:?}"));
        }
        let count =
            family.samples.iter().find(|sample| sample.name.ends_with("_count") && sample.labels == *labels);
        if buckets.last() != count.map(|count| (f64::INFINITY, count.value)).as_ref() {
            return Err(format!("the last bucket of {name} {labels:?} is not its count"));
        }
    }
    Ok(())
}

mod tests {
    use super::*;

    #[test]
    fn what_a_scraper_would_stumble_over_is_found() {
        let head = "# HELP x_seconds Help.\n# TYPE x_seconds";
        let buckets = |first, second, count| {
            let samples =
                format!("x_seconds_bucket{{le=\"0.1\"}} {first}\nx_seconds_bucket{{le=\"+Inf\"}} {second}");
            format!("{head} histogram\n{samples}\nx_seconds_sum 1\nx_seconds_count {count}\n")
        };
        let sound = [buckets(1, 2, 2), format!("{head} gauge\n"), format!("{head} gauge\nx_seconds 1.5\n")];
        for text in sound {
            assert!(read(&text).is_ok(), "{text}");
        }
        let broken = [
            buckets(3, 2, 2),
            buckets(1, 2, 3),
            "x_seconds 1\n".into(),
            "# TYPE x_seconds gauge\nx_seconds 1\n".into(),
            "# HELP x_total Help.\n# TYPE x_total gauge\nx_total 1\n".into(),
            format!("{head} counter\nx_seconds 1\n"),
            format!("{head} gauge\nx_seconds 1"),
            format!("{head} gauge\nx_seconds one\n"),
            format!("{head} gauge\nx_seconds NaN\n"),
            format!("{head} gauge\ny_seconds 1\n"),
            format!("{head} gauge\nx_seconds{{a=\"b}} 1\n"),
            format!("{head} gauge\nx_seconds{{a=\"b\" 1\n"),
            format!("{head} gauge\nx_seconds{{a=b}} 1\n"),
            format!("{head} gauge\nx_seconds{{a=\"b\"}} 1\nx_seconds{{a=\"b\"}} 2\n"),
            format!("{head} gauge\nx_seconds 1\n{head} gauge\nx_seconds 1\n"),
        ];
        for text in broken {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
