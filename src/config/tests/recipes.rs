//! The shipped recipes say what the published commands said.

use std::path::Path;

use crate::config::schema::{Config, NoiseScheme};
use crate::config::{Experiment, Request};

fn recipe(name: &str) -> Experiment {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("experiments")
        .join(name);
    let request = Request {
        file,
        ..Request::default()
    };
    Experiment::load(&request).unwrap_or_else(|errors| panic!("{errors}"))
}

fn stage(experiment: &Experiment, name: &str) -> Config {
    experiment
        .stage(name)
        .unwrap_or_else(|| panic!("no stage {name}"))
        .config
        .clone()
}

#[test]
fn recipes_have_the_published_values() {
    let so400m = "openclip:timm/ViT-SO400M-14-SigLIP";
    let dfn5b = "openclip:apple/DFN5B-CLIP-ViT-H-14-378";
    for (name, spec, threshold) in [
        ("ta4.toml", "openclip:timm/ViT-B-16-SigLIP", 2),
        ("yb3.toml", so400m, 2),
        ("ya2.toml", dfn5b, 2),
        ("ye2.toml", dfn5b, 0),
    ] {
        let experiment = recipe(name);
        assert!(experiment.warnings.is_empty(), "{name}");
        for spec_of in &experiment.stages {
            assert_eq!(spec_of.config.embedder.spec, spec, "{name}");
            assert_eq!(spec_of.config.nouns.vocab_threshold, threshold, "{name}");
        }
        assert_eq!(stage(&experiment, "nouns").multiset.freq, [1, 1, 1]);
        assert_eq!(stage(&experiment, "captions").captions.templates, 10);
        let merged = &experiment.stage("merged").expect("a stage").inputs;
        let inputs: Vec<_> = merged
            .iter()
            .map(|i| (i.stage.as_str(), i.repeat))
            .collect();
        assert_eq!(inputs, [("nouns", 1), ("captions", 4)]);
        let train = stage(&experiment, "train");
        assert_eq!(
            (train.target.multi, train.target.weights),
            (Some(true), Some(true))
        );
        assert_eq!(train.train.accum_factor, 16);
        let noise = &train.noise;
        assert_eq!(noise.scheme, NoiseScheme::GaussElemUniformAngle);
        let angles = (noise.angle_min, noise.angle_max);
        assert_eq!(
            (noise.vec_norm, angles, noise.mix_ratio),
            (3.25, (45.0, 75.0), 0.15)
        );
        for name in ["benchmarks", "world"] {
            let config = stage(&experiment, name);
            assert_eq!(config.generate.configs, ["beam_k10_vnone_gp_t1_a0"]);
            assert_eq!(config.embedder.batch_image, 128);
        }
    }
}
