//! A consumer group as the broker sees it: how many members it has, and the state that it is in.

use super::kafka::Kafka;
use super::wait::{self, Look};
use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Looks at one group, with a client that is connected.
pub struct Group {
    name: String,
    client: Arc<BaseConsumer>,
}

impl Group {
    /// Connects, which may take a second: whoever waits for a state that passes begins before it can come.
    pub async fn watch(kafka: &Kafka, name: &str) -> Result<Self> {
        // It is no member of any group.
        let group = Self { name: name.to_owned(), client: Arc::new(kafka.reader("e2e")?) };
        group.members().await?;
        Ok(group)
    }

    /// How many members it has, and the state that the broker says it is in; none and an empty text where there is no such group.
    pub async fn members(&self) -> Result<(usize, String)> {
        let (client, name) = (Arc::clone(&self.client), self.name.clone());
        let look = move || {
            let groups = client.fetch_group_list(Some(&name), TIMEOUT)?;
            let found = groups.groups().iter().find(|group| group.name() == name);
            Ok(found.map_or((0, String::new()), |group| (group.members().len(), group.state().to_owned())))
        };
        tokio::task::spawn_blocking(look).await?
    }

    /// Waits until it shares its partitions out anew; the state that the broker says it is in.
    pub async fn rebalances(&self, within: Duration) -> Result<String> {
        wait::until(&format!("{} shares its partitions out anew", self.name), within, async || {
            let (members, state) = self.members().await?;
            let instead = format!("{state}, {members} members");
            Ok(if state.ends_with("Rebalance") { Look::Seen(state) } else { Look::NotYet(instead) })
        })
        .await
    }
}
