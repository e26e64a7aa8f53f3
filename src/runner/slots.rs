//! What steps may occupy at the same time.

use crate::config::schema::{self, Needs};
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
