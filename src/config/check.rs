//! Checks between values: what each alone is fine but together is not.

use super::experiment::push_new;
use super::origin::Origins;
use super::problem::Problem;
use super::schema::{self, Action, Config, NoiseScheme};
use super::source::Location;
use super::stage::{StageInput, StageKind, StageSpec};

/// Checks the values of a configuration against each other, for what its kind
/// of stage reads (without a kind: everything).
pub(super) fn cross_fields(
    config: &Config,
    origins: &Origins,
    kind: Option<StageKind>,
    problems: &mut Vec<Problem>,
) {
    let mut check = Check {
        config,
        origins,
        kind,
        problems,
    };
    check.model();
    check.training();
    check.noise();
    check.captions();
}

struct Check<'a> {
    config: &'a Config,
    origins: &'a Origins,
    kind: Option<StageKind>,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn model(&mut self) {
        let model = &self.config.model;
        if !self.reads("model.hidden_dim") {
            return;
        }
        if !model.hidden_dim.is_multiple_of(model.heads) {
            let title = format!(
                "{} attention heads do not divide the width {}",
                model.heads, model.hidden_dim
            );
            self.report(
                Problem::error(title)
                    .help("choose model.heads so that model.hidden_dim / model.heads is whole"),
                &["model.heads", "model.hidden_dim"],
            );
        }
        if model
            .feedforward_scale
            .of(model.hidden_dim)
            .is_none_or(|width| width == 0)
        {
            let title = format!(
                "the feed-forward width {} × {} is not whole",
                model.hidden_dim, model.feedforward_scale
            );
            self.report(
                Problem::error(title).help(
                    "choose model.feedforward_scale so that model.hidden_dim times it is whole",
                ),
                &["model.feedforward_scale", "model.hidden_dim"],
            );
        }
    }

    fn training(&mut self) {
        if !self.reads("train.max_epochs") {
            return;
        }
        let (train, checkpoint) = (&self.config.train, &self.config.checkpoint);
        if checkpoint.save_every_min > checkpoint.save_every_max {
            let title = format!(
                "the fewest chunks between checkpoints ({}) are more than the most ({})",
                checkpoint.save_every_min, checkpoint.save_every_max
            );
            self.report(
                Problem::error(title)
                    .help("choose checkpoint.save_every_min ≤ checkpoint.save_every_max"),
                &["checkpoint.save_every_min", "checkpoint.save_every_max"],
            );
        }
        if train.lr.r#final > train.lr.init {
            let title = format!(
                "the final learning rate {} is above the initial rate {}",
                train.lr.r#final, train.lr.init
            );
            self.report(
                Problem::warning(title).help("the rate will rise during the training"),
                &["train.lr.final", "train.lr.init"],
            );
        }
        if train.last_dropout.chunks > 0 && train.max_chunks == 0 && train.max_epochs == 0 {
            self.report(
                Problem::warning("the final phase with rescaled dropout is never reached")
                    .help("give train.max_chunks or train.max_epochs"),
                &[
                    "train.last_dropout.chunks",
                    "train.max_chunks",
                    "train.max_epochs",
                ],
            );
        }
    }

    fn noise(&mut self) {
        if !self.reads("noise.scheme") {
            return;
        }
        use NoiseScheme::*;
        let noise = &self.config.noise;
        let scheme = noise.scheme;
        let elem = matches!(scheme, GaussElem | GaussVec | GaussElemUniformAngle);
        let uniform = matches!(scheme, UniformAngle | GaussElemUniformAngle);
        // Name, value, whether the scheme uses it, whether it must be positive.
        let parameters = [
            ("noise.vec_norm", noise.vec_norm, elem, elem),
            ("noise.angle_min", noise.angle_min, uniform, false),
            (
                "noise.angle_max",
                noise.angle_max,
                uniform || scheme == GaussAngle,
                scheme == GaussAngle,
            ),
            (
                "noise.angle_std",
                noise.angle_std,
                scheme == GaussAngle,
                scheme == GaussAngle,
            ),
            (
                "noise.mix_ratio",
                noise.mix_ratio,
                scheme == GaussElemUniformAngle,
                false,
            ),
        ];
        for (path, value, used, positive) in parameters {
            if positive && value <= 0.0 {
                let title = format!("noise scheme {scheme} needs a positive {path}, found {value}");
                self.report(
                    Problem::error(title).help(format!("give {path}, or choose another scheme")),
                    &[path, "noise.scheme"],
                );
            } else if !used && value != 0.0 {
                let title = match scheme {
                    None => format!("{path} has no effect without a noise scheme"),
                    scheme => format!("{path} has no effect with the noise scheme {scheme}"),
                };
                self.report(
                    Problem::warning(title).help("set it to 0, or choose a scheme that uses it"),
                    &[path, "noise.scheme"],
                );
            }
        }
        if uniform && noise.angle_min > noise.angle_max {
            let title = format!(
                "the smallest noise angle {}° is above the largest {}°",
                noise.angle_min, noise.angle_max
            );
            self.report(
                Problem::error(title).help("choose noise.angle_min ≤ noise.angle_max"),
                &["noise.angle_min", "noise.angle_max"],
            );
        }
    }

    fn captions(&mut self) {
        let captions = &self.config.captions;
        if self.reads("captions.samples") && captions.samples < captions.templates {
            let title = format!(
                "{} samples per unit cannot use {} caption templates",
                captions.samples, captions.templates
            );
            self.report(
                Problem::error(title).help("choose captions.samples ≥ captions.templates"),
                &["captions.samples", "captions.templates"],
            );
        }
    }

    fn reads(&self, path: &str) -> bool {
        match self.kind {
            Option::None => true,
            Some(StageKind::Nothing) => false,
            Some(StageKind::Action(action)) => reads(action, path),
        }
    }

    /// Adds a problem at the places where the keys are given.
    fn report(&mut self, problem: Problem, paths: &[&str]) {
        let given = paths
            .iter()
            .filter_map(|&path| Some((path, self.origins.location(path)?)));
        let problem = given.fold(problem, |problem, (path, location)| {
            problem.at(location.clone(), path)
        });
        push_new(self.problems, problem);
    }
}

fn reads(action: Action, path: &str) -> bool {
    schema::key(path).is_some_and(|key| key.readers.contains(&action))
}

/// A seed that is given twice would run the same stages twice.
pub(super) fn repeated_seeds(
    seeds: &[u64],
    location: Option<&Location>,
    problems: &mut Vec<Problem>,
) {
    let repeated = (1..seeds.len()).find(|&at| seeds[..at].contains(&seeds[at]));
    if let Some(at) = repeated {
        let title = format!("experiment.seeds has {} twice", seeds[at]);
        let problem = Problem::error(title).help("give every seed once");
        problems.push(match location {
            Some(location) => problem.at(location.clone(), ""),
            None => problem,
        });
    }
}

/// An input fills fields that its consumer would read files from; they must not
/// be given too.
pub(super) fn filled_fields(
    stage: &StageSpec,
    source: &StageSpec,
    input: &StageInput,
    problems: &mut Vec<Problem>,
) {
    let (Some(consumer), Some(producer)) = (stage.kind.action(), source.kind.action()) else {
        return;
    };
    let fields: &[&str] = match producer {
        Action::Train => &["checkpoint.load", "checkpoint.load_many"],
        Action::Infer | Action::EvalClsDecoding => &["predictions.load"],
        _ if schema::readers::SAVERS.contains(&producer) => &["data.dataset", "data.datasets"],
        _ => &[],
    };
    for &field in fields {
        if !reads(consumer, field) {
            continue;
        }
        let Some(location) = stage.origins.location(field) else {
            continue;
        };
        // Written out, the default is still no choice.
        if stage.config.get(field) == schema::key(field).map(|key| (key.default)()) {
            continue;
        }
        let title = format!(
            "stage `{}` takes `{}` as input, which fills {field}: it must not be given too",
            stage.name, input.stage
        );
        let problem = Problem::error(title)
            .at(location.clone(), "given here")
            .at(input.location.clone(), "filled by this input")
            .help("leave out one of them");
        push_new(problems, problem);
    }
}
