//! Which stages take which outputs.

use crate::config::schema::{Action, readers};
use crate::config::{Experiment, Problem, StageInput, StageSpec};

/// Inputs that their stages cannot use.
pub fn input_problems(experiment: &Experiment) -> Vec<Problem> {
    let mut problems = Vec::new();
    for stage in &experiment.stages {
        let Some(taken) = stage.kind.action().map(taken_by) else {
            continue;
        };
        for input in &stage.inputs {
            let source = experiment.stage(&input.stage);
            if let Some(source) = source
                && !source
                    .kind
                    .action()
                    .is_some_and(|kind| taken.contains(&kind))
            {
                problems.push(problem(experiment, stage, source, input, &taken));
            }
        }
    }
    problems
}

/// Kinds whose outputs a kind can use.
fn taken_by(action: Action) -> Vec<Action> {
    use Action::*;
    match action {
        Train | TestDataLoader => [readers::SAVERS, &[CacheNounDataset]].concat(),
        MergeCaches => readers::SAVERS.to_vec(),
        Eval => [readers::SAVERS, &[Train, CacheNounDataset]].concat(),
        EvalCls | EvalClsDecoding | Infer => vec![Train],
        EmbedderZeroShot => vec![CacheCls],
        // Parts of one cache are joined.
        ConvertNounDataset => vec![ConvertNounDataset, CacheNounDataset],
        CacheNounMultiset | CacheCaptions | CacheCls | CacheImages => vec![action],
        FormatPreds => vec![Infer, EvalClsDecoding],
        FormatWandb | TestEmbedCache | CacheNounDataset | CollectWikiImages | SampleImages
        | FixCheckpoints => Vec::new(),
    }
}

fn problem(
    experiment: &Experiment,
    stage: &StageSpec,
    source: &StageSpec,
    input: &StageInput,
    taken: &[Action],
) -> Problem {
    let title = format!(
        "stage `{}` cannot use the output of `{}`, which is of kind {}",
        stage.name, source.name, source.kind
    );
    let problem = Problem::error(title).at(input.location.clone(), "");
    if taken.is_empty() {
        return problem.help(format!("stages of kind {} take no inputs", stage.kind));
    }
    let kinds: Vec<_> = taken.iter().map(|kind| kind.as_str()).collect();
    let usable = |other: &&StageSpec| {
        let kind = other.kind.action();
        other.name != stage.name && kind.is_some_and(|kind| taken.contains(&kind))
    };
    let here: Vec<_> = (experiment.stages.iter().filter(usable))
        .map(|other| format!("`{}`", other.name))
        .collect();
    let here = match here.is_empty() {
        true => String::new(),
        false => format!("; here: {}", here.join(", ")),
    };
    let kinds = kinds.join(", ");
    problem.help(format!(
        "{} takes outputs of kind {kinds}{here}",
        stage.kind
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Request, render};

    fn problems(text: &str) -> Vec<String> {
        let request = Request {
            file: "mine.toml".into(),
            text: Some(text.to_owned()),
            ..Request::default()
        };
        let experiment = Experiment::load(&request).unwrap();
        let problems = input_problems(&experiment);
        problems
            .into_iter()
            .map(|problem| render(&[problem], false))
            .collect()
    }

    const STAGES: &str = "[stage.nouns]\nkind = \"convert_noun_dataset\"\n\
        [stage.train]\nkind = \"train\"\ninputs = [\"nouns\"]\n\
        [stage.idle]\nkind = \"nothing\"\ninputs = [\"train\"]\n";

    #[test]
    fn inputs_that_a_kind_cannot_use_are_named_with_those_that_it_can() {
        assert!(problems(STAGES).is_empty());
        for (stage, words) in [
            ("kind = \"train\"\ninputs = [\"train\"]", "kind train"),
            ("kind = \"train\"\ninputs = [\"idle\"]", "kind nothing"),
            (
                "kind = \"infer\"\ninputs = [\"train\", \"nouns\"]",
                "here: `train`",
            ),
            (
                "kind = \"embedder_zero_shot\"\ninputs = [\"nouns\"]",
                "kind cache_cls",
            ),
            (
                "kind = \"sample_images\"\ninputs = [\"nouns\"]",
                "take no inputs",
            ),
        ] {
            let found = problems(&format!("{STAGES}[stage.more]\n{stage}\n"));
            assert_eq!(found.len(), 1, "{found:?}");
            for part in [words, "mine.toml:11", "`more` cannot use"] {
                assert!(found[0].contains(part), "{}", found[0]);
            }
        }
    }
}
