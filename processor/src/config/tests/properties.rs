//! Whatever is in the file: an answer, never a panic, and never a secret.

use proptest::prelude::*;

use super::{KITCHEN_SINK, assert_silent, env, read};
use crate::config::{default_text, interpolate::fill, kinds::ms, parse};

/// Pieces that mean something in YAML or in variables.
const PIECES: [&str; 24] = [
    "\t",
    "\n",
    "  ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "${",
    "}",
    "$${",
    "&a ",
    "*a",
    "!t ",
    "---\n",
    "|\n",
    "> ",
    "? ",
    "null",
    "é\u{2028}",
];

fn mutated() -> impl Strategy<Value = String> {
    let text = prop_oneof![Just(KITCHEN_SINK), Just(default_text())];
    let edit = (any::<prop::sample::Index>(), 0..12_usize, prop::sample::select(PIECES.to_vec()));
    (text, prop::collection::vec(edit, 1..5)).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, removed, piece) in edits {
            let at = at.index(chars.len());
            let end = (at + removed).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

/// Every problem has a place in the text, a cause and a remedy, and is printed.
fn check(text: &str) {
    if let Err(problems) = read(text) {
        assert!(problems.iter().count() > 0, "no problem is named for {text:?}");
        for problem in problems.iter() {
            assert!(problem.line() >= 1 && problem.column() >= 1, "{problem:?}");
            assert!(problem.line() <= text.lines().count() + 1, "{problem:?}");
            assert!(!problem.what().is_empty() && !problem.remedy().is_empty(), "{problem:?}");
        }
        assert!(problems.to_string().contains("deltafan.yaml:"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_an_answer(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_soup_of_yaml_has_an_answer(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..40)) {
        check(&pieces.concat());
    }

    #[test]
    fn a_mutated_configuration_has_an_answer(text in mutated()) {
        check(&text);
    }

    /// What the environment holds is never printed, whatever is wrong.
    #[test]
    fn what_came_from_the_environment_is_never_printed(text in mutated()) {
        let printed = match read(&text) {
            Ok(config) => format!("{:?}{}", config.kafka, config.postgres.url),
            Err(problems) => format!("{problems}{problems:?}"),
        };
        for secret in ["kafkapw", "dbpw", "redispw", "connectpw", "bmV3", "b2xk"] {
            prop_assert!(!printed.contains(secret), "{} in {}", secret, printed);
        }
    }

    #[test]
    fn no_variable_changes_the_structure(value in any::<String>()) {
        let text = default_text().replace("level: ${LOG_LEVEL:-info}", "level: ${VALUE}");
        let answer = parse(&text, "x", &|name| if name == "VALUE" { Some(value.clone()) } else { env(name) });
        if let Err(problems) = answer {
            let paths: Vec<_> = problems.iter().map(|problem| problem.path().to_owned()).collect();
            prop_assert_eq!(paths, ["log.level"]);
        }
    }

    #[test]
    fn text_without_variables_is_left_alone(text in "[^$]*") {
        prop_assert_eq!(fill(&text, &env).unwrap().text, text);
    }

    #[test]
    fn a_duration_is_printed_as_it_is_written(number in 1..1000_u64, unit in prop::sample::select(vec!["ms", "s", "min"])) {
        use crate::config::kinds::{DurationIn, Kind};
        let kind = DurationIn { min: std::time::Duration::ZERO, max: std::time::Duration::MAX, why: "" };
        let duration = kind.parse(&format!("{number}{unit}")).unwrap();
        prop_assert_eq!(kind.parse(&ms(duration)).unwrap(), duration);
    }
}

#[test]
fn deep_nesting_has_an_answer() {
    for text in ["- ".repeat(200_000), "[".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(50_000)] {
        check(&text);
    }
    let steps: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(&steps);
}

#[test]
fn a_trick_in_the_environment_stays_a_value() {
    let problems = read(&default_text().replace("workers: 2", "workers: ${TRICK}")).unwrap_err();
    assert!(problems.iter().all(|problem| problem.path().ends_with(".workers")), "{problems}");
    assert_silent(&problems.to_string());
}
