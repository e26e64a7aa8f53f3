//! What steps may occupy at the same time.

use crate::config::schema::{self, Needs};
use crate::config::{Experiment, Problem, StageSpec};
use crate::tracking::Environment;

/// Bytes in a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// What there is for all steps together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slots {
    /// Steps at the same time, at least one.
    pub jobs: usize,
    /// Threads; none: not counted.
    pub cpus: Option<usize>,
    /// GPUs.
    pub gpus: usize,
    /// Memory in GiB.
    pub memory: f64,
}

impl Default for Slots {
    /// One step after the other.
    fn default() -> Slots {
        Slots {
            jobs: 1,
            cpus: None,
            gpus: 1,
            memory: f64::INFINITY,
        }
    }
}

impl Slots {
    /// Those of an experiment; `jobs` is what the command line says.
    pub fn of(slots: &schema::Slots, jobs: Option<usize>) -> Slots {
        Slots {
            jobs: jobs.or(slots.jobs).or(slots.cpus).unwrap_or(1).max(1),
            cpus: slots.cpus,
            gpus: slots.gpus,
            memory: slots
                .memory
                .unwrap_or_else(|| Environment::capture().memory as f64 / GIB),
        }
    }
}

/// A warning for each stage that needs more than there is for all: it runs all the
/// same, when nothing else does. `gpus` is how many the machine has.
pub fn excessive_needs(experiment: &Experiment, slots: &Slots, gpus: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut check = |stage: &StageSpec, key: &str, needed: f64, there: f64, whose: &str| {
        if needed > there {
            let title = format!(
                "stage `{}` has {key} = {needed}, but {whose} {there}: it runs alone, with what \
                 there is",
                stage.name
            );
            let problem = Problem::warning(title);
            problems.push(match stage.origins.location(key) {
                Some(location) => problem.at(location.clone(), ""),
                None => problem,
            });
        }
    };
    for stage in &experiment.stages {
        let needs = &stage.config.needs;
        let here = gpus.min(slots.gpus);
        let whose = match here < slots.gpus {
            true => "the number of GPUs here is",
            false => "slots.gpus is",
        };
        check(stage, "needs.gpus", needs.gpus as f64, here as f64, whose);
        if let (Some(needed), Some(there)) = (needs.cpus, slots.cpus) {
            let (needed, there) = (needed as f64, there as f64);
            check(stage, "needs.cpus", needed, there, "slots.cpus is");
        }
        let whose = "the GiB of memory for all stages are";
        check(stage, "needs.memory", needs.memory, slots.memory, whose);
    }
    problems
}

/// What steps at work occupy.
#[derive(Debug, Default)]
pub(super) struct Occupied {
    steps: usize,
    cpus: usize,
    gpus: usize,
    memory: f64,
}

impl Occupied {
    /// Whether a step with these needs may begin. One that needs more than
    /// there is may begin when nothing else is at work.
    pub(super) fn leaves_room(&self, needs: &Needs, slots: &Slots) -> bool {
        let cpus = slots
            .cpus
            .is_none_or(|all| self.cpus + cpus(needs, all) <= all);
        self.steps == 0
            || cpus
                && self.gpus + needs.gpus <= slots.gpus
                && self.memory + needs.memory <= slots.memory
    }

    pub(super) fn begin(&mut self, needs: &Needs, slots: &Slots) {
        self.steps += 1;
        self.cpus += slots.cpus.map_or(0, |all| cpus(needs, all));
        self.gpus += needs.gpus;
        self.memory += needs.memory;
    }

    pub(super) fn end(&mut self, needs: &Needs, slots: &Slots) {
        self.steps -= 1;
        self.cpus -= slots.cpus.map_or(0, |all| cpus(needs, all));
        self.gpus -= needs.gpus;
        self.memory -= needs.memory;
        if self.steps == 0 {
            // Sums of fractions may leave a rest.
            *self = Occupied::default();
        }
    }
}

fn cpus(needs: &Needs, all: usize) -> usize {
    needs.cpus.unwrap_or(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(cpus: Option<usize>, gpus: usize, memory: f64) -> Needs {
        Needs { cpus, gpus, memory }
    }

    #[test]
    fn steps_begin_where_there_is_room() {
        let slots = Slots {
            jobs: 4,
            cpus: Some(4),
            gpus: 1,
            memory: 8.0,
        };
        let mut occupied = Occupied::default();
        // More than there is, but nothing else is at work.
        assert!(occupied.leaves_room(&needs(Some(9), 0, 0.0), &slots));
        let first = needs(Some(2), 1, 5.0);
        occupied.begin(&first, &slots);
        assert!(occupied.leaves_room(&needs(Some(2), 0, 3.0), &slots));
        assert!(!occupied.leaves_room(&needs(Some(3), 0, 0.0), &slots));
        assert!(!occupied.leaves_room(&needs(None, 0, 0.0), &slots));
        assert!(!occupied.leaves_room(&needs(Some(1), 1, 0.0), &slots));
        assert!(!occupied.leaves_room(&needs(Some(1), 0, 3.5), &slots));
        occupied.end(&first, &slots);
        assert!(occupied.leaves_room(&needs(None, 1, 8.0), &slots));
    }

    #[test]
    fn needs_beyond_all_slots_are_told() {
        let request = crate::config::Request {
            file: "mine.toml".into(),
            text: Some(
                "[stage.a]\nkind = \"nothing\"\nneeds.gpus = 1\nneeds.cpus = 4\n\
                 [stage.b]\nkind = \"nothing\"\nneeds.memory = 9.0\n"
                    .to_owned(),
            ),
            ..crate::config::Request::default()
        };
        let experiment = Experiment::load(&request).unwrap();
        let slots = |cpus, memory| Slots {
            cpus,
            memory,
            ..Slots::default()
        };
        let titles = |slots: Slots, gpus| -> Vec<String> {
            let problems = excessive_needs(&experiment, &slots, gpus);
            problems.into_iter().map(|problem| problem.title).collect()
        };
        assert!(titles(slots(Some(4), 9.0), 1).is_empty());
        let found = titles(slots(Some(2), 8.0), 0);
        assert_eq!(found.len(), 3, "{found:?}");
        for (title, part) in found.iter().zip([
            "needs.gpus = 1, but the number of GPUs here is 0",
            "needs.cpus = 4, but slots.cpus is 2",
            "needs.memory = 9",
        ]) {
            assert!(title.contains(part), "{title}");
        }
    }

    #[test]
    fn uncounted_threads_leave_it_to_the_number_of_steps() {
        let slots = Slots {
            jobs: 2,
            ..Slots::default()
        };
        let mut occupied = Occupied::default();
        occupied.begin(&Needs::default(), &slots);
        assert!(occupied.leaves_room(&Needs::default(), &slots));
    }

    #[test]
    fn the_command_line_wins() {
        let mut slots = schema::Slots::default();
        assert_eq!(Slots::of(&slots, None).jobs, 1);
        slots.cpus = Some(8);
        assert_eq!(Slots::of(&slots, None).jobs, 8);
        slots.jobs = Some(3);
        assert_eq!(Slots::of(&slots, None).jobs, 3);
        assert_eq!(Slots::of(&slots, Some(2)).jobs, 2);
    }
}
