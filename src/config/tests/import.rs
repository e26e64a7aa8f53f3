//! Commands of the original as experiment files.

use std::path::Path;

use insta::assert_snapshot;

use crate::config::import::{Imported, import_command, import_script, import_yaml};
use crate::config::schema::AnnotateMode;
use crate::config::{ConfigErrors, Experiment, Request, render};

fn command(line: &str) -> Result<Imported, ConfigErrors> {
    import_command(&shlex::split(line).expect("words"), None)
}

fn text(line: &str) -> String {
    command(line)
        .unwrap_or_else(|errors| panic!("{errors}"))
        .text
}

fn refused(line: &str) -> String {
    command(line).expect_err("problems").to_string()
}

fn load(text: &str) -> Experiment {
    let request = Request {
        file: "imported.toml".into(),
        text: Some(text.to_owned()),
        ..Request::default()
    };
    Experiment::load(&request).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

#[test]
fn a_training_command() {
    let line = "CUDA_VISIBLE_DEVICES=1 python3 ./train.py action=train embedding_dataset=cache.bin use_weights=null lr_warmup=2 lr_warmup=3 determ=True compile=True hydra.run.dir=outputs/x \"mean_shift_path='$SOURCE/gap.json'\" feedfwd_scale=0.5 ~max_epochs";
    assert_snapshot!(text(line), @r#"
    # Imported from
    #   CUDA_VISIBLE_DEVICES=1 python3 ./train.py action=train embedding_dataset=cache.bin use_weights=null lr_warmup=2 lr_warmup=3 determ=True compile=True hydra.run.dir=outputs/x "mean_shift_path='"'$SOURCE/gap.json'"'" feedfwd_scale=0.5 ~max_epochs

    [experiment]
    name = "train"

    [run]
    deterministic = true  # every run is reproducible here; this makes it independent of the number of threads too

    [data]
    dataset = "cache.bin"

    [target]
    weights = "auto"

    [model]
    compile = true  # has no effect here
    feedforward_scale = 0.5

    [train]
    mean_shift.path = "gap.json"  # $SOURCE, the directory of the program, is the working directory here
    lr.warmup_chunks = 3

    # hydra.run.dir=outputs/x: runs are kept in .novic/runs and outputs here
    # ~max_epochs: train.max_epochs keeps its default
    # metrics stay in the local record; tracking.wandb.mode = "online" mirrors them as the original does by itself
    [stage.train]
    kind = "train"
    "#);
    let stage = &load(&text(line)).stages[0];
    assert_eq!(stage.config.train.lr.warmup_chunks, 3);
    assert_eq!(stage.config.target.weights, None);
}

#[test]
fn commands_that_use_each_others_caches() {
    let script = "# caches\n./train.py action=convert_noun_dataset vocab_thres=2 save_embedding_cache=a.bin \\\n    batch_size_embed=64\n\n./train.py action=merge_caches save_embedding_cache=b.bin embedding_datasets='[a.bin, a.bin]'\n./train.py action=train embedding_dataset=b.bin wandb=False vocab_thres=5\n./train.py action=eval embedding_datasets=[a.bin,b.bin] load_model=x.train wandb=True\n";
    let imported = import_script(Path::new("recipe.sh"), script, None);
    let imported = imported.unwrap_or_else(|errors| panic!("{errors}"));
    assert_snapshot!(imported.text, @r#"
    # Imported from
    #   ./train.py action=convert_noun_dataset vocab_thres=2 save_embedding_cache=a.bin batch_size_embed=64
    #   ./train.py action=merge_caches save_embedding_cache=b.bin 'embedding_datasets=[a.bin, a.bin]'
    #   ./train.py action=train embedding_dataset=b.bin wandb=False vocab_thres=5
    #   ./train.py action=eval 'embedding_datasets=[a.bin,b.bin]' load_model=x.train wandb=True

    [experiment]
    name = "recipe"

    [nouns]
    vocab_path = "data/object_nouns.json"  # not part of the program: novic hub get object-nouns

    # a.bin: outputs lie in the store here; later stages take them with `inputs`
    [stage.nouns]
    kind = "convert_noun_dataset"
    embedder.batch_text = 64
    nouns.vocab_threshold = 2

    # b.bin: outputs lie in the store here; later stages take them with `inputs`
    [stage.merged]
    kind = "merge_caches"
    inputs = [{ stage = "nouns", repeat = 2 }]

    [stage.train]
    kind = "train"
    inputs = ["merged"]
    tracking.wandb.mode = "off"
    nouns.vocab_threshold = 5

    [stage.eval]
    kind = "eval"
    inputs = ["nouns", "merged"]
    tracking.wandb.mode = "online"
    checkpoint.load = "x.train"
    "#);
    load(&imported.text);
}

#[test]
fn the_inference_script() {
    let line = "./infer.py --checkpoint outputs/r/c.train --images a.jpg 'b c.png' --guide_targets cat dog --no_tf32";
    assert_snapshot!(text(line), @r#"
    # Imported from
    #   ./infer.py --checkpoint outputs/r/c.train --images a.jpg 'b c.png' --guide_targets cat dog --no_tf32

    [experiment]
    name = "infer"

    [run]
    device = "cuda"
    tf32 = false

    [embedder]
    batch_image = 128

    [checkpoint]
    load = "outputs/r/c.train"

    [generate]
    config = "beam_k10_vnone_gp_t1_a0"

    [infer]
    images = ["a.jpg", "b c.png"]
    image_dir = "."
    guide_targets = ["cat", "dog"]

    # the checkpoint knows its embedder; embedder.spec names the one whose files must be there
    # without an experiment: novic infer --checkpoint FILE PICTURE…
    [stage.infer]
    kind = "infer"
    "#);
    load(&text(line));
}

#[test]
fn a_flat_configuration() {
    let yaml = "action: train\ninit_lr: 1e-5\nwandb_name: '007'\nwandb_tags: null\ndeterm: yes\nembedding_dataset: NounDataset\nloss_ewa_halflife: 4\ngencfg_topk:\n- 3\n- 10\nvocab_thres: 2\nnum_encoder_layers: 6\n";
    let imported = import_yaml(Path::new("config.yaml"), yaml, None);
    let imported = imported.unwrap_or_else(|errors| panic!("{errors}"));
    assert_snapshot!(imported.text, @r#"
    # Imported from
    #   config.yaml

    [experiment]
    name = "train"

    [run]
    deterministic = true  # every run is reproducible here; this makes it independent of the number of threads too

    [tracking]
    name = "007"

    [nouns]
    vocab_path = "data/object_nouns.json"  # not part of the program: novic hub get object-nouns
    vocab_threshold = 2

    [train]
    lr.init = 0.00001

    [generate]
    grid.topk = [3, 10]

    # metrics stay in the local record; tracking.wandb.mode = "online" mirrors them as the original does by itself
    [stage.train]
    kind = "train"
    "#);
    assert_snapshot!(render(&imported.warnings, false), @r"
    warning: there is no key `num_encoder_layers` here; it is left out
      --> config.yaml:12:1
       |
    12 | num_encoder_layers: 6
       | ^^^^^^^^^^^^^^^^^^
    ");
    let config = &load(&imported.text).stages[0].config;
    assert_eq!(config.tracking.name.as_deref(), Some("007"));
    assert_eq!(config.generate.grid.topk, [3, 10]);
    let wrong = "action: train\nmax_epochs: [1]\nlr:\n  init: 1\n";
    let errors = import_yaml(Path::new("config.yaml"), wrong, None).expect_err("problems");
    assert_snapshot!(errors.to_string(), @r"
    error: not a flat configuration
     --> config.yaml:4:3
      |
    4 |   init: 1
      |   ^ expected `key: value` with a text, number, truth value, null or list
      |
      = help: configurations of the original have 188 keys and no sections
    ");
}

#[test]
fn annotation_by_a_model() {
    let line = "./gpt_annotation.py annotate_batch --state s.json --predictions outputs/a p.json \
                --topk 2 --opinions 2 4 --max_batch_mib 10 --request_queue_mib 512";
    let imported = text(line);
    for part in [
        line,
        "novic annotate gpt run --config",
        "--request_queue_mib: requests",
    ] {
        assert!(imported.contains(part), "{imported}");
    }
    let gpt = load(&imported).annotate_gpt;
    assert_eq!(gpt.state.as_deref(), Some("s.json"));
    assert_eq!(gpt.predictions, ["outputs/a", "p.json"]);
    assert_eq!(
        (gpt.topk, gpt.opinions, gpt.max_batch_mib),
        (2, vec![2, 4], 10)
    );
    assert_eq!(gpt.mode, AnnotateMode::Batch);
    let saved = text("./gpt_annotation.py --action save_classes --state s.json --classes c.json");
    assert!(
        saved.contains("novic annotate export s.json --out c.json"),
        "{saved}"
    );
    let reason = refused("./gpt_annotation.py --state s.json");
    assert!(reason.contains("no action is given"), "{reason}");
    let reason = refused("./gpt_annotation.py annotate --state s.json --topc 1");
    assert!(reason.contains("--topc"), "{reason}");
}

#[test]
fn annotation_by_people() {
    let imported =
        text("./dataset_annotation.py --image_dir 'my images' --predictions_dirs a b --k 3");
    let command = "novic annotate human --images 'my images' --annotations \
                   datasets/test/annotations/annotation.json -k 3 --predictions a b";
    assert!(imported.contains(command), "{imported}");
    load(&imported);
    let reason = refused("./dataset_annotation.py --image_dir x");
    assert!(reason.contains("exactly one"), "{reason}");
}

#[test]
fn mistakes() {
    assert_snapshot!(refused("./train.py action=train max_epocs=2"), @r"
    error: the original has no key `max_epocs`
    --> command line:1:1
     |
     | max_epocs
     | ^^^^^^^^^
     |
     = help: did you mean `max_epochs`?
    ");
    assert_snapshot!(refused("./train.py action=trian max_epochs=two lr_warmup=1,2"), @r"
    error: a comma outside of brackets and quotes means a sweep
    --> command line:1:12
     |
     | lr_warmup=1,2
     |            ^
     |
     = help: write a list in brackets, a text with a comma in quotes, or use `novic sweep run`

    error: action: `trian` is not allowed
    --> command line:1:8
     |
     | action=trian
     |        ^^^^^ expected one of test_data_loader, test_embed_cache, embedder_zero_shot, cache_noun_dataset, convert_noun_dataset, cache_noun_multiset, cache_captions, cache_cls, cache_images, merge_caches, train, fix_checkpoints, eval, eval_cls, eval_cls_decoding, infer, format_preds, format_wandb, collect_wiki_images, sample_images
     |
     = help: did you mean `train`?

    error: max_epochs: expected a whole number, found a text
    --> command line:1:12
     |
     | max_epochs=two
     |            ^^^ expected a whole number
    ");
    let all = refused("./train.py embeding_dataset=x init_lr=abc lr_warmpu=3 wandb=maybe");
    for part in [
        "did you mean `embedding_dataset`?",
        "did you mean `lr_warmup`?",
        "init_lr: expected a number",
        "the original takes True or False",
    ] {
        assert!(all.contains(part), "{part}\n{all}");
    }
    assert!(refused("./tain.py action=train").contains("did you mean `./train.py`?"));
    assert_snapshot!(refused("./train.py --multirun action=train"), @r"
    error: a sweep is no single experiment
    --> command line:1:1
     |
     | --multirun
     | ^^^^^^^^^^
     |
     = help: import one point of it, then vary keys with `novic sweep`
    ");
    let reason = refused("./specificity_scores.py --all");
    assert!(
        reason.contains("specificity_scores.py") && reason.contains("--all"),
        "{reason}"
    );
    assert_snapshot!(refused("ls -l"), @r"
    error: `ls` is no command of the original
    --> command line:1:1
     |
     | ls
     | ^^
     |
     = help: commands are `./train.py action=…`, `./infer.py --checkpoint …`, `./gpt_annotation.py …`, `./dataset_annotation.py …` and `specificity_scores.py …`, files are flat YAML
    ");
    assert_snapshot!(refused("./infer.py --images a.jpg"), @r"error: infer.py: the following required arguments were not provided: --checkpoint <CHECKPOINT>");
}

#[test]
fn unknown_keys_that_are_added_are_left_out_with_a_warning() {
    let imported = command("./train.py +new_key=5 ++other=6 action=train").expect("fine");
    assert_snapshot!(render(&imported.warnings, false), @r"
    warning: there is no key `new_key` here; it is left out
    --> command line:1:2
     |
     | +new_key=5
     |  ^^^^^^^

    warning: there is no key `other` here; it is left out
    --> command line:1:3
     |
     | ++other=6
     |   ^^^^^
    ");
    assert!(
        !imported
            .text
            .lines()
            .any(|line| line.starts_with("new_key"))
    );
}

fn script(text: &str) -> Result<Imported, ConfigErrors> {
    import_script(Path::new("recipe.sh"), text, None)
}

fn imported(text: &str) -> Imported {
    script(text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn specificity_scores() {
    let imported = text(
        "extras/specificity/specificity_scores.py --specificity_file \
         extras/specificity/_specificity_annotations.json --pred_dir 'outputs/my preds' \
         --ann_file extras/world/_class_annotations.json",
    );
    let command = "novic specificity --specificity-file \
                   extras/specificity/_specificity_annotations.json --pred-dir \
                   'outputs/my preds' --ann-file extras/world/_class_annotations.json";
    assert!(imported.contains(command), "{imported}");
    assert_eq!(load(&imported).info.name.as_deref(), Some("specificity"));
    let reason = refused("./specificity_scores.py --pred_dir x");
    assert!(reason.contains("--ann_file"), "{reason}");
}

#[test]
fn the_loop_over_embedders() {
    let loops = "for DSET in CIFAR10 Food101 ImageNet1K; do for EMBEDDER in \
                 openclip:timm/ViT-B-16-SigLIP openclip:apple/DFN5B-CLIP-ViT-H-14-378; do\n\
                 ./train.py action=embedder_zero_shot cls_dataset_root=\"$DATASETS\" \
                 cls_dataset=\"$DSET\" embedder_spec=\"$EMBEDDER\" batch_size_image=128\n\
                 done; done\n";
    let imported = imported(loops);
    assert!(imported.warnings.is_empty());
    let request = Request {
        file: "imported.toml".into(),
        text: Some(imported.text.clone()),
        environment: vec![("DATASETS".to_owned(), "/data".to_owned())],
        ..Request::default()
    };
    let experiment = Experiment::load(&request).unwrap_or_else(|errors| panic!("{errors}"));
    let stages: Vec<_> = experiment
        .stages
        .iter()
        .map(|stage| {
            let config = &stage.config;
            assert_eq!(
                (config.cls.root.as_str(), config.embedder.batch_image),
                ("/data", 128)
            );
            (stage.name.as_str(), config.embedder.spec.as_str())
        })
        .collect();
    let siglip = "openclip:timm/ViT-B-16-SigLIP";
    let dfn5b = "openclip:apple/DFN5B-CLIP-ViT-H-14-378";
    assert_eq!(stages.len(), 6, "{}", imported.text);
    assert_eq!(
        stages[0],
        ("embedder_zero_shot_CIFAR10_ViT-B-16-SigLIP", siglip)
    );
    assert_eq!(
        stages[5],
        (
            "embedder_zero_shot_ImageNet1K_DFN5B-CLIP-ViT-H-14-378",
            dfn5b
        )
    );
}

#[test]
fn what_a_script_does_beside_its_commands() {
    let text = "#!/bin/bash\nset -e\ncd /work && echo start; export CACHE=a.bin\n\
                N=2 # nouns\nARGS=\"vocab_thres=$N batch_size_embed=64\"\n\
                source env.sh\nSTAMP=$(date +%s)\nfor i in {1..2}; do\n\
                python train.py action=convert_noun_dataset $ARGS \\\n  \
                save_embedding_cache=\"${CACHE}_$i\" 2>&1 | tee log_$STAMP.txt || exit 1\ndone\n\
                ./train.py action=train embedding_dataset=${CACHE}_2 max_epochs=${EPOCHS:-3} > log.txt\n";
    let imported = imported(text);
    let titles: Vec<_> = imported.warnings.iter().map(|w| w.title.as_str()).collect();
    assert_eq!(titles, ["`cd` is left out", "`source` is left out"]);
    for left_out in ["#   set -e\n", "#   echo start\n"] {
        assert!(imported.text.contains(left_out), "{}", imported.text);
    }
    let experiment = load(&imported.text);
    let names: Vec<_> = experiment.stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["nouns_1", "nouns_2", "train"]);
    for stage in &experiment.stages[..2] {
        assert_eq!(stage.config.nouns.vocab_threshold, 2);
        assert_eq!(stage.config.embedder.batch_text, 64);
    }
    let train = &experiment.stages[2];
    assert_eq!(train.config.train.max_epochs, 3);
    assert_eq!(train.inputs[0].stage, "nouns_2");
}

#[test]
fn scripts_that_cannot_be_imported() {
    for (text, place, reason) in [
        (
            "\nif true; then\n./train.py action=train\nfi\n",
            "recipe.sh:2:1",
            "`if` cannot be imported",
        ),
        (
            "./train.py action=train wandb_name=$(date)\n",
            "recipe.sh:1:25",
            "is only known to a shell",
        ),
        (
            "N=`date`\n./train.py wandb_name=$N\n",
            "recipe.sh:2:12",
            "`$N` is only known",
        ),
        (
            "./train.py 'action=train\n",
            "recipe.sh:1:12",
            "a quote is not closed",
        ),
        (
            "./train.py action=train || ./train.py action=eval\n",
            "recipe.sh:1:25",
            "depends on",
        ),
        (
            "for ((i=0;i<3;i++)); do ./train.py; done\n",
            "recipe.sh:1:1",
            "only loops over words",
        ),
        (
            "for i in 1 2; do ./train.py\n",
            "recipe.sh:1:1",
            "`done` is missing",
        ),
        ("X=(a b)\n", "recipe.sh:1:3", "arrays and functions"),
        (
            "\n\n./train.py max_epochs=two\n",
            "recipe.sh:3:1",
            "expected a whole number",
        ),
        (
            "./train.py action=$ACTION\n",
            "recipe.sh:1:1",
            "what is to be done is not known",
        ),
        (
            "./specificity_scores.py --pred_dir $P --ann_file a\n",
            "recipe.sh:1:1",
            "takes no variables",
        ),
        (
            "mv a.bin b.bin\n",
            "recipe.sh:1:1",
            "`mv` is no command of the original",
        ),
        (
            "for i in {1..200000}; do echo; done\n",
            "recipe.sh:1:10",
            "turns",
        ),
    ] {
        let errors = script(text).expect_err(text).to_string();
        assert!(
            errors.contains(place) && errors.contains(reason),
            "{errors}"
        );
    }
    let errors = script("cd x\necho\n").expect_err("no commands").to_string();
    assert!(errors.contains("has no commands"), "{errors}");
}

#[test]
fn what_some_commands_say_does_not_change_the_others() {
    let text = "./train.py action=cache_noun_multiset vocab_thres=2 batch_size_token=64 save_embedding_cache=a.bin\n\
                ./train.py action=train embedding_dataset=a.bin batch_size_token=64 accum_factor=16 determ=True\n";
    let imported = imported(text);
    let (shared, _) = imported.text.split_once("[stage.").expect("stages");
    let shared = shared.lines().filter(|line| !line.starts_with('#'));
    let shared: String = shared.map(|line| format!("{line}\n")).collect();
    assert!(shared.contains("batch_token = 64"), "{}", imported.text);
    for only_here in ["vocab_threshold", "accum_factor", "deterministic"] {
        assert!(!shared.contains(only_here), "{}", imported.text);
    }
    let experiment = load(&imported.text);
    let nouns = &experiment.stages[0].config;
    let train = &experiment.stages[1].config;
    let of = |config: &crate::config::schema::Config| {
        (
            config.nouns.vocab_threshold,
            config.train.accum_factor,
            config.run.deterministic,
        )
    };
    assert_eq!(of(nouns), (2, 8, false));
    assert_eq!(of(train), (0, 16, true));
}

#[test]
fn what_the_program_would_refuse() {
    let reason = refused("./train.py action=train num_heads=7 hidden_dim=100");
    assert!(
        reason.contains("7 attention heads do not divide the width 100"),
        "{reason}"
    );
    let open = imported("./train.py action=train num_heads=7 hidden_dim=$WIDTH\n");
    assert!(open.warnings[0].title.contains("7 attention heads"));
    assert!(open.text.contains("hidden_dim = \"${env:WIDTH}\""));
}

#[test]
fn seeds_below_one() {
    for seed in ["0", "-3"] {
        let imported = text(&format!("./train.py action=train determ_seed={seed}"));
        let line = "seed = 1  # the original takes values below 1 as 1";
        assert!(imported.contains(line), "{imported}");
    }
    let yaml = import_yaml(Path::new("config.yaml"), "determ_seed: 0\n", None);
    let yaml = yaml.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(yaml.text.contains("seed = 1"), "{}", yaml.text);
}

#[test]
fn checkpoints_to_fix() {
    let imported = text("./train.py action=fix_checkpoints dry_run=True");
    for part in [
        "kind = \"fix_checkpoints\"",
        "dry_run = true",
        "novic checkpoint fix",
    ] {
        assert!(imported.contains(part), "{imported}");
    }
    assert!(!imported.contains("vocab_path"), "{imported}");
    load(&imported);
}
