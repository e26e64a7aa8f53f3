//! What people see when something is wrong.

use insta::assert_snapshot;

use super::{load, load_with};
use crate::config::render;

fn errors(text: &str) -> String {
    load(&[("main.toml", text)], &[]).expect_err("problems")
}

fn override_errors(overrides: &[&str]) -> String {
    let text = "[stage.train]\nkind = \"train\"\n";
    load(&[("main.toml", text)], overrides).expect_err("problems")
}

#[test]
fn unknown_keys() {
    assert_snapshot!(errors("[train.lr]\nwarmup_chnks = 2\n[trian]\nx = 1\n[train]\nwarmup_chunks = 1\n"), @r#"
    error: unknown key `trian`
     --> main.toml:3:2
      |
    3 | [trian]
      |  ^^^^^
      |
      = help: did you mean `train`?

    error: unknown key `warmup_chnks` in `train.lr`
     --> main.toml:2:1
      |
    2 | warmup_chnks = 2
      | ^^^^^^^^^^^^
      |
      = help: did you mean `train.lr.warmup_chunks`?

    error: unknown key `warmup_chunks` in `train`
     --> main.toml:6:1
      |
    6 | warmup_chunks = 1
      | ^^^^^^^^^^^^^
      |
      = help: did you mean `train.lr.warmup_chunks`?
    "#);
}

#[test]
fn wrong_types() {
    assert_snapshot!(errors("[train]\nmax_epochs = 1.5\nlr.init = \"0.001\"\n[run]\ndeterministic = 1\n[data]\ndatasets = \"a.bin\"\n"), @r#"
    error: train.max_epochs: expected a whole number, found a number
     --> main.toml:2:14
      |
    2 | max_epochs = 1.5
      |              ^^^ expected a whole number

    error: train.lr.init: expected a number, found a text
     --> main.toml:3:11
      |
    3 | lr.init = "0.001"
      |           ^^^^^^^ expected a number
      |
      = help: leave out the quotes

    error: run.deterministic: expected true or false, found a whole number
     --> main.toml:5:17
      |
    5 | deterministic = 1
      |                 ^ expected true or false

    error: data.datasets: expected a list of texts, found a text
     --> main.toml:7:12
      |
    7 | datasets = "a.bin"
      |            ^^^^^^^ expected a list of texts
      |
      = help: write ["a.bin"]
    "#);
}

#[test]
fn out_of_range_and_unknown_names() {
    assert_snapshot!(errors("[model]\ninput_dropout = 1.0\nactivation = \"gelo\"\n[noise]\nangle_max = 200\n[cls]\ndataset = \"ImageNet2K\"\n"), @r#"
    error: model.input_dropout: 1 is out of range
     --> main.toml:2:17
      |
    2 | input_dropout = 1.0
      |                 ^^^ must be at least 0 and below 1

    error: model.activation: `gelo` is not allowed
     --> main.toml:3:14
      |
    3 | activation = "gelo"
      |              ^^^^^^ expected one of relu, gelu, tanh
      |
      = help: did you mean `gelu`?

    error: noise.angle_max: 200 is out of range
     --> main.toml:5:13
      |
    5 | angle_max = 200
      |             ^^^ must be at least -180 and at most 180°

    error: cls.dataset: `ImageNet2K` is not allowed
     --> main.toml:7:11
      |
    7 | dataset = "ImageNet2K"
      |           ^^^^^^^^^^^^ expected one of MNIST, FashionMNIST, CIFAR10, CIFAR100, Food101, TinyImageNet, Imagenette, Imagewoof, ImageNet1K, ImageNet1KVal, ImageNet-A, ImageNet-R, fluent-emoji, fluent-emoji-flat, or a path such as ./ImageNet2K
    "#);
}

#[test]
fn names_of_decodings_and_class_lists() {
    assert_snapshot!(errors("[generate]\nconfig = \"foo\"\nconfigs = [\"greedy_k3\"]\ngrid.temperature = [0.0004]\n[cls]\nclass_names = \"nope\"\n"), @r#"
    error: generate.config: `foo` is not allowed
     --> main.toml:2:10
      |
    2 | config = "foo"
      |          ^^^^^ the method is greedy, beam or all, not "foo"

    error: generate.configs: `greedy_k3` is not allowed
     --> main.toml:3:12
      |
    3 | configs = ["greedy_k3"]
      |            ^^^^^^^^^^^ greedy decoding has one result: use k1, or beam

    error: generate.grid.temperature: 0.0004 is out of range
     --> main.toml:4:21
      |
    4 | grid.temperature = [0.0004]
      |                     ^^^^^^ must be at least 0.001

    error: cls.class_names: `nope` is not allowed
     --> main.toml:6:15
      |
    6 | class_names = "nope"
      |               ^^^^^^ there are no "nope" class names; use one of "clip", "multi", "guide", "wordnet"
    "#);
}

#[test]
fn values_that_do_not_fit_each_other() {
    assert_snapshot!(errors("[model]\nheads = 7\n[noise]\nscheme = \"UniformAngle\"\nangle_min = 75\nangle_max = 45\n"), @r#"
    error: 7 attention heads do not divide the width 512
     --> main.toml:2:9
      |
    2 | heads = 7
      |         ^ model.heads
      |
      = help: choose model.heads so that model.hidden_dim / model.heads is whole

    error: the smallest noise angle 75° is above the largest 45°
     --> main.toml:5:13
      |
    5 | angle_min = 75
      |             ^^ noise.angle_min
    6 | angle_max = 45
      |             -- noise.angle_max
      |
      = help: choose noise.angle_min ≤ noise.angle_max
    "#);
}

#[test]
fn invalid_toml() {
    assert_snapshot!(errors("[train]\nmax_epochs = = 2\n"), @r#"
    error: invalid TOML: extra `=`, expected nothing
     --> main.toml:2:14
      |
    2 | max_epochs = = 2
      |              ^
    "#);
}

#[test]
fn both_spellings_in_a_file() {
    assert_snapshot!(errors("lr_warmup = 1\n[train.lr]\nwarmup_chunks = 2\n"), @r#"
    error: `train.lr.warmup_chunks` is given under both of its names
     --> main.toml:3:1
      |
    1 | lr_warmup = 1
      | --------- given here
    2 | [train.lr]
    3 | warmup_chunks = 2
      | ^^^^^^^^^^^^^ given again here
      |
      = help: leave out one of them
    "#);
}

#[test]
fn extends_in_a_circle() {
    let files = [
        ("main.toml", "extends = \"a.toml\"\n"),
        ("a.toml", "extends = [\"b.toml\"]\n"),
        ("b.toml", "extends = \"main.toml\"\n"),
    ];
    let text = load(&files, &[]).expect_err("a circle");
    assert_snapshot!(text, @r#"
    error: files extend each other: main.toml → a.toml → b.toml → main.toml
     --> b.toml:1:11
      |
    1 | extends = "main.toml"
      |           ^^^^^^^^^^^
      |
      = help: take this name out of `extends`
    "#);
}

#[test]
fn extends_what_is_not_there() {
    assert_snapshot!(errors("extends = \"bass/novic.toml\"\n"), @r#"
    error: cannot read bass/novic.toml: No such file or directory (os error 2)
     --> main.toml:1:11
      |
    1 | extends = "bass/novic.toml"
      |           ^^^^^^^^^^^^^^^^^ named here
      |
      = help: names in `extends` are relative to the file that says them
    "#);
}

#[test]
fn unknown_group_and_choice() {
    let files = [
        (
            "main.toml",
            "[use]\nembedder = \"so500m\"\nmodel = \"big\"\n",
        ),
        ("base/embedder/so400m.toml", ""),
        ("base/embedder/siglip-b16.toml", ""),
    ];
    let text = load(&files, &[]).expect_err("unknown names");
    assert_snapshot!(text, @r#"
    error: group `embedder` has no `so500m`
     --> main.toml:2:12
      |
    2 | embedder = "so500m"
      |            ^^^^^^^^
      |
      = help: did you mean `so400m`?
      = help: `embedder` has siglip-b16, so400m

    error: there is no group `model`
     --> main.toml:3:9
      |
    3 | model = "big"
      |         ^^^^^
      |
      = help: groups are directories; looked for base/model, model
      = help: groups here are embedder
    "#);
}

#[test]
fn stages() {
    assert_snapshot!(errors("[stage.a]\nkind = \"trian\"\n[stage.b]\ninputs = [\"c\"]\n[stage.cc]\nkind = \"nothing\"\ninputs = [\"d\", 1]\nfoo = 1\n"), @r#"
    error: there is no kind of stage `trian`
     --> main.toml:2:8
      |
    2 | kind = "trian"
      |        ^^^^^^^
      |
      = help: did you mean `train`?

    error: invalid input of a stage
     --> main.toml:7:16
      |
    7 | inputs = ["d", 1]
      |                ^
      |
      = help: write the name of a stage, or { stage = "NAME", repeat = 4 }

    error: unknown key `foo` in stage `cc`
     --> main.toml:8:1
      |
    8 | foo = 1
      | ^^^
      |
      = help: keys and sections are kind, inputs, run, needs, tracking, embedder, data, nouns, multiset, captions, images, merge, cls, target, model, train, noise, checkpoint, generate, test, zero_shot, eval, infer, predictions, tables, wiki, sample

    error: stage `b` has no kind
     --> main.toml:3:8
      |
    3 | [stage.b]
      |        ^
      |
      = help: write kind = "train" or another action, or kind = "nothing"
    "#);
}

#[test]
fn stages_in_a_circle() {
    assert_snapshot!(errors("[stage.a]\nkind = \"nothing\"\ninputs = [\"b\"]\n[stage.b]\nkind = \"nothing\"\ninputs = [\"a\"]\n"), @r#"
    error: stages take each other's outputs: b → a → b
     --> main.toml:3:11
      |
    3 | inputs = ["b"]
      |           ^^^
      |
      = help: take one of these inputs out
    "#);
}

#[test]
fn unknown_input() {
    assert_snapshot!(errors("[stage.merged]\nkind = \"nothing\"\n[stage.train]\nkind = \"train\"\ninputs = [\"merge\"]\n"), @r#"
    error: stage `train` takes the output of `merge`, which is no stage
     --> main.toml:5:11
      |
    5 | inputs = ["merge"]
      |           ^^^^^^^
      |
      = help: did you mean `merged`?
    "#);
}

#[test]
fn given_though_an_input_fills_it() {
    let text = "[data]\ndataset = \"x.bin\"\n[stage.nouns]\nkind = \"cache_noun_multiset\"\n[stage.train]\nkind = \"train\"\ninputs = [\"nouns\"]\n";
    assert_snapshot!(errors(text), @r#"
    error: stage `train` takes `nouns` as input, which fills data.dataset: it must not be given too
     --> main.toml:2:11
      |
    2 | dataset = "x.bin"
      |           ^^^^^^^ given here
    ...
    7 | inputs = ["nouns"]
      |           ------- filled by this input
      |
      = help: leave out one of them
    "#);
}

#[test]
fn override_typos() {
    assert_snapshot!(override_errors(&["train.lr.int=1e-3", "lr_wamup=2", "stage.trian.train.max_epochs=1", "+train.max_epochs=1", "~noise.shceme"]), @r#"
    error: unknown key `int` in `train.lr`
    --> command line:1:10
     |
     | train.lr.int=1e-3
     |          ^^^
     |
     = help: did you mean `train.lr.init`?

    error: unknown key `lr_wamup`
    --> command line:1:1
     |
     | lr_wamup=2
     | ^^^^^^^^
     |
     = help: did you mean `lr_warmup`, which is `train.lr.warmup_chunks` here?

    error: there is no stage `trian`
    --> command line:1:7
     |
     | stage.trian.train.max_epochs=1
     |       ^^^^^
     |
     = help: did you mean `stage.train`?
     = help: write `+stage.trian.train.max_epochs=1` to add it

    error: `+` adds entries to maps (stages, tables, plots); this key always exists
    --> command line:1:2
     |
     | +train.max_epochs=1
     |  ^^^^^
     |
     = help: write `train.max_epochs=1`

    error: there is no `noise.shceme` to remove
    --> command line:1:2
     |
     | ~noise.shceme
     |  ^^^^^^^^^^^^
     |
     = help: did you mean `noise.scheme`?
    "#);
}

#[test]
fn override_syntax() {
    assert_snapshot!(override_errors(&["lr_warmup", "=3", "lr_warmup=[1", "wandb_tags=x,y", "init_lr=range(1,4)", "load_model='a", "fmt_model_hosts=a-[c-f]"]), @r#"
    error: expected `key=value`
    --> command line:1:1
     |
     | lr_warmup
     | ^^^^^^^^^
     |
     = help: write `lr_warmup=…` to set it, `~lr_warmup` to return to the default

    error: expected a key before `=`
    --> command line:1:1
     |
     | =3
     | ^
     |
     = help: write `key=value`

    error: `]` is missing
    --> command line:1:11
     |
     | lr_warmup=[1
     |           ^^
     |
     = help: close the bracket; quote the argument for the shell

    error: a comma outside of brackets and quotes means a sweep
    --> command line:1:13
     |
     | wandb_tags=x,y
     |             ^
     |
     = help: write a list in brackets, a text with a comma in quotes, or use `novic sweep run`

    error: this is a sweep, not a value
    --> command line:1:9
     |
     | init_lr=range(1,4)
     |         ^^^^^^^^^^
     |
     = help: use `novic sweep run`, or put a text in quotes

    error: the closing quote is missing
    --> command line:1:12
     |
     | load_model='a
     |            ^^
     |
     = help: end the text with '

    error: `[` inside of a bare word
    --> command line:1:19
     |
     | fmt_model_hosts=a-[c-f]
     |                   ^
     |
     = help: put the text in quotes, or write a backslash before the character
    "#);
}

#[test]
fn override_values() {
    assert_snapshot!(override_errors(&["determ=yes", "lr_warmup=1e2", "init_lr=nan", "max_epochs=null", "embedding_datasets=a.bin"]), @r#"
    error: determ: expected true or false, found a text
    --> command line:1:8
     |
     | determ=yes
     |        ^^^ expected true or false
     |
     = help: write true

    error: lr_warmup: expected a whole number, found a number
    --> command line:1:11
     |
     | lr_warmup=1e2
     |           ^^^ expected a whole number
     |
     = help: write 100

    error: init_lr: must be a finite number
    --> command line:1:9
     |
     | init_lr=nan
     |         ^^^ NaN is not finite

    error: max_epochs: cannot be null
    --> command line:1:12
     |
     | max_epochs=null
     |            ^^^^ expected a whole number
     |
     = help: write `~train.max_epochs` to return to the default

    error: embedding_datasets: expected a list of texts, found a text
    --> command line:1:20
     |
     | embedding_datasets=a.bin
     |                    ^^^^^ expected a list of texts
     |
     = help: write [a.bin]
    "#);
}

#[test]
fn variables() {
    let environment = [
        ("NOVIC__TRAIN__LR__INIT", "fast"),
        ("NOVIC__TRAIN__LR__FOO", "1"),
        ("NOVIC_HOME", "/x"),
    ];
    let text = load_with(&[("main.toml", "")], &[], &environment).expect_err("problems");
    assert_snapshot!(text, @r#"
    error: unknown key `foo` in `train.lr`
    --> environment:1:19
     |
     | NOVIC__TRAIN__LR__FOO=1
     |                   ^^^
     |
     = help: `train.lr` has final, init, schedule, warmup_chunks

    error: train.lr.init: expected a number, found a text
    --> environment:1:24
     |
     | NOVIC__TRAIN__LR__INIT=fast
     |                        ^^^^ expected a number
    "#);
}

#[test]
fn references() {
    assert_snapshot!(errors("[tracking]\nname = \"${tracking.group}\"\ngroup = \"x-${tracking.name}\"\nentity = \"${env:NOBODY}\"\n[model]\nlayers = \"${model.headz}\"\n"), @r#"
    error: model.layers: there is no value `model.headz` to refer to
     --> main.toml:6:10
      |
    6 | layers = "${model.headz}"
      |          ^^^^^^^^^^^^^^^^
      |
      = help: write ${section.field} or ${env:NAME}

    error: tracking.entity: the environment has no `NOBODY`
     --> main.toml:4:10
      |
    4 | entity = "${env:NOBODY}"
      |          ^^^^^^^^^^^^^^^
      |
      = help: set it, or write ${env:NOBODY,DEFAULT}

    error: tracking.group: `tracking.name`: references go in a circle: tracking.group → tracking.name → tracking.group
     --> main.toml:3:9
      |
    3 | group = "x-${tracking.name}"
      |         ^^^^^^^^^^^^^^^^^^^^

    error: tracking.name: `tracking.group`: references go in a circle: tracking.name → tracking.group → tracking.name
     --> main.toml:2:8
      |
    2 | name = "${tracking.group}"
      |        ^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn warnings() {
    let text = "[noise]\nvec_norm = 3\n[train]\nmax_epochs = 0\nlast_dropout.chunks = 4\nlr = {init = 0.001, final = 0.01}\n";
    let experiment = load(&[("main.toml", text)], &[]).expect("only warnings");
    let shown = render(&experiment.warnings, false);
    let directory = experiment
        .file
        .parent()
        .expect("a parent")
        .display()
        .to_string();
    assert_snapshot!(shown.replace(&format!("{directory}/"), ""), @r#"
    warning: the final learning rate 0.01 is above the initial rate 0.001
     --> main.toml:6:29
      |
    6 | lr = {init = 0.001, final = 0.01}
      |              -----          ^^^^ train.lr.final
      |              |
      |              train.lr.init
      |
      = help: the rate will rise during the training

    warning: the final phase with rescaled dropout is never reached
     --> main.toml:5:23
      |
    4 | max_epochs = 0
      |              - train.max_epochs
    5 | last_dropout.chunks = 4
      |                       ^ train.last_dropout.chunks
      |
      = help: give train.max_chunks or train.max_epochs

    warning: noise.vec_norm has no effect without a noise scheme
     --> main.toml:2:12
      |
    2 | vec_norm = 3
      |            ^ noise.vec_norm
      |
      = help: set it to 0, or choose a scheme that uses it
    "#);
}
