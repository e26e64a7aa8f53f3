//! Whether a run may go on with one that the service has (`tracking.wandb.resume`).

use std::path::Path;

use super::error::WandbError;
use super::fault::Fault;
use super::follower::Wanted;
use super::state::{Description, MirrorState, Resume, seconds};

/// Why a run that this store did not begin is not mirrored, if it is not:
/// `exists` says whether the service has it.
pub(super) fn refusal(run: &Description, exists: bool) -> Option<Fault> {
    let message = match (exists, run.resume) {
        (false, Some(Resume::Must)) => format!(
            "run {} does not exist in {}, and tracking.wandb.resume is `must`",
            run.id, run.project
        ),
        (true, Some(Resume::Never)) => format!(
            "run {} exists in {}, and tracking.wandb.resume is `never`; choose another \
             tracking.wandb.run_id",
            run.id, run.project
        ),
        (true, None) => format!(
            "run {} exists in {} already and is not of this store; choose another \
             tracking.wandb.run_id, or set tracking.wandb.resume = \"allow\"",
            run.id, run.project
        ),
        _ => return None,
    };
    Some(Fault::refused(message))
}

/// Asks the service about the stages that must not run without the mirror that
/// they want. A service that does not answer keeps none from running. `runs` is
/// the folder of the runs of this store.
///
/// # Errors
/// The first that it refuses.
pub fn check_strict(runs: &Path, wanted: &[Wanted]) -> Result<(), WandbError> {
    for wanted in wanted
        .iter()
        .filter(|wanted| wanted.strict && !wanted.offline)
    {
        let (run, settings) = (&wanted.run, &wanted.settings);
        let known = MirrorState::of_all(runs)?;
        if known.iter().any(|state| state.run.id == run.id) {
            continue;
        }
        let client = match settings.client() {
            Err(WandbError::NoKey { .. }) => continue,
            client => client?,
        };
        let timeout = seconds(settings.request_timeout);
        let entity = run.entity.as_deref();
        if let Ok(status) = client.resume_status(entity, &run.project, &run.id, timeout)
            && let Some(fault) = refusal(run, status.is_some())
        {
            return Err(client.trouble(fault));
        }
    }
    Ok(())
}
