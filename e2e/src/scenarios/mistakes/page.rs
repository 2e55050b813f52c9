//! `docs/mistakes.md`: the table as people read it.

use super::row::Mistake;
use std::fmt::Write;

const HEAD: &str = "\
# Mistakes, and what is said of them

What one does wrong in the first hours, what the answer says (shortened: `…` stands for the rest), and what to do. The
end-to-end test `mistakes` really makes each of them, and fails where one is answered by a panic, a hang or silence, by other
words than these, or with a secret. This page is written from its table.
";

/// The page.
pub fn page(parts: &[(&str, &[Mistake])]) -> String {
    let mut page = HEAD.to_owned();
    for (title, mistakes) in parts {
        let _ = write!(page, "\n## {title}\n\n| what one did | what is said | what to do |\n|---|---|---|\n");
        for Mistake { did, says, remedy, .. } in *mistakes {
            let said = says.iter().map(|part| shown(part)).collect::<Vec<_>>().join(" … ");
            let _ = writeln!(page, "| {did} | {said} | {remedy} |");
        }
    }
    page
}

/// As code, whatever back-quotes it holds; places get an address that a reader knows.
fn shown(part: &str) -> String {
    let mut text = part.replace('|', "\\|");
    for (place, shown) in [
        ("{closed}", "127.0.0.1:9999"),
        ("{http}", "127.0.0.1:8080"),
        ("{self-signed}", "127.0.0.1:8443"),
        ("{redis}", "127.0.0.1:6379"),
        ("{locked}", "127.0.0.1:6379"),
        ("{full}", "127.0.0.1:6379"),
        ("{evicting}", "127.0.0.1:6379"),
        ("{replica}", "127.0.0.1:6379"),
        ("{old}", "127.0.0.1:6379"),
    ] {
        text = text.replace(place, shown);
    }
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::super::TABLE;
    use super::page;
    use std::path::Path;

    /// `UPDATE_DOCS=1 cargo test -p e2e` writes it.
    #[test]
    fn the_page_is_that_of_the_table() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mistakes.md");
        let made = page(TABLE);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, &made).unwrap();
        }
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(held == made, "docs/mistakes.md is not the table; UPDATE_DOCS=1 cargo test -p e2e writes it");
    }

    #[test]
    fn each_names_cause_and_remedy() {
        for mistake in TABLE.iter().flat_map(|(_, mistakes)| *mistakes) {
            assert!(!mistake.says.is_empty() && !mistake.remedy.is_empty(), "{}", mistake.did);
        }
    }
}
