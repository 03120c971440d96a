//! Ranks tools by how well their names, titles and descriptions fit some words.

use std::collections::HashMap;

use super::Entry;

/// How fast more of the same word counts less, and how much long texts count less (Robertson and
/// Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", section 3).
const K1: f64 = 1.2;
const B: f64 = 0.5;
/// What a word counts in the name, the title and the description.
const WEIGHTS: [f64; 3] = [3.0, 2.0, 1.0];

/// The tools that fit a query, best first; equals by name. Tools that no word fits are left out.
pub(crate) fn rank<'e>(entries: &[&'e Entry], query: &str) -> Vec<&'e Entry> {
    let mut query = words(query);
    query.sort_unstable();
    query.dedup();
    let documents = entries.iter().map(|entry| Document::of(entry)).collect::<Vec<_>>();
    #[expect(clippy::cast_precision_loss, reason = "counts of tools are small")]
    let count = documents.len() as f64;
    let mean = documents.iter().map(|d| d.length).sum::<f64>() / count.max(1.0);
    let rarity = query.iter().map(|word| {
        #[expect(clippy::cast_precision_loss, reason = "counts of tools are small")]
        let with = documents.iter().filter(|d| d.weight(word) > 0.0).count() as f64;
        (1.0 + (count - with + 0.5) / (with + 0.5)).ln()
    });
    let rarity = rarity.collect::<Vec<_>>();
    let score = |document: &Document| {
        let damping = K1 * (1.0 - B + B * document.length / mean.max(1.0));
        query.iter().zip(&rarity).fold(0.0, |sum, (word, rarity)| {
            let weight = document.weight(word);
            sum + rarity * weight * (K1 + 1.0) / (weight + damping)
        })
    };
    let mut ranked = entries
        .iter()
        .zip(&documents)
        .map(|(entry, document)| (score(document), *entry))
        .filter(|(score, _)| *score > 0.0)
        .collect::<Vec<_>>();
    ranked.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.name.cmp(&right.name)));
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

/// A tool as words, each with its weight.
struct Document {
    words: HashMap<String, f64>,
    length: f64,
}

impl Document {
    fn of(entry: &Entry) -> Self {
        let mut document = Self { words: HashMap::new(), length: 0.0 };
        let texts = [entry.name.as_str(), entry.title(), entry.text("description")];
        for (text, weight) in texts.into_iter().zip(WEIGHTS) {
            for word in words(text) {
                *document.words.entry(word).or_default() += weight;
                document.length += 1.0;
            }
        }
        document
    }

    /// A word counts in full, and half where a longer one begins with it.
    fn weight(&self, word: &str) -> f64 {
        if let Some(weight) = self.words.get(word) {
            return *weight;
        }
        if word.chars().count() < 4 {
            return 0.0;
        }
        let longer = self.words.iter().filter(|(longer, _)| longer.starts_with(word));
        longer.map(|(_, weight)| weight / 2.0).fold(0.0, f64::max)
    }
}

/// The words of a text in lower case, plurals as singulars. `createIssue` and `create_issue` give the
/// same two, and what is written in one gives itself as well: `GitHub` is `github`.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for run in text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty()) {
        let mut parts = vec![String::new()];
        let mut lower = false;
        for c in run.chars() {
            if c.is_uppercase() && lower {
                parts.push(String::new());
            }
            if let Some(part) = parts.last_mut() {
                part.extend(c.to_lowercase());
            }
            lower = c.is_lowercase();
        }
        if parts.len() > 1 {
            parts.push(parts.concat());
        }
        words.extend(parts.into_iter().map(singular));
    }
    words
}

fn singular(mut word: String) -> String {
    if word.len() > 4 && word.ends_with("ies") {
        word.truncate(word.len() - 3);
        word.push('y');
    } else if word.len() > 3 && word.ends_with('s') && !word.ends_with("ss") {
        word.pop();
    }
    word
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(name: &str, description: &str) -> Entry {
        let definition = json!({ "name": name, "description": description });
        let definition = serde_json::from_value(definition).unwrap();
        Entry { name: name.to_owned(), segment: String::new(), definition, bytes: 0 }
    }

    #[test]
    fn the_tool_that_is_meant_comes_first() {
        let entries = [
            entry("linear__create_issue", "Creates an issue in a team."),
            entry("linear__listIssues", "Lists issues, by state or assignee."),
            entry("linear__delete_comment", "Deletes a comment on an issue."),
            entry("github__search_code", "Searches the code of all repositories."),
        ];
        let entries = entries.iter().collect::<Vec<_>>();
        let first = |query: &str| rank(&entries, query).first().map(|entry| entry.name.as_str());
        assert_eq!(first("create issue"), Some("linear__create_issue"));
        assert_eq!(first("list the issues of a team"), Some("linear__listIssues"));
        assert_eq!(first("remove comments"), Some("linear__delete_comment"));
        assert_eq!(first("weather"), None, "no word of it");
        assert_eq!(first("repository"), Some("github__search_code"));
        assert_eq!(first("repositories"), Some("github__search_code"));
        assert_eq!(first("repo"), Some("github__search_code"));
        assert_eq!(first("GitHub"), Some("github__search_code"));
        assert_eq!(first("  "), None);
        assert_eq!(rank(&entries, "issue").len(), 3);
    }
}
