//! A cluster that does not let us in: the processor ends with status 2, and names cause and remedy but not the password.

use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// librdkafka tries for a while before it says so.
const WITHIN: Duration = Duration::from_secs(60);
const PASSWORD: &str = "e2e-password";

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let open = bench.plan(&receiver)?.yaml(&bench.stack, &bench.stack.free_address()?)?;
    // The broker knows no users at all.
    let properties = format!(
        "kafka:\n  properties:\n    security.protocol: SASL_PLAINTEXT\n    sasl.mechanism: PLAIN\n    \
         sasl.username: e2e\n    sasl.password: {PASSWORD}\n"
    );
    let file = bench.folder.join("refused.yaml");
    std::fs::write(&file, open.replacen("kafka:\n", &properties, 1))?;
    let file = file.to_str().context("the folder's name is no UTF-8")?;
    let began = Instant::now();
    let (status, said) = bench.deltafan("refused", &["run", "--config", file]).run(WITHIN).await?;
    let took = began.elapsed();
    check::equal(format!("exit status ({said})"), status.code(), Some(2))?;
    let last = said.lines().last().unwrap_or_default();
    check::contains("the cause", last, "kafka refuses access to the cluster")?;
    check::contains("the remedy", last, "check user, password and mechanism in `kafka.properties`")?;
    check::equal("whether the password is told", said.contains(PASSWORD), false)?;
    let mut measured = Measured::default();
    measured.add(format!("status 2 after {:.1} s: {last}", took.as_secs_f64()));
    Ok(measured)
}
