//! Mutations. Pure: the same randomness makes the same input.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::{Map, Number, Value};

/// Values at which readers go wrong.
const TEXTS: [&str; 22] = [
    "",
    " ",
    "null",
    "0",
    "-1",
    "1e400",
    "infinity",
    "-infinity",
    "2026-02-30T00:00:00Z",
    "0000-00-00T00:00:00Z",
    "294276-12-31T23:59:59.999999Z",
    "-4712-01-01T00:00:00Z",
    "2026-11-21T03:00:00.1234567890123Z",
    "2026-11-21T03:00:00+99:99",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0",
    "\u{0}",
    "\u{202e}ü\u{1f600}",
    "\"}],{[",
    "__debezium_unavailable_value",
    "c",
    "d",
];
const NUMBERS: [i64; 12] = [
    0,
    1,
    -1,
    7,
    1000,
    2_147_483_647,
    2_147_483_648,
    -2_147_483_648,
    253_402_300_800_000,
    i64::MAX,
    i64::MIN,
    42,
];
/// Names that fields clash with.
const NAMES: [&str; 14] = [
    "id",
    "op",
    "before",
    "after",
    "source",
    "payload",
    "schema",
    "event_id",
    "content_id",
    "event_ts",
    "duration_ms",
    "device",
    "row_op",
    "",
];
/// How deep a value may be wrapped: beyond what JSON readers allow.
const DEEP: usize = 200;

/// Text that is JSON still, most of the time: some values of it are changed, and now and then some bytes.
pub fn json(text: &str, random: &mut StdRng) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return bytes(text.as_bytes(), random) };
    for _ in 0..random.random_range(1..=3) {
        change(&mut value, random);
    }
    let mut made = value.to_string().into_bytes();
    if random.random_ratio(1, 5) {
        made = bytes(&made, random);
    }
    made
}

/// Changes one value somewhere within `value`.
fn change(value: &mut Value, random: &mut StdRng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.random_ratio(9, 10) => object(fields, random),
        Value::Array(items) if !items.is_empty() && random.random_ratio(9, 10) => {
            let at = random.random_range(0..items.len());
            match random.random_range(0..4) {
                0 => drop(items.remove(at)),
                1 => {
                    let copy = items.get(at).cloned().unwrap_or_default();
                    items.push(copy);
                }
                _ => items.get_mut(at).into_iter().for_each(|item| change(item, random)),
            }
        }
        _ => *value = other(value, random),
    }
}

fn object(fields: &mut Map<String, Value>, random: &mut StdRng) {
    let names: Vec<_> = fields.keys().cloned().collect();
    let Some(name) = names.choose(random) else { return };
    match random.random_range(0..10) {
        0 => drop(fields.remove(name)),
        1 => {
            let moved = fields.remove(name).unwrap_or_default();
            fields.insert(pick(&NAMES, random).to_owned(), moved);
        }
        2 => {
            fields.insert(pick(&NAMES, random).to_owned(), scalar(random));
        }
        _ => fields.get_mut(name).into_iter().for_each(|field| change(field, random)),
    }
}

/// Another value in the place of this one.
fn other(value: &Value, random: &mut StdRng) -> Value {
    match random.random_range(0..12) {
        0 => Value::Null,
        1 => Value::Array(vec![value.clone()]),
        2 => Value::String(value.to_string()),
        3 => Value::String("x".repeat(random.random_range(0..4000))),
        4 if random.random_ratio(1, 50) => {
            (0..DEEP).fold(value.clone(), |inner, _| Value::Array(vec![inner]))
        }
        _ => scalar(random),
    }
}

fn scalar(random: &mut StdRng) -> Value {
    match random.random_range(0..8) {
        0 => Value::Bool(random.random()),
        1 => Number::from_f64(random.random::<f64>() * 1e18).map_or(Value::Null, Value::Number),
        2 => Value::Number(u64::MAX.into()),
        3 => Value::Number(random.random::<i64>().into()),
        4 | 5 => Value::Number(pick(&NUMBERS, random).into()),
        _ => Value::String(pick(&TEXTS, random).to_owned()),
    }
}

/// One of several.
pub fn pick<T: Copy + Default>(of: &[T], random: &mut StdRng) -> T {
    of.choose(random).copied().unwrap_or_default()
}

/// Bytes with some of them changed, cut out, doubled or put in.
pub fn bytes(original: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut made = original.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=made.len());
        let to = (at + random.random_range(0..=16)).min(made.len());
        match random.random_range(0..5) {
            0 => drop(made.drain(at..to)),
            1 => {
                let copy = made.get(at..to).unwrap_or_default().to_vec();
                drop(made.splice(at..at, copy));
            }
            2 => {
                let mut noise = [0; 4];
                random.fill_bytes(&mut noise);
                drop(made.splice(at..at, noise));
            }
            3 => made.truncate(at.max(made.len() / 2)),
            _ => {
                if let Some(byte) = made.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    made
}

/// Lines of YAML with some changed: a value replaced, a line dropped, doubled, moved, or indented anew.
pub fn lines(text: &str, random: &mut StdRng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..lines.len().max(1));
        let Some(line) = lines.get(at).cloned() else { break };
        match random.random_range(0..10) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, line),
            2 => {
                let to = random.random_range(0..lines.len());
                lines.swap(at, to);
            }
            3 if random.random_ratio(1, 3) => lines.insert(at, format!("  {}", line.trim_start())),
            _ => {
                if let Some(changed) = lines.get_mut(at)
                    && let Some((key, _)) = line.split_once(": ")
                {
                    *changed = format!("{key}: {}", yaml_scalar(random));
                }
            }
        }
    }
    lines.join("\n")
}

fn yaml_scalar(random: &mut StdRng) -> String {
    const SCALARS: [&str; 24] = [
        "",
        "~",
        "[]",
        "{}",
        "[a, b]",
        "{a: b}",
        "&x 1",
        "*x",
        "!!int 3",
        "0",
        "-1",
        "1e9",
        "99999999999999999999",
        "10min",
        "0s",
        "1KiB",
        "true",
        "'${NONE}'",
        "\"${SECRET:-}\"",
        "${",
        "redis://x:y@[::1]:0/99",
        "http://127.0.0.1:99999/",
        "latest",
        "\"\\u0000\"",
    ];
    match random.random_range(0..4) {
        0 => serde_json::to_string(pick(&TEXTS, random)).unwrap_or_default(),
        _ => pick(&SCALARS, random).to_owned(),
    }
}
