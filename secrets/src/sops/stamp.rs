//! Numbers and times as Go writes them: these texts are what is encrypted and what the MAC covers.

/// Without an exponent, in the fewest digits that read back as the same number.
pub(crate) fn plain_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

/// The number behind [`plain_float`], and behind what other writers than sops may have encrypted.
pub(crate) fn read_float(text: &str) -> Option<f64> {
    let plain = text.trim_start_matches(['+', '-']);
    let is_word = ["inf", "infinity", "nan"].iter().any(|word| plain.eq_ignore_ascii_case(word));
    if !is_word && !plain.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte)) {
        return None;
    }
    text.parse().ok()
}

/// As YAML: with an exponent where it is below -4 or at least 6 (Go's `%g`, shortest).
pub(crate) fn yaml_float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    if number == 0.0 {
        // `-0` would be read back as the integer.
        return if number.is_sign_negative() { "-0.0" } else { "0" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A timestamp as YAML writes it, in RFC 3339; `None` for what is no timestamp.
pub(crate) fn yaml_time(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text.as_bytes() };
    let date = reader.date(1)?;
    if reader.rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let separator = reader.take()?;
    let time = reader.time(1)?;
    match separator {
        b'T' | b't' => Some(format!("{date}T{time}{}", reader.zone()?)),
        b' ' if reader.rest.is_empty() => Some(format!("{date}T{time}Z")),
        _ => None,
    }
    .filter(|_| reader.rest.is_empty())
}

/// A timestamp in RFC 3339, written again with the fraction that it needs.
pub(crate) fn rfc3339(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text.as_bytes() };
    let date = reader.date(2)?;
    reader.expect(b'T')?;
    let time = reader.time(2)?;
    let zone = reader.zone()?;
    reader.rest.is_empty().then(|| format!("{date}T{time}{zone}"))
}

/// [`rfc3339`] without its fraction: what the MAC is bound to.
pub(crate) fn rfc3339_seconds(text: &str) -> Option<String> {
    let full = rfc3339(text)?;
    match full.split_once('.') {
        None => Some(full),
        Some((seconds, rest)) => {
            Some(format!("{seconds}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit())))
        }
    }
}

/// Takes a timestamp apart.
struct Reader<'text> {
    rest: &'text [u8],
}

impl Reader<'_> {
    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.take()? == byte).then_some(())
    }

    /// A number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if digits < least {
            return None;
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    fn date(&mut self, least: usize) -> Option<String> {
        let year = self.number(4, 4)?;
        self.expect(b'-')?;
        let month = self.number(least, 2)?;
        self.expect(b'-')?;
        let day = self.number(least, 2)?;
        let (y, m, d) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        jiff::civil::Date::new(y, m, d).ok()?;
        Some(format!("{year:04}-{month:02}-{day:02}"))
    }

    fn time(&mut self, least: usize) -> Option<String> {
        let hour = self.number(least, 2)?;
        self.expect(b':')?;
        let minute = self.number(least, 2)?;
        self.expect(b':')?;
        let second = self.number(least, 2)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(format!("{hour:02}:{minute:02}:{second:02}{}", self.fraction()?))
    }

    /// At most nanoseconds are kept, without the zeros at the end.
    fn fraction(&mut self) -> Option<String> {
        if !matches!(self.rest.first(), Some(b'.' | b',')) {
            return Some(String::new());
        }
        self.take()?;
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        let kept = std::str::from_utf8(digits.get(..9).unwrap_or(digits)).ok()?.trim_end_matches('0');
        (count > 0).then(|| if kept.is_empty() { String::new() } else { format!(".{kept}") })
    }

    fn zone(&mut self) -> Option<String> {
        let sign = self.take()?;
        if sign == b'Z' {
            return Some("Z".to_owned());
        }
        let hours = self.number(2, 2)?;
        self.expect(b':')?;
        let minutes = self.number(2, 2)?;
        match sign {
            b'+' | b'-' if hours <= 24 && minutes < 60 => {}
            _ => return None,
        }
        let is_utc = hours == 0 && minutes == 0;
        Some(if is_utc { "Z".to_owned() } else { format!("{}{hours:02}:{minutes:02}", char::from(sign)) })
    }
}
