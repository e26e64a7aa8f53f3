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
    vocab_threshold = 2

    # a.bin: outputs lie in the store here; later stages take them with `inputs`
    [stage.nouns]
    kind = "convert_noun_dataset"
    embedder.batch_text = 64

    # b.bin: outputs lie in the store here; later stages take them with `inputs`
    [stage.merged]
    kind = "merge_caches"
    inputs = [{ stage = "nouns", repeat = 2 }]

    [stage.train]
    kind = "train"
    inputs = ["merged"]
    tracking.wandb.mode = "off"

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
    let all =
        refused("./train.py embeding_dataset=x init_lr=abc lr_warmpu=3 action=fix_checkpoints");
    for part in [
        "did you mean `embedding_dataset`?",
        "did you mean `lr_warmup`?",
        "init_lr: expected a number",
        "`novic checkpoint fix` does the same",
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
    assert_snapshot!(refused("./specificity_scores.py --all"), @r"
    error: `specificity_scores.py` is no experiment
    --> command line:1:1
     |
     | specificity_scores.py
     | ^^^^^^^^^^^^^^^^^^^^^
     |
     = help: its command here is `novic specificity`, with the same options
    ");
    assert_snapshot!(refused("ls -l"), @r"
    error: `ls` is no command of the original
    --> command line:1:1
     |
     | ls
     | ^^
     |
     = help: commands are `./train.py action=…`, `./infer.py --checkpoint …`, `./gpt_annotation.py …` and `./dataset_annotation.py …`, files are flat YAML
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
