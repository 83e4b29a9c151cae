//! "Did you mean": the known word nearest to an unknown one.

/// The candidate that `word` is most likely a misspelling of.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in a short word, two or three in a longer one: more is another word.
    let bound = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean 'X'?`, where a candidate is near enough.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Bounded, because the distance costs the product of both lengths.
    (word.len() <= 64)
        .then(|| nearest(word, candidates))
        .flatten()
        .map(|candidate| format!("did you mean '{candidate}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_misspelling_is_corrected() {
        let known = ["bullseye", "bookworm", "trixie", "sid"];
        for (word, expected) in [
            ("bokworm", Some("bookworm")),
            ("trixei", Some("trixie")),
            ("sdi", Some("sid")),
            ("noble", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
