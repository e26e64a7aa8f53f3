//! Sweeps and searches: how good, and how fast, beside their bars.
//!
//! ```text
//! cargo bench --bench search            # plan, empty jobs, search
//! cargo bench --bench search -- --json  # the search, for benches/peers/search.py
//! ```
//!
//! The plan is one of 10,000 points that share three stages; an empty job is a
//! point whose only stage does nothing. The search: six functions, 200 trials, 20
//! seeds, medians of the regret, the smallest value found minus the smallest there
//! is. Times are the best of several tries.

use std::error::Error;
use std::f64::consts::{E, PI};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use novic::runner::search::{Parameter, Study, Tpe};
use serde_json::json;

const TRIALS: usize = 200;
const SEEDS: u64 = 20;

/// A function with its name, its bounds and its smallest value.
struct Function {
    name: &'static str,
    of: fn(&[f64]) -> f64,
    bounds: &'static [(f64, f64)],
    smallest: f64,
}

const FUNCTIONS: [Function; 6] = [
    Function {
        name: "sphere",
        of: sphere,
        bounds: &[(-5.0, 5.0); 5],
        smallest: 0.0,
    },
    Function {
        name: "rosenbrock",
        of: rosenbrock,
        bounds: &[(-2.0, 2.0); 2],
        smallest: 0.0,
    },
    Function {
        name: "branin",
        of: branin,
        bounds: &[(-5.0, 10.0), (0.0, 15.0)],
        smallest: 0.397_887_357_729_738_16,
    },
    Function {
        name: "hartmann6",
        of: hartmann6,
        bounds: &[(0.0, 1.0); 6],
        smallest: -3.322_368_011_391_339,
    },
    Function {
        name: "ackley",
        of: ackley,
        bounds: &[(-32.0, 32.0); 5],
        smallest: 0.0,
    },
    Function {
        name: "rastrigin",
        of: rastrigin,
        bounds: &[(-5.12, 5.12); 3],
        smallest: 0.0,
    },
];

fn sphere(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum()
}

fn rosenbrock(x: &[f64]) -> f64 {
    let pairs = x.windows(2);
    pairs
        .map(|p| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2))
        .sum()
}

fn branin(x: &[f64]) -> f64 {
    let first = x[1] - 5.1 / (4.0 * PI * PI) * x[0] * x[0] + 5.0 / PI * x[0] - 6.0;
    first * first + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x[0].cos() + 10.0
}

fn hartmann6(x: &[f64]) -> f64 {
    const WEIGHTS: [f64; 4] = [1.0, 1.2, 3.0, 3.2];
    const SCALES: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const PLACES: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    let term = |at: usize| -> f64 {
        let parts = (0..6).map(|d| SCALES[at][d] * (x[d] - PLACES[at][d]).powi(2));
        WEIGHTS[at] * (-parts.sum::<f64>()).exp()
    };
    -(0..4).map(term).sum::<f64>()
}

fn ackley(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let squares = x.iter().map(|v| v * v).sum::<f64>() / n;
    let cosines = x.iter().map(|v| (2.0 * PI * v).cos()).sum::<f64>() / n;
    -20.0 * (-0.2 * squares.sqrt()).exp() - cosines.exp() + 20.0 + E
}

fn rastrigin(x: &[f64]) -> f64 {
    let parts = x.iter().map(|v| v * v - 10.0 * (2.0 * PI * v).cos());
    10.0 * x.len() as f64 + parts.sum::<f64>()
}

fn main() -> Result<(), Box<dyn Error>> {
    let as_json = std::env::args().any(|arg| arg == "--json");
    let mut all = serde_json::Map::new();
    if !as_json {
        plan()?;
        empty_jobs()?;
        println!("{:<12} {:>10} {:>10}", "function", "TPE", "random");
    }
    for function in &FUNCTIONS {
        let tpe = median(function, &Tpe::default())?;
        let startup = TRIALS;
        let random = median(
            function,
            &Tpe {
                startup,
                ..Tpe::default()
            },
        )?;
        if !as_json {
            println!("{:<12} {tpe:>10.4} {random:>10.4}", function.name);
        }
        all.insert(
            function.name.to_owned(),
            json!({"tpe": tpe, "random": random}),
        );
    }
    if as_json {
        println!("{}", serde_json::Value::from(all));
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let begun = Instant::now();
    let function = &FUNCTIONS[1];
    let mut study = Study::open(
        &dir.path().join("study"),
        space(function),
        Tpe::default(),
        1,
    )?;
    for _ in 0..1000 {
        let values = study.ask();
        let loss = (function.of)(&values);
        study.tell(values, loss)?;
    }
    let time = begun.elapsed().as_secs_f64() * 1e3;
    println!("1,000 trials of two parameters, persisted: {time:.0} ms   bar 1000 ms");
    Ok(())
}

/// The program in a directory, silent.
fn novic(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_novic"));
    command.args(arguments).current_dir(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs it; time, and the most memory it had, in MB (0 where that is not told).
fn measure(dir: &Path, arguments: &[&str]) -> Result<(Duration, f64), Box<dyn Error>> {
    let begun = Instant::now();
    let mut child = novic(dir, arguments).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut most: f64 = 0.0;
    let code = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().split(' ').next()?.parse::<f64>().ok());
        most = most.max(peak.unwrap_or(0.0) / 1024.0);
        if let Some(code) = child.try_wait()? {
            break code;
        }
        thread::sleep(Duration::from_micros(500));
    };
    match code.success() {
        true => Ok((begun.elapsed(), most)),
        false => Err(format!("novic {}: {code}", arguments.join(" ")).into()),
    }
}

/// The plan of 10,000 points that share three stages, as a process.
fn plan() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let stage = |name: &str, inputs: &str| {
        format!("[stage.{name}]\nkind = \"nothing\"\ninputs = [{inputs}]\nrun.seed = 1\n")
    };
    let text = [
        stage("first", ""),
        stage("second", "\"first\""),
        stage("third", "\"second\""),
        stage("own", "\"third\""),
    ];
    fs::write(dir.path().join("plan.toml"), text.concat())?;
    let arguments = [
        "sweep",
        "plan",
        "plan.toml",
        "stage.own.run.seed=range(1,10001)",
    ];
    let mut best = (Duration::MAX, 0.0);
    for _ in 0..5 {
        let (time, memory) = measure(dir.path(), &arguments)?;
        best = (best.0.min(time), memory.max(best.1));
    }
    println!(
        "plan of 10,000 points that share three stages: {:.0} ms, {:.0} MB   bars 1000 ms, 200 MB",
        best.0.as_secs_f64() * 1e3,
        best.1
    );
    Ok(())
}

/// What each empty point of a sweep takes.
fn empty_jobs() -> Result<(), Box<dyn Error>> {
    for (kind, what, points, bar) in [
        ("local", "in process", 500, 3),
        ("processes", "as a process", 200, 15),
    ] {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let dir = tempfile::tempdir()?;
            let text = "[stage.own]\nkind = \"nothing\"\nrun.seed = 1\n";
            fs::write(dir.path().join("empty.toml"), text)?;
            let axis = format!("run.seed=range(1,{})", points + 1);
            let kind = format!("launcher.kind={kind}");
            let arguments = ["sweep", "run", "empty.toml", &axis, &kind, "--yes"];
            best = best.min(measure(dir.path(), &arguments)?.0);
        }
        println!(
            "an empty job of a sweep, {what}: {:.2} ms   bar {bar} ms",
            best.as_secs_f64() * 1e3 / f64::from(points)
        );
    }
    println!();
    Ok(())
}

fn space(function: &Function) -> Vec<Parameter> {
    let interval = |(low, high): &(f64, f64)| Parameter::Interval {
        low: *low,
        high: *high,
        log: false,
        step: None,
    };
    function.bounds.iter().map(interval).collect()
}

fn median(function: &Function, tpe: &Tpe) -> Result<f64, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut regrets = Vec::new();
    for seed in 0..SEEDS {
        let path = dir.path().join(seed.to_string());
        let mut study = Study::open(&path, space(function), *tpe, seed)?;
        for _ in 0..TRIALS {
            let values = study.ask();
            let loss = (function.of)(&values);
            study.tell(values, loss)?;
        }
        let losses = study.trials().iter().map(|trial| trial.loss);
        regrets.push(losses.fold(f64::INFINITY, f64::min) - function.smallest);
    }
    regrets.sort_by(f64::total_cmp);
    let middle = regrets.len() / 2;
    Ok(f64::midpoint(regrets[middle - 1], regrets[middle]))
}
