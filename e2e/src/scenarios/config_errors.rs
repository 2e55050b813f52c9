//! Mistakes in the configuration: all of them in one answer, each with its line, and exit status 2.

use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(10);

/// A mistake: what is exchanged for what, and what the answer must name.
struct Mistake {
    right: &'static str,
    wrong: &'static str,
    named: &'static str,
}

const fn mistake(right: &'static str, wrong: &'static str, named: &'static str) -> Mistake {
    Mistake { right, wrong, named }
}

const MISTAKES: [Mistake; 5] = [
    mistake("    transform: engagement", "    transfrom: engagement", "transfrom"),
    mistake(
        "        workers: 2\n        max_condemned: ",
        "        workers: many\n        max_condemned: ",
        "workers",
    ),
    mistake("length: 1h,", "length: 1 fortnight,", "length"),
    mistake("${PROCESSOR_DATABASE_URL}", "${E2E_NOT_SET}", "E2E_NOT_SET"),
    // Comes last: the keys of a sink whose type is not known can't be checked.
    mistake("type: redis_window", "type: redis_windows", "redis_windows"),
];

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let good = plan.yaml(&bench.stack, &bench.stack.free_address()?)?;
    for mistake in &MISTAKES {
        answer(bench, mistake.named, &good, std::slice::from_ref(mistake)).await?;
    }
    let (_, together) = MISTAKES.split_last().context("no mistakes")?;
    let began = Instant::now();
    answer(bench, "together", &good, together).await?;
    let took = began.elapsed() / 2;

    let (status, said) =
        bench.deltafan("missing-file", &["run", "--config", "/no/such/file.yaml"]).run(WITHIN).await?;
    check::equal(format!("exit status without a file ({said})"), status.code(), Some(2))?;
    check::contains("what is said of a missing file", &said, "/no/such/file.yaml")?;
    let file = bench.folder.join("good.yaml");
    std::fs::write(&file, &good)?;
    let (status, said) = bench.deltafan("good", &["validate", "--config", path(&file)?]).run(WITHIN).await?;
    check::equal(format!("exit status of validate on a good file ({said})"), status.code(), Some(0))?;

    let mut measured = Measured::default();
    measured.add(format!(
        "{} mistakes named at once, each with its line, status 2, {} ms",
        together.len(),
        took.as_millis()
    ));
    Ok(measured)
}

/// `run` and `validate` both refuse the file with these mistakes, and name each with its line.
async fn answer(bench: &Bench, name: &str, good: &str, mistakes: &[Mistake]) -> Result<()> {
    let mut yaml = good.to_owned();
    for Mistake { right, wrong, .. } in mistakes {
        let with = yaml.replacen(right, wrong, 1);
        check::equal(format!("whether the file holds {right:?}"), with != yaml, true)?;
        yaml = with;
    }
    let file = bench.folder.join(format!("{name}.yaml"));
    std::fs::write(&file, &yaml)?;
    for verb in ["run", "validate"] {
        let arguments = [verb, "--config", path(&file)?];
        let (status, said) = bench.deltafan(&format!("{verb}-{name}"), &arguments).run(WITHIN).await?;
        check::equal(
            format!("exit status of {verb} with a mistake in {name} ({said})"),
            status.code(),
            Some(2),
        )?;
        for Mistake { wrong, named, .. } in mistakes {
            let before = yaml.split(wrong).next().unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let place = format!("{}:{line}:", file.display());
            let told = said.lines().any(|said| said.starts_with(&place) && said.contains(named));
            check::equal(format!("whether {verb} names {named} at {place} in {said}"), told, true)?;
        }
    }
    Ok(())
}

fn path(file: &std::path::Path) -> Result<&str> {
    file.to_str().context("the folder's name is no UTF-8")
}
