//! How many events per second a sink is sent at most.

use super::{
    describe::{Describe, Outline},
    kinds::{CountTo, Fault, Kind},
};
use std::num::NonZeroU32;

const RATE: CountTo = CountTo {
    max: 1_000_000,
    why: "more than that no lane ever sends: without a limit it is as fast as it can be",
};
const NONE: &str = "none";

/// At most so many events per second, or as many as go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxRate(Option<NonZeroU32>);

impl MaxRate {
    /// Events per second; `None` where there is no limit.
    #[must_use]
    pub fn get(self) -> Option<NonZeroU32> {
        self.0
    }
}

impl Describe for MaxRate {
    fn describe(&self, out: &mut Outline) {
        match self.0 {
            Some(rate) => out.value(rate),
            None => out.value(NONE),
        }
    }
}

pub(super) struct MaxRateKind;

impl Kind for MaxRateKind {
    type Value = MaxRate;

    fn name(&self) -> String {
        format!("{NONE}, or events per second: {}", RATE.name())
    }

    fn parse(&self, text: &str) -> Result<MaxRate, Fault> {
        if text == NONE {
            return Ok(MaxRate(None));
        }
        if text.parse::<usize>().is_err() {
            let what = format!("is neither a number nor `{NONE}`");
            return Err(Fault::new(what, format!("write {}", self.name())));
        }
        let rate = RATE.parse(text)?;
        Ok(MaxRate(u32::try_from(rate.get()).ok().and_then(NonZeroU32::new)))
    }
}
