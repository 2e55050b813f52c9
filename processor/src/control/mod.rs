//! Control: what operators order a lane to do, kept in a compacted topic that every instance follows.
//!
//! `deltafan pause`, `resume` and `reset` write one record each ([`give`]); every running instance reads them all
//! before its lanes join their groups, and obeys each new one within a moment ([`follow`]). So an order outlives
//! restarts and rebalances, and needs no instance to be running. A pause is a state: the last word counts. A reset is an
//! order with a number, obeyed once for each partition: the lane's commits name the last one obeyed.
//!
//! It knows neither lanes nor sinks: a lane looks its own orders up by name ([`Orders`]).

pub mod follow;
pub mod give;
mod order;

pub use order::{LaneOrders, Order, Pause, Reset, Table};

use tokio::sync::watch;

/// What has been read of the topic.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The orders in force.
    pub table: Table,
    /// Why they can't be told yet; `None` once all that was there has been read.
    pub missing: Option<String>,
}

/// The orders of one lane, as they change.
#[derive(Debug, Clone)]
pub struct Orders {
    lane: String,
    known: watch::Receiver<Known>,
    /// What was told last.
    told: LaneOrders,
}

impl Orders {
    /// The orders of the lane `pipeline/sink`.
    pub fn new(lane: &str, mut known: watch::Receiver<Known>) -> Self {
        // What was there before the lane was made is news to it.
        known.mark_changed();
        Self { lane: lane.to_owned(), known, told: LaneOrders::default() }
    }

    /// Why the orders can't be told yet, if so.
    pub fn missing(&self) -> Option<String> {
        self.known.borrow().missing.clone()
    }

    /// The orders in force, if they are others than at the last call.
    pub fn news(&mut self) -> Option<LaneOrders> {
        if !self.known.has_changed().unwrap_or(false) {
            return None;
        }
        let orders = self.known.borrow_and_update().table.of(&self.lane);
        (orders != self.told).then(|| {
            self.told.clone_from(&orders);
            orders
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_hears_of_its_own_orders_once() {
        let (sender, receiver) = watch::channel(Known::default());
        let mut orders = Orders::new("p/s", receiver);
        let tell = |lane: &str, order| {
            sender.send_modify(|known| known.table.apply(lane, order));
        };
        let pause = Pause { since_ms: 1, reason: None };
        tell("p/other", Order::Pause(pause.clone()));
        assert_eq!(orders.news(), None);
        tell("p/s", Order::Pause(pause.clone()));
        assert_eq!(orders.news().expect("news").pause, Some(pause.clone()));
        assert_eq!(orders.news(), None);
        let mut late = Orders::new("p/s", sender.subscribe());
        assert_eq!(late.news().expect("ordered before the lane was there").pause, Some(pause));
        tell("p/s", Order::Resume);
        assert_eq!(orders.news(), Some(LaneOrders::default()));
    }
}
