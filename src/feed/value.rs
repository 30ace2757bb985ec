//! Values of a frame as they came, each judged when it is used: a field of the wrong type costs its
//! own event, not the others of its frame.
//!
//! Texts are decoded with their escapes; one without any is borrowed from the frame.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::number::{amount, millis, rate};

/// Any JSON value; what is neither text, number nor truth is not kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Value<'a> {
    /// Null, or a field that is not there.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Whole(i64),
    Large(u64),
    Float(f64),
    Truth(bool),
    /// A list or an object.
    Nested,
}

impl Value<'_> {
    /// The value, unless it is absent. An empty text counts as absent: that is how venues write a
    /// field that does not apply.
    pub(super) fn present(&self) -> Option<&Self> {
        match self {
            Self::Absent => None,
            Self::Text(text) if text.is_empty() => None,
            other => Some(other),
        }
    }

    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{other} is not a text")),
        }
    }

    /// A price or a quantity in a text.
    pub(super) fn amount(&self) -> Result<f64, String> {
        amount(self.text()?)
    }

    /// A rate in a text.
    pub(super) fn rate(&self) -> Result<f64, String> {
        rate(self.text()?)
    }

    /// A whole number that a column of signed 64 bits can hold, also in a text.
    pub(super) fn whole(&self) -> Result<u64, String> {
        self.signed().map(i64::unsigned_abs)
    }

    /// The same as a signed number; never less than 0.
    pub(super) fn signed(&self) -> Result<i64, String> {
        let found = match self {
            Self::Whole(number) => Some(*number).filter(|number| *number >= 0),
            Self::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        found.ok_or_else(|| format!("{self} is not a whole number below 2^63"))
    }

    /// Milliseconds since 1970, also in a text, as nanoseconds.
    pub(super) fn millis(&self) -> Result<i64, String> {
        let wrong = || format!("{self} is not a time in milliseconds");
        millis(i64::try_from(self.whole().map_err(|_| wrong())?).map_err(|_| wrong())?)
    }

    pub(super) fn truth(&self) -> Result<bool, String> {
        match self {
            Self::Truth(truth) => Ok(*truth),
            other => Err(format!("{other} is neither true nor false")),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("an absent field"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Large(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Nested => f.write_str("a list or an object"),
        }
    }
}

struct Any<'a>(PhantomData<&'a str>);

impl<'de: 'a, 'a> Visitor<'de> for Any<'a> {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Whole(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Value::Large(number), Value::Whole))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Value::Truth(truth))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Absent)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData))
    }
}

/// An object whose members stand side by side, each a text, a whole number or a truth.
pub(super) trait Flat<'a>: Default {
    /// Where the value of this key goes; `None` for a key of no interest.
    fn slot(&mut self, key: &str) -> Option<&mut Value<'a>>;
}

/// Reads a flat object at the beginning of `text`, and returns what follows it. `None` where
/// anything is out of the ordinary (an escape, a space, a fraction, a nested value, a key that
/// comes twice): then the whole frame has to be read, and judged, as JSON.
pub(super) fn flat<'a, T: Flat<'a>>(text: &'a str) -> Option<(T, &'a str)> {
    let mut found = T::default();
    let mut rest = text.strip_prefix('{')?;
    loop {
        let (key, after) = plain_text(rest)?;
        let (value, after) = plain_value(after.strip_prefix(':')?)?;
        if let Some(slot) = found.slot(key) {
            if !matches!(slot, Value::Absent) {
                return None;
            }
            *slot = value;
        }
        match after.as_bytes().first()? {
            b',' => rest = after.get(1..)?,
            b'}' => return Some((found, after.get(1..)?)),
            _ => return None,
        }
    }
}

/// A text without escapes, and what follows it.
fn plain_text(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('"')?;
    let end = rest
        .bytes()
        .position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
    let after = rest.get(end..)?.strip_prefix('"')?;
    Some((rest.get(..end)?, after))
}

/// A text without escapes, a whole number or a truth, and what follows it.
fn plain_value(text: &str) -> Option<(Value<'_>, &str)> {
    match text.as_bytes().first()? {
        b'"' => plain_text(text).map(|(text, after)| (Value::Text(Cow::Borrowed(text)), after)),
        b't' => text
            .strip_prefix("true")
            .map(|after| (Value::Truth(true), after)),
        b'f' => text
            .strip_prefix("false")
            .map(|after| (Value::Truth(false), after)),
        first @ b'0'..=b'9' => {
            let digits = text.bytes().position(|byte| !byte.is_ascii_digit())?;
            // More digits may be too many, and JSON has no zeros in front.
            if digits > 18 || (*first == b'0' && digits > 1) {
                return None;
            }
            // What follows must end the value: a fraction or an exponent does not, and is refused
            // where the next member begins.
            Some((
                Value::Whole(text.get(..digits)?.parse().ok()?),
                text.get(digits..)?,
            ))
        }
        _ => None,
    }
}

/// An item of a list: an object of type `T`, or something else, which must not spoil the items
/// beside it.
#[derive(Debug)]
pub(super) enum Item<T> {
    Object(T),
    Other,
}

impl<T> Item<T> {
    pub(super) fn object(&self) -> Result<&T, String> {
        match self {
            Self::Object(object) => Ok(object),
            Self::Other => Err("an item of the list is no object".to_owned()),
        }
    }
}

struct AnyItem<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyItem<T> {
    type Value = Item<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(Item::Object)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Item::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Item::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Item::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Item::Other)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Item::Other)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Item::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Item::Other)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyItem(PhantomData))
    }
}

/// The levels of one side of a book: lists of price, quantity and more. Something else is no side.
#[derive(Debug, Default)]
pub(super) struct Levels<'a>(Option<Vec<List<'a>>>);

/// A list of values; `None` where something else stands in its place.
#[derive(Debug, Default)]
pub(super) struct List<'a>(pub(super) Option<Vec<Value<'a>>>);

/// A list, or something else, which must not spoil what stands beside it.
struct AnyList<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyList<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Some(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyList(PhantomData)).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Levels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyList(PhantomData)).map(Self)
    }
}

impl Levels<'_> {
    /// Price and quantity of each level.
    pub(super) fn all(&self) -> Result<Vec<(f64, f64)>, String> {
        let levels = self.0.as_ref().ok_or("a side of the book is missing")?;
        let level = |level: &List| match level.0.as_deref() {
            Some([price, qty, ..]) => Ok((price.amount()?, qty.amount()?)),
            _ => Err("a level has no quantity".to_owned()),
        };
        levels.iter().map(level).collect()
    }

    /// Price and quantity of the first level; NaN where the side is empty.
    pub(super) fn best(&self) -> Result<(f64, f64), String> {
        Ok(self
            .all()?
            .first()
            .copied()
            .map_or((f64::NAN, f64::NAN), |(price, qty)| side(price, qty)))
    }
}

/// A side of the book. Nothing at a price of zero is how a venue writes a side that is empty.
pub(super) fn side(price: f64, qty: f64) -> (f64, f64) {
    if price == 0.0 && qty == 0.0 {
        (f64::NAN, f64::NAN)
    } else {
        (price, qty)
    }
}

/// What of a frame could not be used.
#[derive(Debug, Default)]
pub(super) struct Faults {
    first: Option<String>,
    more: usize,
}

impl Faults {
    /// Notes an event that could not be made, and gives one that could be.
    pub(super) fn sort<T>(&mut self, made: Result<T, String>) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(reason) => {
                if self.first.is_some() {
                    self.more += 1;
                }
                let _ = self.first.get_or_insert(reason);
                None
            }
        }
    }

    /// An error where there was a fault.
    pub(super) fn end(self) -> Result<(), String> {
        match self {
            Self { first: None, .. } => Ok(()),
            Self {
                first: Some(reason),
                more: 0,
            } => Err(reason),
            Self {
                first: Some(reason),
                more,
            } => Err(format!("{reason}, and {more} more")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    struct One<'a> {
        #[serde(borrow, default)]
        a: Value<'a>,
    }

    #[test]
    fn texts_are_decoded_with_their_escapes() {
        let one: One = serde_json::from_str(r#"{"a":"1\u002e5\/"}"#).unwrap();
        assert_eq!(one.a.text(), Ok("1.5/"));
        let one: One = serde_json::from_str(r#"{"a":"plain"}"#).unwrap();
        assert!(matches!(one.a, Value::Text(Cow::Borrowed("plain"))));
    }

    #[test]
    fn a_value_of_any_type_is_judged_when_it_is_used() {
        for (text, present) in [
            ("null", false),
            (r#""""#, false),
            ("1", true),
            ("-1", true),
            ("1.5", true),
            ("18446744073709551615", true),
            ("true", true),
            ("[1,{}]", true),
            (r#"{"b":[]}"#, true),
        ] {
            let frame = format!(r#"{{"a":{text}}}"#);
            let one: One = serde_json::from_str(&frame).unwrap();
            assert_eq!(one.a.present().is_some(), present, "{text}");
        }
        let one: One = serde_json::from_str("{}").unwrap();
        assert_eq!(one.a, Value::Absent);
        assert_eq!(Value::Text("12".into()).whole(), Ok(12));
        assert!(
            Value::Large(u64::MAX).whole().is_err()
                && Value::Text("9223372036854775808".into()).signed().is_err()
        );
        assert!(Value::Whole(-1).whole().is_err() && Value::Text("+1".into()).whole().is_err());
        assert!(Value::Text(String::new().into()).whole().is_err());
        assert!(Value::Whole(0).millis().is_err() && Value::Large(u64::MAX).millis().is_err());
    }

    impl<'a> Flat<'a> for One<'a> {
        fn slot(&mut self, key: &str) -> Option<&mut Value<'a>> {
            (key == "a").then_some(&mut self.a)
        }
    }

    #[test]
    fn a_flat_object_is_read_as_json_is_or_not_at_all() {
        for (text, plain) in [
            (r#"{"a":"1.5","b":7,"c":true}"#, true),
            (r#"{"b":"","a":""}"#, true),
            (r#"{"a":18446744073709551615}"#, false),
            (r#"{"a":123456789012345678}"#, true),
            (r#"{"a":0,"b":0}"#, true),
            (r#"{"a":false,"\u0062":1}"#, false),
            (r#"{"a":"1\u002e5"}"#, false),
            (r#"{"a":01}"#, false),
            (r#"{"a":1.5}"#, false),
            (r#"{"a":1e5}"#, false),
            (r#"{"a":-1}"#, false),
            (r#"{"a": 1}"#, false),
            (r#"{"a":null}"#, false),
            (r#"{"a":[1]}"#, false),
            (r#"{"a":{"b":1}}"#, false),
            (r#"{"a":1,"a":2}"#, false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":1"#, false),
            (r#"{"a":"1"#, false),
            (r#"{"a":truth}"#, false),
            ("{\"a\":\"\u{1}\"}", false),
            ("{}", false),
            ("", false),
        ] {
            let read = flat::<One>(text);
            assert_eq!(read.is_some(), plain, "{text}");
            if let Some((one, rest)) = read {
                let json: One = serde_json::from_str(text).unwrap();
                assert_eq!((one.a, rest), (json.a, ""), "{text}");
            }
        }
        assert_eq!(
            flat::<One>(r#"{"a":"安"}}"#).map(|(_, rest)| rest),
            Some("}")
        );
    }

    #[test]
    fn an_item_that_is_no_object_spoils_no_other() {
        let items: Vec<Item<One>> =
            serde_json::from_str(r#"[1,"x",null,[{}],true,2.5,{"a":"y"}]"#).unwrap();
        let good: Vec<&str> = items
            .iter()
            .filter_map(|i| i.object().ok())
            .map(|o| o.a.text().unwrap())
            .collect();
        assert_eq!((items.len(), good), (7, vec!["y"]));
    }
}
