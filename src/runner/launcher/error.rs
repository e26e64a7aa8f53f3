//! What can go wrong when jobs are started.

/// Why jobs cannot be started or asked about.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A program of the cluster is not there.
    #[error(
        "there is no `{program}` here: [launcher] kind = \"slurm\" needs the programs of SLURM; run this on a machine of the cluster, or with launcher.kind=local"
    )]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// A program of the cluster refused.
    #[error("`{program}` failed: {said}{}", advice(said))]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// A process of this machine cannot be started.
    #[error("failed to start {program}: {source}")]
    Start {
        /// What was started.
        program: String,
        /// Why it was refused.
        #[source]
        source: std::io::Error,
    },
}

/// What to do about it.
fn advice(said: &str) -> &'static str {
    let said = said.to_lowercase();
    if said.contains("invalid partition") {
        "; `sinfo` lists the partitions; set launcher.partition"
    } else if said.contains("invalid account") {
        "; set launcher.account to an account of yours"
    } else if said.contains("invalid generic resource") {
        "; `sinfo -o %G` lists the resources; set launcher.gres"
    } else if said.contains("time limit") {
        "; set launcher.time to what the partition allows"
    } else if said.contains("unable to contact slurm controller") {
        "; the cluster does not answer, try again later"
    } else {
        ""
    }
}
