//! `tracking.wandb.metrics`: what metrics are shown over, and what is left of them.

/// What the service's summary has of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryKind {
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The mean of all values.
    Mean,
    /// The last value, beside others.
    Last,
    /// Nothing.
    None,
}

impl SummaryKind {
    /// Kinds with their names.
    pub const NAMES: [(&str, SummaryKind); 5] = [
        ("min", SummaryKind::Min),
        ("max", SummaryKind::Max),
        ("mean", SummaryKind::Mean),
        ("last", SummaryKind::Last),
        ("none", SummaryKind::None),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| *name)
    }
}

/// An element of `tracking.wandb.metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricRule {
    /// Name of the metric, or its beginning and `*`.
    pub name: String,
    /// Metric that it is shown over.
    pub step: Option<String>,
    /// What the summary has of it; nothing named: its last value.
    pub summary: Vec<SummaryKind>,
}

impl MetricRule {
    /// Reads `NAME [by STEP] [KIND …]`.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn read(text: &str) -> Result<MetricRule, String> {
        let expected =
            || "expected NAME [by STEP] [min|max|mean|last|none], such as `loss by sample min`";
        let mut words = text.split_whitespace();
        let name = words.next().ok_or_else(expected)?;
        let stars = name.matches('*').count();
        if stars > 1 || (stars == 1 && !name.ends_with('*')) {
            return Err("a `*` stands at the end of a name".to_owned());
        }
        let mut rule = MetricRule {
            name: name.to_owned(),
            step: None,
            summary: Vec::new(),
        };
        while let Some(word) = words.next() {
            let kind = SummaryKind::NAMES.iter().find(|(name, _)| *name == word);
            match (word, kind) {
                ("by", _) if rule.step.is_none() => {
                    let step = words.next().filter(|step| !step.contains('*'));
                    rule.step = Some(step.ok_or_else(expected)?.to_owned());
                }
                (_, Some((_, kind))) if !rule.summary.contains(kind) => rule.summary.push(*kind),
                _ => return Err(expected().to_owned()),
            }
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_or_refused_with_a_reason() {
        let rule = MetricRule::read("val/*  by epoch min max").unwrap();
        assert_eq!(rule.name, "val/*");
        assert_eq!(rule.step.as_deref(), Some("epoch"));
        assert_eq!(rule.summary, [SummaryKind::Min, SummaryKind::Max]);
        assert_eq!(
            MetricRule::read("loss none").unwrap().summary[0].name(),
            "none"
        );
        for (text, why) in [
            ("", "expected NAME"),
            ("*/loss", "at the end"),
            ("loss by", "expected NAME"),
            ("loss by val/*", "expected NAME"),
            ("loss smallest", "min|max"),
            ("loss min min", "expected NAME"),
        ] {
            let error = MetricRule::read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
