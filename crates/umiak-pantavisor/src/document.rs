//! Members of a device's JSON documents, read with forbearance: a number may be a string of digits, and what is absent is.

use umiak_pvr::Value;

/// The member `name` as text; an empty one is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The member `name` as a whole number that is not negative: `12`, `"12"`, `1.2E1`.
pub(crate) fn number(value: &Value, name: &str) -> Option<u64> {
    match value.get(name)? {
        Value::Number(number) => number.canonical().parse().ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The member `name` as an object; one that is written in a string counts.
pub(crate) fn object(value: &Value, name: &str) -> Option<Value> {
    match value.get(name)? {
        object @ Value::Object(_) => Some(object.clone()),
        Value::String(text) => {
            Value::parse(text.as_bytes(), crate::DOCUMENT_LIMIT).ok().filter(|value| value.as_object().is_some())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_or_digits() {
        let value =
            Value::parse(br#"{"a":12,"b":"12","c":1.2e1,"d":-1,"e":"x","f":1.5,"g":null,"h":""}"#, 1000).unwrap();
        let read: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| number(&value, name)).into();
        assert_eq!(read, [Some(12), Some(12), Some(12), None, None, None, None, None, None]);
        assert_eq!((text(&value, "e"), text(&value, "h"), text(&value, "a")), (Some("x"), None, None));
    }

    #[test]
    fn objects_may_come_as_text() {
        let value = Value::parse(br#"{"a":{"x":1},"b":"{\"x\":1}","c":"[]","d":"{"}"#, 1000).unwrap();
        assert_eq!(object(&value, "a"), object(&value, "b"));
        assert!(object(&value, "a").is_some() && object(&value, "c").is_none() && object(&value, "d").is_none());
    }
}
