//! The plans of many seeds.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..2000;

#[test]
fn the_same_seed_is_the_same_plan_and_another_is_another() {
    for seed in SEEDS {
        assert_eq!(Plan::of(seed), Plan::of(seed));
    }
    assert_ne!(Plan::of(1), Plan { seed: Some(1), ..Plan::of(2) });
}

#[test]
fn every_plan_can_be_carried_out() {
    for plan in SEEDS.map(Plan::of) {
        assert!([1, 3].contains(&plan.instances) && FAULTS.contains(&plan.steps.len()), "{plan}");
        assert!(plan.load.bursts.iter().all(|burst| (1..=MOST_ROWS).contains(&burst.rows)), "{plan}");
        for pair in plan.steps.windows(2).filter(|pair| pair[0].into_next) {
            assert!(!pair[1].into_next && pair[0].fault.may_last_into(pair[1].fault), "{plan}");
        }
        assert!(!plan.steps.last().unwrap().into_next, "{plan}");
        let is_heavy = |step: &Step| step.fault.costs(1) >= 12;
        let shares_places = |burst: &Burst| matches!(burst.does, Does::Rekey | Does::All);
        if plan.steps.iter().any(is_heavy) {
            assert!(!plan.load.bursts.iter().any(shares_places), "{plan}");
        }
    }
}

#[test]
fn plans_beyond_the_former_ones_have_a_full_disk_or_postgres_behind_every_manner() {
    let manner = |seed| {
        let plan = Plan::of(seed);
        let fault =
            plan.steps.iter().map(|step| step.fault).find(|fault| matches!(fault, Fault::FlushedBehind(_)));
        fault.map(|fault| fault.to_string().split_whitespace().nth(3).unwrap().to_owned())
    };
    let fills = |seed| Plan::of(seed).steps.iter().any(|step| step.fault.fills_disk());
    assert!((0..=FORMER).all(|seed| manner(seed).is_none() && !fills(seed)));
    let beyond = FORMER + 1..FORMER + 200;
    assert!(beyond.clone().all(|seed| fills(seed) == (seed % 2 == 1)));
    let manners: std::collections::BTreeSet<_> =
        beyond.filter(|seed| seed % 2 == 0).map(|seed| manner(seed).unwrap()).collect();
    assert_eq!(
        manners.into_iter().collect::<Vec<_>>(),
        ["cut", "frozen", "halfclose", "slower", "throttled"]
    );
}

#[test]
fn two_hundred_plans_have_every_fault_with_one_and_with_three_instances() {
    let name = |step: &Step| match step.fault {
        Fault::Network(sink, manner) => format!("{sink:?} {manner:?}").split('(').next().unwrap().to_owned(),
        Fault::AnswersLost(sink, ..) => format!("answers {sink:?}"),
        Fault::RequestsLost(sink, ..) => format!("requests {sink:?}"),
        Fault::KilledAt(moment, sink, _) => format!("{moment:?} {sink:?}"),
        Fault::Instance(_, how) => format!("{how:?}"),
        fault => fault.to_string(),
    };
    let plans: Vec<_> = (1..=200).map(Plan::of).collect();
    let named = |instances| -> std::collections::BTreeSet<String> {
        plans
            .iter()
            .filter(|plan| plan.instances == instances)
            .flat_map(|plan| plan.steps.iter().map(name))
            .collect()
    };
    // Two sinks with five manners, two kinds of loss and seven moments; the tick and the rebuilding; three fates of an
    // instance, seven of the sinks' servers, an emptied Redis, two offsets.
    let light = 2 * (5 + 2 + 7) + 2 + 3 + 7 + 1 + 2;
    let all: std::collections::BTreeSet<_> = named(1).union(&named(3)).cloned().collect();
    assert!(all.len() >= light, "{} of {light}: {all:?}", all.len());
    assert!(named(1).len() >= 30 && named(3).len() >= 30, "{} and {}", named(1).len(), named(3).len());
}
