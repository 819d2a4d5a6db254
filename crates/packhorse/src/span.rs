//! Lengths of time as people write them: `30m`, `2h`, `7d`.

/// Reads a length of time in seconds: a whole number and `s`, `m`, `h` or `d`.
///
/// # Errors
/// How it is written.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a length of time; write it like 90s, 30m, 2h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    let unit_secs: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_secs).filter(|secs| *secs > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, secs) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(secs));
        }
        for bad in ["", "h", "2", "-1h", "1.5h", "0s", "2w", "99999999999999999999d", "２h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
