//! Where requests wait until they may be sent: for a free place, for the rates,
//! for the service, and for the budget.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::answer::Usage;
use super::backoff::Backoff;
use super::budget::{Limits, Price, Spent};
use super::client::{Pace, Stop};
use super::error::LlmError;
use super::failure::{Failure, FailureClass};

/// How often waiting requests look whether the program should stop.
const LOOK: Duration = Duration::from_millis(50);

/// Faults in a row, over all requests, after which everything pauses.
const FAULTS: u32 = 20;

/// Pauses in a row after which the service counts as gone.
const PAUSES: u32 = 5;

/// The gate of one client.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    rules: Rules,
}

/// What the gate keeps to.
pub(super) struct Rules {
    pub(super) pace: Pace,
    pub(super) limits: Limits,
    pub(super) price: Option<Price>,
    pub(super) backoff: Backoff,
    pub(super) stop: Stop,
}

struct State {
    in_flight: usize,
    worst_in_flight: Usage,
    /// Requests at a time; halved when the service is asked too fast.
    places: f64,
    /// When the rate of requests allows the next one.
    next_request: Instant,
    /// When the rate of tokens allows the next one.
    next_tokens: Instant,
    pause: Option<Pause>,
    /// Times in a row that the service was asked too fast.
    too_fast: u32,
    faults: u32,
    /// Faults in a row, pauses or not.
    failures: u32,
    pauses: u32,
    spent: Spent,
    /// Why nothing is sent any more.
    closed: Option<LlmError>,
}

struct Pause {
    until: Instant,
    why: &'static str,
}

/// A request that may be sent. Ends as [`Permit::answered`] or
/// [`Permit::failed`].
pub(super) struct Permit<'a> {
    gate: &'a Gate,
    worst: Usage,
}

impl Gate {
    pub(super) fn new(rules: Rules, spent: Spent) -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                in_flight: 0,
                worst_in_flight: Usage::default(),
                places: rules.pace.concurrency.max(1) as f64,
                next_request: now,
                next_tokens: now,
                pause: None,
                too_fast: 0,
                faults: 0,
                failures: 0,
                pauses: 0,
                spent,
                closed: None,
            }),
            changed: Condvar::new(),
            rules,
        }
    }

    pub(super) fn set_backoff(&mut self, backoff: Backoff) {
        self.rules.backoff = backoff;
    }

    pub(super) fn set_price(&mut self, price: Price) {
        self.rules.price = Some(price);
    }

    pub(super) fn set_spent(&mut self, spent: Spent) {
        self.state().spent = spent;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters stay usable whatever a thread that held them did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been spent.
    pub(super) fn spent(&self) -> Spent {
        self.state().spent
    }

    /// Faults in a row over all requests.
    pub(super) fn failures(&self) -> u32 {
        self.state().failures
    }

    /// Counts answers that did not come through the gate.
    pub(super) fn add_spent(&self, usage: Usage, cost: f64) {
        let mut state = self.state();
        state.spent.requests += 1;
        state.spent.answers += 1;
        state.spent.usage += usage;
        state.spent.cost += cost;
    }

    /// The limit that requests which take at most `worst` would break.
    pub(super) fn broken_by(&self, requests: u64, worst: &Usage, discount: f64) -> Option<String> {
        let rules = &self.rules;
        let state = self.state();
        let price = rules.price.map(|price| price.times(discount));
        if let Some(limit) = rules.limits.requests
            && state.spent.requests + requests > limit
        {
            return Some(format!("{limit} requests"));
        }
        let (spent, in_flight) = (&state.spent, &state.worst_in_flight);
        rules
            .limits
            .broken_by(spent, in_flight, worst, price.as_ref())
    }

    pub(super) fn cost(&self, usage: &Usage) -> f64 {
        self.rules.price.map_or(0.0, |price| price.cost(usage))
    }

    /// Why nothing is sent now, for people.
    pub(super) fn waits(&self) -> Option<String> {
        let state = self.state();
        let pause = state.pause.as_ref()?;
        let left = pause.until.checked_duration_since(Instant::now())?;
        Some(format!("{} ({} s left)", pause.why, left.as_secs() + 1))
    }

    /// Waits until a request that takes at most `worst` may be sent.
    ///
    /// # Errors
    /// The budget does not allow it, nothing is sent any more, or the program should
    /// stop.
    pub(super) fn enter(&self, worst: Usage) -> Result<Permit<'_>, LlmError> {
        let mut state = self.state();
        loop {
            if (self.rules.stop)() {
                return Err(LlmError::Interrupted);
            }
            if let Some(error) = &state.closed {
                return Err(error.clone());
            }
            let now = Instant::now();
            let wait = if state.in_flight >= state.places as usize {
                LOOK
            } else if let Some(until) = state.opens(now) {
                until - now
            } else {
                let rules = &self.rules;
                let in_flight = &state.worst_in_flight;
                let price = rules.price.as_ref();
                match rules
                    .limits
                    .broken_by(&state.spent, in_flight, &worst, price)
                {
                    None => break,
                    // What is in flight may take less than it could.
                    Some(_) if in_flight.total() > 0 => LOOK,
                    Some(limit) => return Err(LlmError::Budget(limit)),
                }
            };
            let waited = self.changed.wait_timeout(state, wait.min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.send(&worst, &self.rules.pace);
        Ok(Permit { gate: self, worst })
    }

    /// Waits, unless the program should stop.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), LlmError> {
        let until = Instant::now() + time;
        loop {
            if (self.rules.stop)() {
                return Err(LlmError::Interrupted);
            }
            match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(LOOK)),
                _ => return Ok(()),
            }
        }
    }
}

impl State {
    /// The time before which nothing may be sent, if that is later than `now`.
    fn opens(&self, now: Instant) -> Option<Instant> {
        let pause = self.pause.as_ref().map(|pause| pause.until);
        let rates = [self.next_request, self.next_tokens];
        let latest = rates.into_iter().chain(pause).max();
        latest.filter(|latest| *latest > now)
    }

    fn send(&mut self, worst: &Usage, pace: &Pace) {
        let now = Instant::now();
        self.in_flight += 1;
        self.worst_in_flight += *worst;
        self.spent.requests += 1;
        if let Some(rate) = pace.requests_per_minute {
            self.next_request = now.max(self.next_request) + minutes(1.0 / rate);
        }
        if let Some(rate) = pace.tokens_per_minute {
            let share = worst.total() as f64 / rate;
            self.next_tokens = now.max(self.next_tokens) + minutes(share);
        }
    }

    /// A request has ended that took `used` instead of `worst`.
    fn end(&mut self, worst: &Usage, used: u64, pace: &Pace) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let all = &mut self.worst_in_flight;
        all.prompt_tokens = all.prompt_tokens.saturating_sub(worst.prompt_tokens);
        all.completion_tokens = all
            .completion_tokens
            .saturating_sub(worst.completion_tokens);
        if let Some(rate) = pace.tokens_per_minute {
            let unused = minutes(worst.total().saturating_sub(used) as f64 / rate);
            let more = minutes(used.saturating_sub(worst.total()) as f64 / rate);
            let earlier = self.next_tokens.checked_sub(unused);
            self.next_tokens = earlier.unwrap_or(self.next_tokens) + more;
        }
    }

    fn pause(&mut self, time: Duration, why: &'static str) {
        let until = Instant::now() + time;
        if self.pause.as_ref().is_none_or(|pause| pause.until < until) {
            self.pause = Some(Pause { until, why });
        }
    }
}

impl Permit<'_> {
    /// The service has answered, which took `usage`.
    pub(super) fn answered(self, usage: Usage) {
        let rules = &self.gate.rules;
        let mut state = self.gate.state();
        state.end(&self.worst, usage.total(), &rules.pace);
        state.spent.answers += 1;
        state.spent.usage += usage;
        state.spent.cost += self.gate.cost(&usage);
        state.places =
            (state.places + 1.0 / state.places).min(rules.pace.concurrency.max(1) as f64);
        state.too_fast = 0;
        state.faults = 0;
        state.failures = 0;
        state.pauses = 0;
        self.gate.changed.notify_all();
    }

    /// The exchange has failed. Everything else waits as the failure says.
    /// Returns the time that passes until the next request may be sent.
    pub(super) fn failed(self, failure: &Failure) -> Duration {
        let rules = &self.gate.rules;
        let mut state = self.gate.state();
        state.end(&self.worst, 0, &rules.pace);
        let mut waits = Duration::ZERO;
        match failure.class {
            FailureClass::Rate => {
                state.too_fast += 1;
                state.places = (state.places / 2.0).max(1.0);
                let chosen = || rules.backoff.wait(state.too_fast, state.too_fast);
                let least = rules.backoff.base / 10;
                waits = failure.wait.unwrap_or_else(chosen).max(least);
                state.pause(waits, "the service asks to wait");
            }
            FailureClass::Transient => {
                state.faults += 1;
                state.failures = state.failures.saturating_add(1);
                if state.faults >= FAULTS {
                    state.faults = 0;
                    state.pauses += 1;
                    let time = rules.backoff.pause(state.pauses);
                    state.pause(time, "the service has failed many times in a row");
                    if state.pauses > PAUSES {
                        state.closed = Some(LlmError::Unavailable(failure.clone()));
                    }
                }
            }
            FailureClass::Auth => state.closed = Some(LlmError::Auth(failure.clone())),
            FailureClass::Quota => state.closed = Some(LlmError::Quota(failure.clone())),
            FailureClass::BadRequest => {}
        }
        self.gate.changed.notify_all();
        waits
    }
}

fn minutes(minutes: f64) -> Duration {
    Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn gate(pace: Pace, limits: Limits) -> Gate {
        let rules = Rules {
            pace,
            limits,
            price: None,
            backoff: Backoff::with_base(Duration::from_millis(1)),
            stop: Arc::new(|| false),
        };
        Gate::new(rules, Spent::default())
    }

    fn tokens(completion_tokens: u64) -> Usage {
        Usage {
            completion_tokens,
            ..Usage::default()
        }
    }

    fn failure(class: FailureClass) -> Failure {
        Failure {
            class,
            status: None,
            code: None,
            parameter: None,
            message: String::new(),
            wait: None,
            request_id: None,
            response: String::new(),
        }
    }

    #[test]
    fn requests_are_spaced_as_the_rates_say() {
        // 6000 a minute are one in 10 ms; 100 tokens at 600,000 a minute too.
        for pace in [
            Pace {
                requests_per_minute: Some(6_000.0),
                ..Pace::default()
            },
            Pace {
                tokens_per_minute: Some(600_000.0),
                ..Pace::default()
            },
        ] {
            let gate = gate(pace, Limits::default());
            let start = Instant::now();
            for _ in 0..6 {
                gate.enter(tokens(100))
                    .expect("a permit")
                    .answered(tokens(100));
            }
            assert!(start.elapsed() >= Duration::from_millis(50));
        }
    }

    #[test]
    fn tokens_that_were_not_needed_are_given_back() {
        let pace = Pace {
            tokens_per_minute: Some(60.0),
            ..Pace::default()
        };
        let gate = gate(pace, Limits::default());
        let start = Instant::now();
        for _ in 0..3 {
            gate.enter(tokens(1_000))
                .expect("a permit")
                .answered(tokens(0));
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn asking_too_fast_halves_the_places_which_come_back_slowly() {
        let gate = gate(Pace::default(), Limits::default());
        assert_eq!(gate.state().places, 8.0);
        for expected in [4.0, 2.0, 1.0, 1.0] {
            let permit = gate.enter(tokens(1)).expect("a permit");
            permit.failed(&failure(FailureClass::Rate));
            assert_eq!(gate.state().places, expected);
        }
        for _ in 0..3 {
            gate.enter(tokens(1)).expect("a permit").answered(tokens(1));
        }
        let places = gate.state().places;
        assert!(places > 2.0 && places < 4.0, "{places}");
    }

    #[test]
    fn a_service_that_only_fails_is_left_alone_and_then_given_up() {
        let gate = gate(Pace::default(), Limits::default());
        let mut sent = 0;
        let error = loop {
            match gate.enter(tokens(1)) {
                Ok(permit) => permit.failed(&failure(FailureClass::Transient)),
                Err(error) => break error,
            };
            sent += 1;
        };
        assert_eq!(sent, FAULTS * (PAUSES + 1));
        assert!(matches!(error, LlmError::Unavailable(_)));
    }

    #[test]
    fn the_budget_waits_for_what_is_in_flight() {
        let limits = Limits {
            tokens: Some(100),
            ..Limits::default()
        };
        let gate = gate(Pace::default(), limits);
        let first = gate.enter(tokens(60)).expect("a permit");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                gate.enter(tokens(60))
                    .map(|permit| permit.answered(tokens(10)))
            });
            first.answered(tokens(10));
            assert!(second.join().expect("no panic").is_ok());
        });
        assert_eq!(gate.spent().usage.total(), 20);
        assert!(matches!(gate.enter(tokens(81)), Err(LlmError::Budget(_))));
    }

    #[test]
    fn waiting_ends_when_the_program_should_stop() {
        let stop = Arc::new(AtomicBool::new(false));
        let rules = Rules {
            pace: Pace {
                requests_per_minute: Some(0.001),
                ..Pace::default()
            },
            limits: Limits::default(),
            price: None,
            backoff: Backoff::default(),
            stop: {
                let stop = stop.clone();
                Arc::new(move || stop.load(Ordering::Relaxed))
            },
        };
        let gate = Gate::new(rules, Spent::default());
        gate.enter(tokens(1)).expect("a permit").answered(tokens(1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.enter(tokens(1)).err());
            stop.store(true, Ordering::Relaxed);
            let error = waiting.join().expect("no panic");
            assert!(matches!(error, Some(LlmError::Interrupted)));
        });
    }
}
