//! The laws of canonical JSON and merge patches, the reference's vectors, and hostile input.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use umiak_pvr::Value;
use umiak_pvr::json::{MAX_DEPTH, Number, ParseError};

const LIMIT: u64 = 1 << 20;

fn parse(text: &str) -> Value {
    Value::parse(text.as_bytes(), LIMIT).unwrap()
}

#[test]
fn canonical_form_of_the_reference_vectors() {
    for (text, canonical) in [
        (r#""\u00e9\u0001\u007f\u001f""#, "\"é\\u0001\u{7f}\\u001F\""),
        (r#""a<b>&c\/""#, r#""a<b>&c/""#),
        (r#"{"b":1,"a":2,"A":3}"#, r#"{"A":3,"a":2,"b":1}"#),
        ("{\"\\ud83d\\ude00\":1,\"\\uffff\":2,\"é\":3}", "{\"é\":3,\"\u{ffff}\":2,\"😀\":1}"),
        (r#""\b\t\n\f\r\"\\""#, r#""\b\t\n\f\r\"\\""#),
        ("\"\\u2028\\u2029\"", "\"\u{2028}\u{2029}\""),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (" [ null , true , false , 1.0 , {} , [] ] \n", "[null,true,false,1,{},[]]"),
        (r#""\ud800""#, "\"\u{fffd}\""),
        (r#""\ud800\u0041""#, "\"\u{fffd}A\""),
        (r#""\ud800\n""#, "\"\u{fffd}\\n\""),
        (r#""\udc00""#, "\"\u{fffd}\""),
    ] {
        assert_eq!(parse(text).canonical(), canonical, "{text}");
    }
}

#[test]
fn pretty_is_go_s_marshal_indent() {
    let value = parse(r#"{"b":[1,{"c":"<&>"}],"a":{},"e":[],"z":"\u0008é\u2028"}"#);
    let four = "{\n    \"a\": {},\n    \"b\": [\n        1,\n        {\n            \"c\": \"\\u003c\\u0026\\u003e\"\n        }\n    ],\n    \
                \"e\": [],\n    \"z\": \"\\u0008é\\u2028\"\n}";
    assert_eq!(value.pretty("", "    "), four);
    assert_eq!(parse(r#"{"a":{"b":1}}"#).pretty(" ", " "), "{\n  \"a\": {\n   \"b\": 1\n  }\n }");
}

#[test]
fn refuses_what_is_not_json() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "\"",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "tru",
        "nul",
        "1 1",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\n\"",
        "'a'",
        "\u{feff}{}",
        "[01]",
        "[1.]",
        "-",
        "]",
        "{]",
    ] {
        assert!(Value::parse(text.as_bytes(), LIMIT).is_err(), "{text:?}");
    }
    assert!(matches!(Value::parse(b"\"\xff\"", LIMIT), Err(ParseError::NotUtf8(1))));
    assert!(matches!(Value::parse(b"[1,1]", 4), Err(ParseError::TooLong { length: 5, limit: 4 })));
    assert!(matches!(Value::parse(b"[1e9999]", LIMIT), Err(ParseError::Number(1))));
    let nested = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    assert!(Value::parse(nested.as_bytes(), LIMIT).is_ok());
    assert!(matches!(Value::parse("[".repeat(500_000).as_bytes(), LIMIT), Err(ParseError::TooDeep(_))));
    assert!(matches!(Value::parse("{\"a\":".repeat(100_000).as_bytes(), LIMIT), Err(ParseError::TooDeep(_))));
}

#[test]
fn merge_is_rfc_7386_s() {
    // The appendix of the RFC: original, patch, result.
    for (original, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r"{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        assert_eq!(parse(original).merge(&parse(patch)), parse(result), "{original} + {patch}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |f| Number::new(&format!("{f:e}")).map(Value::Number)),
        ".{0,6}".prop_map(Value::String),
        proptest::collection::vec(any::<char>(), 0..4).prop_map(|chars| Value::String(chars.into_iter().collect())),
    ]
}

fn value(leaf: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map("[a-e]|.{0,3}", inner, 0..5).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn canonical_form_is_read_back_and_stays(value in value(prop_oneof![Just(Value::Null), scalar()].boxed())) {
        let canonical = value.canonical();
        let again = parse(&canonical);
        prop_assert_eq!(again.canonical(), canonical);
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(&parse(&value.pretty("", "    ")), &value);
        prop_assert_eq!(&parse(&value.pretty(" ", " ")), &value);
    }

    #[test]
    fn a_difference_applied_is_the_target(a in value(scalar().boxed()), b in value(scalar().boxed())) {
        prop_assert_eq!(&a.clone().merge(&a.difference(&b)), &b);
        prop_assert_eq!(&a.clone().merge(&a.difference(&a)), &a);
    }
}

/// A small deterministic generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn mutated_documents_are_read_or_refused_and_what_is_read_is_stable() {
    let corpus: [&[u8]; 5] = [
        br##"{"#spec":"pantavisor-service-system@1","web/run.json":{"name":"web","volumes":[],"n":[1.5e3,-0,null]}}"##,
        br#"{"a":"\ud83d\ude00\u0000\n","b":[[[[[[]]]]]],"c":12345678901234567890.5E-7}"#,
        br#"[true,false,null,"",{},[],0,-1,1e4000]"#,
        b"\"\\ud800\\udc00\\ud800\"",
        b"   {   }   ",
    ];
    let tokens: [&[u8]; 12] =
        [b"{", b"}", b"[", b"]", b"\"", b",", b":", b"\\u", b"\\ud8", b"e99999", b"\xff", b"\xf0\x9f"];
    let mut random = Random(0x5eed);
    let mut read = 0;
    for _ in 0..60_000 {
        let mut bytes = corpus[random.below(corpus.len())].to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            match random.below(4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
                1 => bytes.truncate(at),
                2 => drop(bytes.splice(at..at, tokens[random.below(tokens.len())].iter().copied())),
                _ => {
                    let end = at + random.below(bytes.len() - at + 1);
                    let copy = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
        if let Ok(value) = Value::parse(&bytes, LIMIT) {
            read += 1;
            let canonical = value.canonical();
            assert_eq!(parse(&canonical).canonical(), canonical, "{}", String::from_utf8_lossy(&bytes));
            assert!(canonical.len() <= bytes.len() * 4096, "bounded growth");
        }
    }
    assert!(read > 1000, "the corpus must reach the accepting paths too: {read}");
}
