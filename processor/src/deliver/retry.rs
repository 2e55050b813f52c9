//! The retry schedule: exponential, with full jitter. Pure; the randomness is passed in.

use std::time::Duration;

/// The bound of the first pause; it doubles with every further failure ...
const FIRST: Duration = Duration::from_millis(50);
/// ... up to this: a sink that comes back after a long while is found within two seconds.
const LONGEST: Duration = Duration::from_secs(2);
/// A pause that a sink asks for is honoured up to this long.
const LONGEST_ASKED: Duration = Duration::from_secs(600);
/// A paused sink is looked at again after this long.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long to wait after the `failures`th failure in a row (counted from 1). `jitter` is drawn from 0 to 1; `asked` is
/// the pause that the sink asked for.
pub fn pause(failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let bound = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let jittered = bound.mul_f64(jitter.clamp(0.0, 1.0));
    asked.map_or(jittered, |asked| asked.min(LONGEST_ASKED).max(jittered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_bound_and_honours_what_the_sink_asks_for() {
        assert_eq!(pause(1, None, 1.0), FIRST);
        assert_eq!(pause(2, None, 1.0), FIRST * 2);
        assert_eq!(pause(1, None, 0.0), Duration::ZERO);
        assert_eq!(pause(u32::MAX, None, 1.0), LONGEST);
        assert_eq!(pause(1, Some(Duration::from_secs(7)), 0.5), Duration::from_secs(7));
        assert_eq!(pause(1, Some(Duration::from_secs(86_400)), 0.5), LONGEST_ASKED);
    }
}
