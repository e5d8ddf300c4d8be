//! Lists of symbols, with a short form for many.

/// At most so many symbols stand behind one number or range.
const RANGE_MAX: usize = 1_000_000;

/// The symbols that `items` stand for: a number stands for so many made-up ones (`SYM00001`, `SYM00002`,
/// …), a range such as `SYM00003..SYM00007` for all between its ends, anything else for itself.
pub fn expand_symbols(items: &[String]) -> Vec<String> {
    items
        .iter()
        .flat_map(|item| made_up(item).or_else(|| range(item)).unwrap_or_else(|| vec![item.clone()]))
        .collect()
}

fn made_up(item: &str) -> Option<Vec<String>> {
    let count = item.parse::<usize>().ok().filter(|count| *count <= RANGE_MAX)?;
    Some((1..=count).map(|n| format!("SYM{n:05}")).collect())
}

fn range(item: &str) -> Option<Vec<String>> {
    let (first, last) = item.split_once("..")?;
    let prefix = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let (first, last) = (first.strip_prefix(prefix)?, last.strip_prefix(prefix)?);
    let width = first.len();
    let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    let fits = first <= last && last - first < RANGE_MAX;
    fits.then(|| (first..=last).map(|n| format!("{prefix}{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(items: &[&str]) -> Vec<String> {
        expand_symbols(&items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_and_ranges_stand_for_many() {
        assert_eq!(expanded(&["2"]), ["SYM00001", "SYM00002"]);
        assert_eq!(expanded(&["SYM00009..SYM00011", "AAPL"]), ["SYM00009", "SYM00010", "SYM00011", "AAPL"]);
    }

    #[test]
    fn anything_else_is_a_symbol() {
        let names =
            ["BINANCE:BTCUSDT", "IC MARKETS:1", "BRK.B", "A..B", "A1..B2", "A2..A1", "..", "1..9999999"];
        assert_eq!(expanded(&names), names);
    }
}
