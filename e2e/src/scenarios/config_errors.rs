//! Mistakes in the configuration: all of them in one answer, each with its line, and exit status 2.

use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(10);

/// What is exchanged for what, and what the answer must name.
const MISTAKES: [(&str, &str, &str); 5] = [
    ("    transform: engagement", "    transfrom: engagement", "transfrom"),
    ("        workers: 2\n        url: http", "        workers: many\n        url: http", "workers"),
    ("length: 1h}", "length: 1 fortnight}", "length"),
    ("type: redis_window", "type: redis_windows", "redis_windows"),
    ("${PROCESSOR_DATABASE_URL}", "${E2E_NOT_SET}", "E2E_NOT_SET"),
];

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let good = plan.yaml(&bench.stack, &bench.stack.free_address()?)?;
    let mut all = good.clone();
    for (right, wrong, named) in MISTAKES {
        let one = good.replacen(right, wrong, 1);
        check::equal(format!("whether the file holds {right:?}"), one != good, true)?;
        answer(bench, named, &one, &[named]).await?;
        all = all.replacen(right, wrong, 1);
    }
    let began = Instant::now();
    // A sink whose type is not known has no keys that could be checked.
    let known = all.replacen("redis_windows", "redis_window", 1);
    let named: Vec<_> = MISTAKES.iter().map(|(_, _, named)| *named).filter(|named| *named != "redis_windows").collect();
    answer(bench, "all", &known, &named).await?;
    let took = began.elapsed();

    let (status, said) = bench.deltafan("missing-file", &["run", "--config", "/no/such/file.yaml"]).run(WITHIN).await?;
    check::equal(format!("exit status without a file ({said})"), status.code(), Some(2))?;
    check::contains("what is said of a missing file", &said, "/no/such/file.yaml")?;
    let file = bench.folder.join("good.yaml");
    std::fs::write(&file, &good)?;
    let (status, said) = bench.deltafan("good", &["validate", "--config", path(&file)?]).run(WITHIN).await?;
    check::equal(format!("exit status of validate on a good file ({said})"), status.code(), Some(0))?;

    let mut measured = Measured::default();
    measured.add(format!("{} mistakes named at once with their lines, status 2, {} ms", named.len(), took.as_millis() / 2));
    Ok(measured)
}

/// `run` and `validate` both refuse the file and name everything.
async fn answer(bench: &Bench, name: &str, yaml: &str, named: &[&str]) -> Result<()> {
    let file = bench.folder.join(format!("{name}.yaml"));
    std::fs::write(&file, yaml)?;
    for verb in ["run", "validate"] {
        let arguments = [verb, "--config", path(&file)?];
        let (status, said) = bench.deltafan(&format!("{verb}-{name}"), &arguments).run(WITHIN).await?;
        check::equal(format!("exit status of {verb} with a mistake in {name} ({said})"), status.code(), Some(2))?;
        for named in named {
            let line = yaml.lines().position(|line| line.contains(named)).context("the mistake is in no line")? + 1;
            check::contains(format!("what {verb} says"), &said, named)?;
            let answer = said.lines().find(|said| said.contains(named)).unwrap_or_default();
            let place = said.contains(&format!("line {line}")) || said.contains(&format!(":{line}"));
            check::equal(format!("whether line {line} is told with {answer:?}"), place, true)?;
        }
    }
    Ok(())
}

fn path(file: &std::path::Path) -> Result<&str> {
    file.to_str().context("the folder's name is no UTF-8")
}
