//! Nearest names, for messages about unknown ones.

/// The candidate with the smallest edit distance, if it is near enough to be a
/// slip of the fingers.
pub(crate) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let given = given.to_lowercase();
    let limit = (given.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|name| (strsim::osa_distance(&given, &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// Names in a sentence; the empty one in quotes.
pub(super) fn among(names: &[&str]) -> String {
    let shown: Vec<_> = names
        .iter()
        .map(|&name| if name.is_empty() { "\"\"" } else { name })
        .collect();
    shown.join(", ")
}
