//! A quick reader of JSON as Debezium writes it. It takes what is plain and answers `None` to everything else: what is damaged, of
//! another type, escaped where a text is wanted, there twice or nested deeply. Whoever asks then reads the same text with serde, which knows every case and
//! says what is wrong. So what this accepts, serde accepts with the same meaning, and it need not know errors.

/// Values nested deeper than this are left to serde.
const DEEPEST: u8 = 32;
/// So many digits always fit into 64 bits.
const SURE_DIGITS: usize = 18;

/// A place in a JSON text.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    /// The members of the one object that `text` is, each given to `member` by its name; `member` has to take the value.
    pub(super) fn whole_object(
        text: &'a str,
        member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        let mut scan = Self::new(text);
        scan.object(member)?;
        scan.is_at_end().then_some(())
    }

    /// At the beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes lie before it.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from there to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at)
    }

    /// What stands between the quotation marks of a text of this length that ends here.
    #[inline]
    pub(super) fn last(&self, length: usize) -> Option<&'a str> {
        let end = self.at.checked_sub(1)?;
        self.text.get(end.checked_sub(length)?..end)
    }

    /// Just this text.
    #[inline]
    pub(super) fn literal(&mut self, text: &[u8]) -> Option<()> {
        let here = self.rest().get(..text.len())?;
        is_same(here, text).then(|| self.at += text.len())
    }

    /// Whether an object begins here.
    pub(super) fn is_object(&self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Whether only white space follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    /// The members of the object that stands here.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.take(b':')?;
            member(self, name)?;
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    /// A text without any escape.
    #[inline]
    pub(super) fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at;
        self.at += plain_length(self.rest());
        let text = self.text.get(start..self.at)?;
        self.next(b'"').map(|()| text)
    }

    /// A text without any escape, or null.
    #[inline]
    pub(super) fn string_or_null(&mut self) -> Option<Option<&'a str>> {
        if self.null().is_some() { Some(None) } else { self.string().map(Some) }
    }

    /// An integer.
    #[inline]
    pub(super) fn integer(&mut self) -> Option<i64> {
        self.space();
        let (start, negative) = (self.at, self.next(b'-').is_some());
        let (digits, value) = leading_digits(self.rest());
        let zero_first = self.peek() == Some(b'0');
        self.at += digits;
        if (1..=SURE_DIGITS).contains(&digits)
            && !zero_first
            && !matches!(self.peek(), Some(b'.' | b'e' | b'E'))
        {
            return Some(if negative { -value } else { value });
        }
        self.at = start;
        self.other_integer()
    }

    /// One with more digits, or 0; or what is none.
    #[cold]
    fn other_integer(&mut self) -> Option<i64> {
        let text = self.raw()?;
        // Serde takes it for a fraction.
        if text == "-0" || !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return None;
        }
        text.parse().ok()
    }

    /// An integer, or null.
    #[inline]
    pub(super) fn integer_or_null(&mut self) -> Option<Option<i64>> {
        if self.null().is_some() { Some(None) } else { self.integer().map(Some) }
    }

    /// Any value, as it is written.
    #[inline]
    pub(super) fn raw(&mut self) -> Option<&'a str> {
        self.space();
        let start = self.at;
        if self.plain().is_none() {
            self.at = start;
            self.skip(0)?;
        }
        self.text.get(start..self.at)
    }

    /// What most values are: null, a text without any escape, or a number of digits alone that something follows.
    #[inline]
    fn plain(&mut self) -> Option<()> {
        match self.peek()? {
            b'n' => self.literal(b"null"),
            b'"' => self.string().map(drop),
            b'1'..=b'9' => {
                self.at += leading_digits(self.rest()).0;
                matches!(self.peek()?, b',' | b'}').then_some(())
            }
            _ => None,
        }
    }

    /// Debezium's `sequence` as it writes it for all but the first transaction, a text of two numbers in texts: both of them.
    #[inline]
    pub(super) fn sequence(&mut self) -> Option<(u64, u64)> {
        let start = self.at;
        let numbers = self.numbers();
        if numbers.is_none() {
            self.at = start;
        }
        numbers
    }

    #[inline]
    fn numbers(&mut self) -> Option<(u64, u64)> {
        self.literal(br#""[\""#)?;
        let first = self.digits()?;
        self.literal(br#"\",\""#)?;
        let second = self.digits()?;
        self.literal(br#"\"]""#)?;
        Some((first, second))
    }

    #[inline]
    fn digits(&mut self) -> Option<u64> {
        let (digits, value) = leading_digits(self.rest());
        self.at += digits;
        (1..=SURE_DIGITS).contains(&digits).then_some(value.cast_unsigned())
    }

    /// Any value but null, as it is written.
    #[inline]
    pub(super) fn raw_or_null(&mut self) -> Option<Option<&'a str>> {
        self.raw().map(|text| Some(text).filter(|text| *text != "null"))
    }

    /// Any value but null, as it is written, and what `read` takes it for, where it can.
    pub(super) fn read_or_null<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<(&'a str, Option<T>)>> {
        if self.null().is_some() {
            return Some(None);
        }
        let start = self.at;
        let value = read(self);
        if value.is_none() {
            self.at = start;
            self.skip(0)?;
        }
        self.text.get(start..self.at).map(|text| Some((text, value)))
    }

    #[inline]
    fn null(&mut self) -> Option<()> {
        self.space();
        self.literal(b"null")
    }

    fn skip(&mut self, depth: u8) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b'{' | b'[' if depth == DEEPEST => None,
            b'{' => self.skip_items(b'}', |scan| {
                scan.space();
                scan.skip_string()?;
                scan.take(b':')?;
                scan.space();
                scan.skip(depth + 1)
            }),
            b'[' => self.skip_items(b']', |scan| {
                scan.space();
                scan.skip(depth + 1)
            }),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.skip_number(),
        }
    }

    fn skip_items(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        if self.take(end).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            if self.take(b',').is_none() {
                return self.take(end);
            }
        }
    }

    /// Escapes by number are left to serde.
    fn skip_string(&mut self) -> Option<()> {
        self.next(b'"')?;
        loop {
            self.at += plain_length(self.rest());
            match self.peek()? {
                b'\\' => {
                    self.at += 1;
                    if !br#""\/bfnrt"#.contains(&self.peek()?) {
                        return None;
                    }
                    self.at += 1;
                }
                _ => return self.next(b'"'),
            }
        }
    }

    fn skip_number(&mut self) -> Option<()> {
        let _ = self.next(b'-');
        if self.next(b'0').is_none() {
            self.skip_digits()?;
        }
        if self.next(b'.').is_some() {
            self.skip_digits()?;
        }
        if self.next(b'e').or_else(|| self.next(b'E')).is_some() {
            let _ = self.next(b'-').or_else(|| self.next(b'+'));
            self.skip_digits()?;
        }
        Some(())
    }

    fn skip_digits(&mut self) -> Option<()> {
        let (digits, _) = leading_digits(self.rest());
        self.at += digits;
        (digits > 0).then_some(())
    }

    /// This byte, with white space before it.
    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.next(byte)
    }

    #[inline]
    fn next(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes past white space.
    #[inline]
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }
}

/// Takes a value in; one that is there twice is left to serde.
pub(super) fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.is_none().then(|| *slot = Some(value))
}

/// In each byte of a word this one.
const ONES: u64 = u64::MAX / 255;
/// In each byte of a word its highest bit.
const HIGHEST: u64 = ONES << 7;

/// How many bytes of a text's inside there are before a quotation mark, a backslash or what must not stand in a text. Eight at a time:
/// a byte below a bound borrows from its highest bit when the bound is taken away, and one that equals another is zero once both are
/// combined; what is above 127 is neither. The lowest such bit is never a false one.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let ends = (below(word, b' ') | quote | backslash) & HIGHEST;
        if ends != 0 {
            return 8 * number + ends.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &&u8| **byte >= b' ' && **byte != b'"' && **byte != b'\\';
    8 * words.len() + rest.iter().take_while(plain).count()
}

/// How many digits these bytes begin with, and their value, which is right for [`SURE_DIGITS`] and less. Eight at a time: a byte that
/// is no digit's value has its highest bit, or gets it when 118 is added; the lowest such bit is never a false one.
#[inline]
fn leading_digits(bytes: &[u8]) -> (usize, i64) {
    let (mut digits, mut value) = (0, 0u64);
    let mut rest = bytes;
    loop {
        let word = match rest.first_chunk::<8>() {
            Some(word) => *word,
            None => {
                // Zero bytes are no digits.
                let mut word = [0; 8];
                word.iter_mut().zip(rest).for_each(|(into, byte)| *into = *byte);
                word
            }
        };
        let word = u64::from_le_bytes(word) ^ (ONES * u64::from(b'0'));
        let ends = (word.wrapping_add(ONES * 118) | word) & HIGHEST;
        let found = ends.trailing_zeros() as usize / 8;
        if found == 0 {
            break;
        }
        let power = POWERS.get(found).copied().unwrap_or(1);
        value = value.wrapping_mul(power).wrapping_add(eight_digits(word << (64 - 8 * found)));
        digits += found;
        if found < 8 {
            break;
        }
        rest = rest.get(8..).unwrap_or_default();
    }
    (digits, value.cast_signed())
}

/// What so many digits more multiply a number by.
const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number of eight digits, the first one in the lowest byte, each as its value: pairs of them are put together, then pairs of
/// pairs, then those.
fn eight_digits(word: u64) -> u64 {
    let pairs = word.wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    (fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32
}

/// Whether two texts of one length are the same. Most are short: comparing them here, in two pieces that may overlap, saves a call for
/// each.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        8..=16 => {
            one.first_chunk::<8>() == other.first_chunk() && one.last_chunk::<8>() == other.last_chunk()
        }
        17..=32 => {
            one.first_chunk::<16>() == other.first_chunk() && one.last_chunk::<16>() == other.last_chunk()
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    proptest! {
        #[test]
        fn a_text_is_plain_up_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let plain = |byte: &&u8| **byte >= 32 && **byte != b'"' && **byte != b'\\';
            prop_assert_eq!(plain_length(&bytes), bytes.iter().take_while(plain).count());
        }

        #[test]
        fn digits_are_counted_and_summed_up(number: u64, digits in 0usize..25, behind in prop::collection::vec(any::<u8>(), 0..12)) {
            let text = format!("{number:020}{number:020}");
            let text = &text[20 - digits.min(20)..20 - digits.min(20) + digits];
            let bytes = [text.as_bytes(), &behind].concat();
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (found, value) = leading_digits(&bytes);
            prop_assert_eq!(found, count);
            if (1..=SURE_DIGITS).contains(&count) {
                prop_assert_eq!(value, std::str::from_utf8(&bytes[..count]).expect("digits").parse::<i64>().expect("small"));
            }
        }

        #[test]
        fn what_is_the_same_is_told(bytes in prop::collection::vec(any::<u8>(), 0..40), at: prop::sample::Index, bit in 0u8..8) {
            prop_assert!(is_same(&bytes, &bytes.clone()));
            if !bytes.is_empty() {
                let mut other = bytes.clone();
                other[at.index(bytes.len())] ^= 1 << bit;
                prop_assert!(!is_same(&bytes, &other));
            }
        }

        /// Whatever is taken for a value is one to serde as well, and is as long.
        #[test]
        fn what_is_accepted_is_json(text in r#"[\[\]{}:,"\\ \ta0-9eE.+nulltrue-]{0,24}"#) {
            let mut scan = Scan::new(&text);
            if let Some(raw) = scan.raw() {
                scan.space();
                let rest = &text[scan.at..];
                let whole = &text[..text.len() - rest.len()];
                let read = serde_json::from_str::<&RawValue>(whole);
                prop_assert_eq!(read.expect(whole).get(), raw);
            }
        }
    }

    proptest! {
        /// An integer has serde's value.
        #[test]
        fn an_integer_is_the_one_that_is_written(text in "-?[0-9]{0,21}[.eE ,]?", number: i64) {
            for text in [text, number.to_string()] {
                let mut scan = Scan::new(&text);
                if let Some(integer) = scan.integer() {
                    let (read, rest) = text.split_at(scan.at());
                    prop_assert_eq!(serde_json::from_str::<i64>(read).ok(), Some(integer));
                    // After a leading zero more digits are no number: whatever comes next says so.
                    prop_assert!(!rest.starts_with(['.', 'e', 'E']));
                } else {
                    prop_assert!(serde_json::from_str::<i64>(text.trim_end_matches([',', ' '])).is_err(), "{}", text);
                }
            }
        }
    }

    #[test]
    fn what_debezium_writes_is_accepted() {
        for text in
            [r#"{"a":[1,-2.5e3,"x\"y",null,true,{}],"ü":"Ω"}"#, " [ ] ", "0", r#""""#, "{\n\"a\" : 1 }"]
        {
            let raw = Scan::new(text).raw();
            assert_eq!(raw, Some(text.trim()), "{text}");
        }
        for text in ["01", "1.", "-", "tru", "\"\n\"", r#""\x""#, "[1,]", r#"{"a"}"#, "{,}", ""] {
            let raw = Scan::new(text).raw();
            assert!(raw.is_none_or(|raw| raw.len() < text.len()), "{text}");
        }
        let deep = "[".repeat(50) + &"]".repeat(50);
        assert_eq!(Scan::new(&deep).raw(), None);
    }
}
