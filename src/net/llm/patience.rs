//! How long a call that is no question is repeated.

use std::time::Duration;

use super::backoff::Backoff;
use super::error::LlmError;
use super::failure::{Failure, FailureClass};

/// Longest time that a request waits because the service is asked too fast.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The patience with one call.
pub(super) struct Patience {
    attempts: u32,
    backoff: Backoff,
    /// Tries that failed.
    tries: u32,
    /// Times that the service was asked too fast, which are no tries.
    too_fast: u32,
    waited: Duration,
}

impl Patience {
    pub(super) fn new(attempts: u32, backoff: Backoff) -> Self {
        Self {
            attempts,
            backoff,
            tries: 0,
            too_fast: 0,
            waited: Duration::ZERO,
        }
    }

    /// How long to wait after one more failure.
    ///
    /// # Errors
    /// Another try makes no sense.
    pub(super) fn wait_after(&mut self, failure: &Failure) -> Result<Duration, LlmError> {
        match failure.class {
            FailureClass::Auth => Err(LlmError::Auth(failure.clone())),
            FailureClass::Quota => Err(LlmError::Quota(failure.clone())),
            FailureClass::BadRequest => Err(LlmError::Failed(failure.clone())),
            FailureClass::Rate => self.after_too_fast(failure),
            FailureClass::Transient => self.after_fault(failure),
        }
    }

    fn after_too_fast(&mut self, failure: &Failure) -> Result<Duration, LlmError> {
        self.too_fast += 1;
        let chosen = || self.backoff.wait(self.too_fast, self.too_fast);
        // Never without a pause.
        let least = (self.backoff.base / 10).max(Duration::from_millis(1));
        let wait = failure.wait.unwrap_or_else(chosen).max(least);
        self.waited += wait;
        match self.waited > LONGEST {
            true => Err(LlmError::Unavailable(failure.clone())),
            false => Ok(wait),
        }
    }

    fn after_fault(&mut self, failure: &Failure) -> Result<Duration, LlmError> {
        self.tries += 1;
        match self.tries >= self.attempts {
            true => Err(LlmError::Failed(failure.clone())),
            false => Ok(self.backoff.wait(self.tries, self.tries)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_tries() -> Patience {
        Patience::new(3, Backoff::with_base(Duration::from_millis(20)))
    }

    fn too_fast(wait: Option<Duration>) -> Failure {
        Failure {
            class: FailureClass::Rate,
            wait,
            ..Failure::unreadable("slower")
        }
    }

    #[test]
    fn being_too_fast_is_no_try_and_waits_as_the_service_says() {
        let mut patience = three_tries();
        for _ in 0..10 {
            let asked = Duration::from_millis(700);
            assert_eq!(
                patience.wait_after(&too_fast(Some(asked))).expect("a wait"),
                asked
            );
        }
        let fault = Failure::unreadable("nothing");
        assert!(patience.wait_after(&fault).is_ok());
        assert!(patience.wait_after(&fault).is_ok());
        assert!(matches!(
            patience.wait_after(&fault),
            Err(LlmError::Failed(_))
        ));
    }

    #[test]
    fn a_service_that_is_always_asked_too_fast_is_given_up_after_a_day() {
        let mut patience = three_tries();
        let hours = too_fast(Some(Duration::from_secs(10 * 3600)));
        assert!(patience.wait_after(&hours).is_ok());
        assert!(patience.wait_after(&hours).is_ok());
        assert!(matches!(
            patience.wait_after(&hours),
            Err(LlmError::Unavailable(_))
        ));
        // Never at once, whatever the service says.
        let at_once = three_tries().wait_after(&too_fast(Some(Duration::ZERO)));
        assert!(at_once.expect("a wait") >= Duration::from_millis(1));
    }
}
