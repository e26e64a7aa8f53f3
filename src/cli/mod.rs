//! One file per command: parse, call, print.

mod action;
mod annotate;
mod bar;
mod book;
mod cache;
mod captions;
mod checkpoint;
mod complete;
mod config;
mod diff;
mod doctor;
mod dtype;
mod embed;
mod error;
mod experiment;
mod export;
mod format_preds;
mod format_wandb;
mod gc;
mod guard;
mod hub;
mod images;
mod import;
mod infer;
mod labels;
mod llm;
mod ls;
mod mirror;
mod nouns;
mod plan;
mod plot;
mod print;
mod printed;
mod records;
mod replay;
mod report;
mod report_check;
mod rm;
mod run;
mod schema;
mod serve;
mod show;
mod specificity;
mod sweep;
mod sync;
mod table;
mod top;
mod verify;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::device;

pub use action::{ActionArgs, cmd_action};
pub use annotate::{AnnotateArgs, cmd_annotate};
pub use book::{BookArgs, cmd_book};
pub use cache::{CacheArgs, cmd_cache};
pub use captions::{CaptionsArgs, cmd_captions};
pub use checkpoint::{CheckpointArgs, cmd_checkpoint};
pub use complete::{CompletionsArgs, cmd_completions};
pub use config::{ConfigArgs, cmd_config};
pub use diff::{DiffArgs, cmd_diff};
pub use doctor::{DoctorArgs, cmd_doctor};
pub use embed::{EmbedArgs, cmd_embed};
pub use error::{CliError, Exit};
pub use export::{ExportArgs, cmd_export};
pub use format_preds::{FormatPredsArgs, cmd_format_preds};
pub use format_wandb::{FormatWandbArgs, cmd_format_wandb};
pub use gc::{GcArgs, cmd_gc};
pub use hub::{HubArgs, cmd_hub};
pub use images::{ImagesArgs, cmd_images};
pub use import::{ImportArgs, cmd_import};
pub use infer::{InferArgs, InferIo, cmd_infer, infer};
pub use labels::{NoteArgs, TagArgs, cmd_note, cmd_tag};
pub use ls::{LsArgs, cmd_ls};
pub use nouns::{NounsArgs, cmd_nouns};
pub use plan::{PlanArgs, cmd_plan};
pub use plot::{PlotArgs, cmd_plot};
pub use replay::{ReplayArgs, cmd_replay};
pub use report::{ReportArgs, cmd_report};
pub use rm::{RmArgs, cmd_rm};
pub use run::{RunArgs, cmd_run};
pub use schema::{SchemaArgs, cmd_schema};
pub use serve::{ServeArgs, cmd_serve};
pub use show::{ShowArgs, cmd_show};
pub use specificity::{SpecificityArgs, cmd_specificity};
pub use sweep::{SweepArgs, cmd_sweep};
pub use sync::{SyncArgs, cmd_sync};
pub use table::{TableArgs, cmd_table};
pub use top::{TopArgs, cmd_top};
pub use verify::{VerifyArgs, cmd_verify};
pub use why::{WhyArgs, cmd_why};

/// Experiments with NOVIC: classify pictures without candidate labels.
///
/// An experiment file says what to do, `novic run FILE` does what is not done
/// yet, and tables and pages come out of the records.
#[derive(Debug, Parser)]
#[command(name = "novic", version = device::VERSION, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Action(ActionArgs),
    Plan(PlanArgs),
    Why(WhyArgs),
    Config(ConfigArgs),
    Import(ImportArgs),
    Sweep(SweepArgs),
    Infer(InferArgs),
    Serve(ServeArgs),
    Table(TableArgs),
    FormatPreds(FormatPredsArgs),
    Report(ReportArgs),
    Plot(PlotArgs),
    FormatWandb(FormatWandbArgs),
    Specificity(SpecificityArgs),
    Book(BookArgs),
    Ls(LsArgs),
    Show(ShowArgs),
    Diff(DiffArgs),
    Top(TopArgs),
    Verify(VerifyArgs),
    Tag(TagArgs),
    Note(NoteArgs),
    Rm(RmArgs),
    Export(ExportArgs),
    Sync(SyncArgs),
    Replay(ReplayArgs),
    Gc(GcArgs),
    Nouns(NounsArgs),
    Checkpoint(CheckpointArgs),
    Schema(SchemaArgs),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    Cache(CacheArgs),
    Captions(CaptionsArgs),
    Annotate(AnnotateArgs),
    Embed(EmbedArgs),
    Images(ImagesArgs),
    Hub(HubArgs),
}

/// The commands and their options, for those who describe them.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line of this process, runs the command and returns its
/// exit code.
pub fn main() -> ExitCode {
    crate::keep_freed_memory();
    ExitCode::from(run(std::env::args_os().collect()))
}

/// The same for a command line; its first word is the name of the program.
/// Ends the process after help, completion and words it does not know.
pub fn run(arguments: Vec<OsString>) -> u8 {
    let here = std::env::current_dir().ok();
    let completed = clap_complete::CompleteEnv::with_factory(Cli::command)
        .var(complete::VARIABLE)
        .try_complete(arguments.clone(), here.as_deref())
        .unwrap_or_else(|error| error.exit());
    if completed {
        return Exit::Success.code();
    }
    let options = arguments.iter().take_while(|word| *word != "--");
    let json = options.into_iter().any(|word| word == "--json");
    let cli = Cli::parse_from(arguments);
    guard::stay_no_longer_than_parent();
    let result: Result<Exit, CliError> = match cli.command {
        Command::Run(args) => cmd_run(&args),
        Command::Action(args) => cmd_action(&args),
        Command::Plan(args) => cmd_plan(&args),
        Command::Why(args) => cmd_why(&args),
        Command::Config(args) => cmd_config(&args),
        Command::Import(args) => cmd_import(&args),
        Command::Sweep(args) => cmd_sweep(&args),
        Command::Infer(args) => cmd_infer(&args),
        Command::Serve(args) => cmd_serve(&args),
        Command::Table(args) => cmd_table(&args),
        Command::FormatPreds(args) => cmd_format_preds(&args),
        Command::Report(args) => cmd_report(&args),
        Command::Plot(args) => cmd_plot(&args),
        Command::FormatWandb(args) => cmd_format_wandb(&args),
        Command::Specificity(args) => cmd_specificity(&args),
        Command::Book(args) => cmd_book(&args),
        Command::Ls(args) => cmd_ls(&args),
        Command::Show(args) => cmd_show(&args),
        Command::Diff(args) => cmd_diff(&args),
        Command::Top(args) => cmd_top(&args),
        Command::Verify(args) => cmd_verify(&args),
        Command::Tag(args) => cmd_tag(&args),
        Command::Note(args) => cmd_note(&args),
        Command::Rm(args) => cmd_rm(&args),
        Command::Export(args) => cmd_export(&args),
        Command::Sync(args) => cmd_sync(&args),
        Command::Replay(args) => cmd_replay(&args),
        Command::Gc(args) => cmd_gc(&args),
        Command::Nouns(args) => cmd_nouns(&args),
        Command::Checkpoint(args) => cmd_checkpoint(&args),
        Command::Schema(args) => cmd_schema(&args),
        Command::Doctor(args) => cmd_doctor(&args),
        Command::Completions(args) => cmd_completions(&args),
        Command::Cache(args) => cmd_cache(&args),
        Command::Captions(args) => cmd_captions(&args),
        Command::Annotate(args) => cmd_annotate(&args),
        Command::Embed(args) => cmd_embed(&args),
        Command::Images(args) => cmd_images(&args),
        Command::Hub(args) => cmd_hub(&args),
    };
    match result {
        Ok(exit) => exit.code(),
        Err(error) => {
            error.print();
            // One document at most; whoever is gone has the exit code.
            if json && !print::has_printed() {
                let _ = print::print(&format!("{:#}\n", error.to_json()));
            }
            error.exit.code()
        }
    }
}
