//! Layers: which value wins, where it comes from, what a stage gets.

use super::{load, load_with};
use crate::config::schema::{self, Action, Config, NoiseScheme};
use crate::config::{Experiment, Request, Show, StageKind, select};

#[test]
fn a_value_that_must_be_given_is_asked_for() {
    let text = "nouns.vocab_path = \"???\"\n[train.lr]\ninit = \"???\"\n[stage.train]\nkind = \"train\"\n[stage.idle]\nkind = \"nothing\"\n";
    let load = |overrides: &[&str]| {
        let request = Request {
            file: "mine.toml".into(),
            text: Some(text.into()),
            ..Request::default()
        };
        Experiment::load(&request.overrides(overrides.iter().copied()))
    };
    let errors = load(&[]).unwrap_err().to_string();
    for part in [
        "train.lr.init must be given",
        "mine.toml:3:8",
        "train.lr.init=VALUE",
        "nouns.vocab_path must be given",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
    let given = load(&["stage.train.train.lr.init=0.5", "nouns.vocab_path=embedded"]).unwrap();
    assert_eq!(given.stages[0].config.train.lr.init, 0.5);
}

#[test]
fn the_later_layer_wins_and_every_layer_is_remembered() {
    let files = [
        (
            "main.toml",
            "extends = \"base.toml\"\n[use]\nsize = \"big\"\n[model]\nlayers = 4\n",
        ),
        (
            "base.toml",
            "[model]\nlayers = 2\nheads = 2\nhidden_dim = 64\n",
        ),
        (
            "base/size/big.toml",
            "[model]\nlayers = 3\nheads = 4\nhidden_dim = 96\n",
        ),
    ];
    let environment = [("NOVIC__MODEL__LAYERS", "5")];
    let experiment = load_with(&files, &["num_layers=6"], &environment).expect("no problems");
    assert_eq!(experiment.config.model.layers, 6);
    assert_eq!(experiment.config.model.heads, 4);
    let stack = experiment.origins.stack("model.layers");
    let values: Vec<_> = stack.iter().map(|(value, _)| value.as_u64()).collect();
    assert_eq!(values, [6, 2, 3, 4, 5, 6].map(Some));
    let origins: Vec<_> = stack
        .iter()
        .map(|(_, origin)| {
            let text = origin.to_string();
            text.rsplit('/').next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(
        origins,
        [
            "default",
            "base.toml:2:10",
            "big.toml:2:10",
            "main.toml:5:10",
            "environment NOVIC__MODEL__LAYERS",
            "command line `num_layers=6`"
        ]
    );
    assert_eq!(experiment.files.len(), 3);
}

#[test]
fn the_command_line_chooses_groups() {
    let files = [
        ("main.toml", "[use]\nsize = \"big\"\n"),
        ("base/size/big.toml", "[model]\nlayers = 3\n"),
        ("base/size/small.toml", "[model]\nlayers = 1\n"),
    ];
    let layers = |overrides: &[&str]| load(&files, overrides).expect("fine").config.model.layers;
    assert_eq!(layers(&[]), 3);
    assert_eq!(layers(&["use.size=small"]), 1);
    assert_eq!(layers(&["~use.size"]), 6);
}

#[test]
fn a_stage_has_sections_then_its_table_then_overrides() {
    let text = "[train]\naccum_factor = 2\n[stage.a]\nkind = \"train\"\ntrain.accum_factor = 4\n[stage.b]\nkind = \"train\"\n";
    let accum = |overrides: &[&str]| {
        let experiment = load(&[("main.toml", text)], overrides).expect("fine");
        ["a", "b"].map(|name| {
            experiment
                .stage(name)
                .expect("a stage")
                .config
                .train
                .accum_factor
        })
    };
    assert_eq!(accum(&[]), [4, 2]);
    assert_eq!(accum(&["accum_factor=8"]), [8, 8]);
    assert_eq!(
        accum(&["stage.a.accum_factor=16", "train.accum_factor=8"]),
        [8, 8]
    );
    assert_eq!(
        accum(&["train.accum_factor=8", "stage.a.train.accum_factor=16"]),
        [16, 8]
    );
    assert_eq!(accum(&["~stage.a.train.accum_factor"]), [2, 2]);
    assert_eq!(accum(&["~train.accum_factor"]), [4, 8]);
}

#[test]
fn stages_are_added_changed_and_removed() {
    let text = "[stage.a]\nkind = \"nothing\"\n[stage.b]\nkind = \"nothing\"\ninputs = [\"a\"]\n";
    let files = [("main.toml", text)];
    let added = load(&files, &["+stage.c={kind: infer, inputs: [b]}"]).expect("fine");
    let stage = added.stage("c").expect("a stage");
    assert_eq!(stage.kind, StageKind::Action(Action::Infer));
    assert_eq!(stage.config.run.action, Action::Infer);
    assert_eq!(stage.inputs[0].stage, "b");
    let changed = load(&files, &["stage.b.inputs=[{stage: a, repeat: 4}]"]).expect("fine");
    assert_eq!(changed.stage("b").expect("a stage").inputs[0].repeat, 4);
    let removed = load(&files, &["~stage.b"]).expect("fine");
    assert_eq!(removed.stages.len(), 1);
    load(&files, &["~stage.a"]).expect_err("b takes it");
}

#[test]
fn unset_drops_what_is_inherited() {
    let files = [
        (
            "main.toml",
            "extends = \"a.toml\"\nunset = [\"train.lr\", \"lr_warmup\", \"stage.x\"]\n[train.lr]\nfinal = 0.001\n",
        ),
        (
            "a.toml",
            "[train.lr]\ninit = 0.5\nwarmup_chunks = 3\n[stage.x]\nkind = \"nothing\"\n",
        ),
    ];
    let experiment = load(&files, &[]).expect("fine");
    let lr = &experiment.config.train.lr;
    assert_eq!((lr.init, lr.r#final, lr.warmup_chunks), (0.0015, 0.001, 0));
    assert!(experiment.stages.is_empty());
}

#[test]
fn values_are_read_by_the_type_of_their_key() {
    let overrides = [
        "init_lr=1",
        "embedding_dataset=NounDataset",
        "fmt_min_stamp=20240131",
        "feedfwd_scale=1/2",
        "use_weights=null",
        "wandb_tags=[b, a]",
        "multi_mode=3",
        "noise_scheme=gausselem",
        "noise_vec_norm=3.25",
        "load_models=a b",
        "infer_texts=[\"it's\", 'a, b', c d]",
        "train.optimizer={type: adamp, beta1: 0.8}",
        "wandb=True",
        "wandb_name=Null",
        "load_model=",
    ];
    let config = load(&[("main.toml", "")], &overrides).expect("fine").config;
    assert_eq!(config.train.lr.init.to_bits(), 1.0f64.to_bits());
    assert_eq!(config.flat()["init_lr"].to_string(), "1.0");
    assert_eq!(config.tables.runs.min_stamp, "20240131");
    assert_eq!(config.flat()["feedfwd_scale"], "1/2");
    assert_eq!(config.model.feedforward_scale.of(512), Some(256));
    assert_eq!(config.target.weights, None);
    assert_eq!(config.tracking.tags.as_deref(), Some("b,a"));
    assert_eq!(config.flat()["multi_mode"], 3);
    assert_eq!(config.noise.scheme, NoiseScheme::GaussElem);
    assert_eq!(config.checkpoint.load_many, ["a b"]);
    assert_eq!(config.infer.texts, ["it's", "a, b", "c d"]);
    assert_eq!(config.train.optimizer.beta1, 0.8);
    assert_eq!(config.flat()["optimizer"], "AdamP");
    assert_eq!(config.get("tracking.wandb.mode"), Some("online".into()));
    assert_eq!(
        (config.tracking.name, config.checkpoint.load.as_str()),
        (None, "")
    );
}

#[test]
fn files_write_null_as_words() {
    let text = "[target]\nweights = \"auto\"\n[tracking]\nname = \"none\"\ngroup = \"g\"\n";
    let config = load(&[("main.toml", text)], &["~tracking.group"])
        .expect("fine")
        .config;
    assert_eq!(
        (
            config.target.weights,
            config.tracking.name,
            config.tracking.group
        ),
        (None, None, None)
    );
}

#[test]
fn references_take_the_values_of_the_stage() {
    let text = "[tracking]\nname = \"${embedder.spec}-${model.layers}\"\nnotes = \"${env:WHO,nobody}\"\n[model]\nheads = \"${model.layers}\"\nhidden_dim = 48\n[stage.small]\nkind = \"train\"\nmodel.layers = 2\n";
    let environment = [("WHO", "me")];
    let experiment =
        load_with(&[("main.toml", text)], &["embedder.spec=a:b"], &environment).expect("fine");
    assert_eq!(experiment.config.tracking.name.as_deref(), Some("a:b-6"));
    assert_eq!(experiment.config.tracking.notes.as_deref(), Some("me"));
    assert_eq!(experiment.config.model.heads, 6);
    let stage = experiment.stage("small").expect("a stage");
    assert_eq!(stage.config.tracking.name.as_deref(), Some("a:b-2"));
    assert_eq!(stage.config.model.heads, 2);
}

#[test]
fn variables_have_the_type_of_the_key() {
    let text = "[train]\nmax_chunks = \"${env:CHUNKS}\"\n[model]\ncompile = \"${env:FLAG}\"\n[generate]\nconfigs = \"${env:CONFIGS}\"\n[infer]\ntexts = [\"${env:LIST}\"]\n[tracking]\nname = \"${env:LIST}\"\n";
    let environment = [
        ("CHUNKS", "9"),
        ("FLAG", "true"),
        (
            "CONFIGS",
            "[greedy_k1_vnone_gp_t1_a0, beam_k3_vnone_gp_t1_a0]",
        ),
        ("LIST", "[x]"),
        ("NOVIC__TRAIN__MAX_EPOCHS", "${env:CHUNKS}"),
    ];
    let overrides = [
        "train.lr.init=${env:LR,1e-3}",
        "train.accum_factor=1${env:CHUNKS}",
    ];
    let config = load_with(&[("main.toml", text)], &overrides, &environment)
        .expect("fine")
        .config;
    assert_eq!((config.train.max_chunks, config.train.max_epochs), (9, 9));
    assert_eq!(
        (config.train.lr.init, config.train.accum_factor),
        (1e-3, 19)
    );
    assert_eq!(config.generate.configs.len(), 2);
    assert_eq!(config.infer.texts, ["[x]"]);
    assert!(config.model.compile);
    assert_eq!(config.tracking.name.as_deref(), Some("[x]"));
    let wrong = [("CHUNKS", "many")];
    let text = "[train]\nmax_chunks = \"${env:CHUNKS}\"\n";
    let errors = load_with(&[("main.toml", text)], &[], &wrong).unwrap_err();
    let errors = errors.to_string();
    for part in ["main.toml:2:14", "expected a whole number"] {
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn a_selection_has_what_is_read_and_nothing_else() {
    let mut config = Config::default();
    config.model.layers = 3;
    config.train.lr.init = 0.5;
    config.train.max_epochs = 7;
    let selection = select(&config, &["train.lr", "model.layers", "train.lr.init"]).expect("known");
    let paths: Vec<_> = selection.values.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "model.layers",
            "train.lr.final",
            "train.lr.init",
            "train.lr.schedule",
            "train.lr.warmup_chunks"
        ]
    );
    assert_eq!(selection.config.train.lr.init, 0.5);
    assert_eq!(
        selection.config.train.max_epochs,
        Config::default().train.max_epochs
    );
    assert!(select(&config, &["train.foo"]).is_err());
    let all = select(&config, &[""]).expect("known");
    assert_eq!(all.config, config);
    assert_eq!(all.values.len(), schema::keys().len());
}

#[test]
fn what_is_shown_gives_the_same_experiment() {
    let files = [
        (
            "main.toml",
            "extends = \"base.toml\"\n[experiment]\nprose = \"\"\"\nTwo\nlines \\\\ \"quoted\"\n\"\"\"\nseeds = [1, 2]\n[stage.a]\nkind = \"train\"\nmodel.layers = 2\n[stage.b]\nkind = \"infer\"\ninputs = [\"a\"]\ninfer.texts = [\"x\"]\n[table.t]\ntitle = \"T\"\nwhere = { \"a.b\" = 1 }\n[[table.t.col]]\nlabel = \"L\"\n",
        ),
        (
            "base.toml",
            "[merge]\nmulti_mode = 2\n[generate.grid]\nalpha = [1]\n",
        ),
    ];
    let experiment = load(&files, &["stage.b.run.seed=4"]).expect("fine");
    let shown = Show {
        origins: true,
        ..Show::default()
    }
    .experiment(&experiment);
    let request = Request {
        file: "main.toml".into(),
        text: Some(shown),
        ..Request::default()
    };
    let again =
        crate::config::Experiment::load(&request).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.config, experiment.config);
    assert_eq!(again.info, experiment.info);
    let stages = |experiment: &crate::config::Experiment| {
        let stages = experiment.stages.iter();
        stages
            .map(|stage| (stage.name.clone(), stage.kind, stage.config.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(stages(&again), stages(&experiment));
    let recorded =
        crate::config::recorded_experiment(&crate::config::experiment_json(&experiment, false));
    let request = Request {
        file: "main.toml".into(),
        text: Some(recorded),
        ..Request::default()
    };
    let recorded =
        crate::config::Experiment::load(&request).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(recorded.info, experiment.info);
    assert_eq!(stages(&recorded), stages(&experiment));
    assert_eq!(recorded.cells[0].to_json(), experiment.cells[0].to_json());
    assert_eq!(again.cells[0].to_json(), experiment.cells[0].to_json());
}

#[test]
fn every_default_is_in_range_and_set_and_get_agree() {
    let config = Config::default();
    let mut copy = Config::default();
    for key in schema::keys() {
        let value = config.get(key.path).expect("a leaf");
        assert_eq!(value, (key.default)(), "{}", key.path);
        copy.set(key.path, &value).expect("a value of its type");
        if let Some(number) = value.as_f64() {
            assert!(key.range.contains(number), "{}", key.path);
        }
        assert!(
            !key.doc.trim().is_empty() && !key.readers.is_empty(),
            "{}",
            key.path
        );
    }
    assert_eq!(copy, config);
    assert!(copy.set("train.lr", &1.into()).is_err());
    let json = serde_json::to_value(&config).expect("serialisable");
    assert_eq!(
        serde_json::from_value::<Config>(json).expect("the same"),
        config
    );
}

#[test]
fn experiments_are_compared_value_by_value() {
    let a = "[train]\nlr.init = 0.5\n[stage.x]\nkind = \"train\"\nmodel.layers = 2\n[stage.y]\nkind = \"nothing\"\n";
    let b = "[train]\nlr.init = 0.25\n[stage.x]\nkind = \"train\"\nmodel.layers = 3\ntarget.weights = \"auto\"\n[stage.z]\nkind = \"nothing\"\ninputs = [\"x\"]\n";
    let [a, b] = [a, b].map(|text| load(&[("main.toml", text)], &[]).expect("fine"));
    let found: Vec<_> = crate::config::experiment_differences(&a, &b)
        .into_iter()
        .map(|difference| format!("{} {}", difference.path, difference.texts().join(" → ")))
        .collect();
    assert_eq!(
        found,
        [
            "train.lr.init 0.5 → 0.25",
            "stage.x.target.weights false → \"auto\"",
            "stage.x.model.layers 2 → 3",
            "stage.y.kind \"nothing\" → –",
            "stage.y.inputs [] → –",
            "stage.z.kind – → \"nothing\"",
            "stage.z.inputs – → [\"x\"]",
        ]
    );
    assert!(crate::config::experiment_differences(&a, &a).is_empty());
}
