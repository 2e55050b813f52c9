//! What the process as a whole needs: Kafka, Postgres, the admin port, the log.

use std::{net::SocketAddr, time::Duration};

use super::{
    kafka_properties::Properties,
    kinds::{DurationIn, ListenAddress},
    names::{Brokers, BrokersKind, Connector, ConnectorKind, Topic, TopicKind},
    settings::{settings, words},
    url::{HttpUrl, HttpUrlKind, PostgresUrl, PostgresUrlKind},
};

const LOOKUP_TIMEOUT: DurationIn = DurationIn {
    min: Duration::from_millis(10),
    max: Duration::from_secs(60),
    why: "a shorter one fails on a healthy network, a longer one keeps a lane from trying again",
};

settings! {
    /// How Kafka is reached.
    pub struct Kafka {
        /// Bootstrap servers: `host:port`, several separated by commas.
        pub brokers: Brokers = required(&BrokersKind),
        /// Properties passed to librdkafka as they are (`security.protocol`, `sasl.*`, `ssl.*`); never printed. Those
        /// that the guarantees rest on are refused.
        pub properties: Properties = kafka_properties(),
        /// The compacted topic, with one partition, that keeps what operators order: `deltafan pause`, `resume`, `reset`.
        pub control_topic: Topic = optional(&TopicKind, "deltafan.control"),
    }
}

settings! {
    /// How the database is reached: for content that the feed does not know yet.
    pub struct Postgres {
        /// Address of the primary: `postgres://user:password@host:port/database`.
        pub url: PostgresUrl = required(&PostgresUrlKind),
        /// How long one lookup may take before it is tried again.
        pub lookup_timeout: Duration = optional(&LOOKUP_TIMEOUT, "2s"),
    }
}

settings! {
    /// Kafka Connect, whose connector is watched: a task of it that has failed is restarted, with growing pauses.
    pub struct Connect {
        /// Address of its REST interface, `http://` or `https://`.
        pub url: HttpUrl = required(&HttpUrlKind),
        /// The connector's name.
        pub connector: Connector = optional(&ConnectorKind, "engagement-events-connector"),
    }
}

settings! {
    /// The port for health, metrics and administration.
    pub struct Admin {
        /// Address and port to listen on. There is no password: keep it on loopback or a private network.
        pub listen: SocketAddr = optional(&ListenAddress, "127.0.0.1:9464"),
    }
}

settings! {
    /// What is logged, and how.
    pub struct Log {
        /// The least important level that is written.
        pub level: LogLevel = optional(&LogLevel::KIND, "info"),
        /// `text` for people, `json` for log collectors.
        pub format: LogFormat = optional(&LogFormat::KIND, "text"),
    }
}

words! {
    /// How important a line of the log is.
    LogLevel {
        /// Something needs attention.
        Error = "error",
        /// Something may need attention soon.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// The form of the log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}
