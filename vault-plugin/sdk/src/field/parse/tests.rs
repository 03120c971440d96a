//! Values in every spelling.

use super::*;

fn value(kind: FieldType, json: &str) -> Result<FieldValue, FieldError> {
    parse(kind, &RawValue::from_string(json.to_owned()).unwrap(), false)
}

fn patched(json: &str) -> Result<FieldValue, FieldError> {
    parse(FieldType::Pairs, &RawValue::from_string(json.to_owned()).unwrap(), true)
}

#[test]
fn durations_as_vault_users_type_them() {
    for (json, seconds) in [
        ("30", 30),
        ("\"30\"", 30),
        ("\"30s\"", 30),
        ("\"1m30s\"", 90),
        ("\"1h\"", 3600),
        ("\"1h30m\"", 5400),
        ("\"1.5h\"", 5400),
        ("\"0.25d\"", 21_600),
        ("\"90000ms\"", 90),
        ("\"2d\"", 172_800),
    ] {
        let Ok(FieldValue::Duration(duration)) = value(FieldType::Duration, json) else {
            panic!("{json}")
        };
        assert_eq!(duration.as_secs(), seconds, "{json}");
    }
    for json in [
        "-1",
        "1.5",
        "\" \"",
        "\"1x\"",
        "\"s\"",
        "\"-3s\"",
        "\"1.h\"",
        "\".5h\"",
        "\"1.2.3s\"",
        "\"1.5\"",
        "true",
        "[]",
        "\"99999999999999999999h\"",
    ] {
        assert!(value(FieldType::Duration, json).is_err(), "{json}");
    }
}

#[test]
fn lists_from_commas_json_text_and_arrays() {
    for json in ["\"a,b\"", "\"a, b,\"", "[\"a\",\"b\"]", "\"[\\\"a\\\",\\\"b\\\"]\""] {
        let Ok(FieldValue::List(items)) = value(FieldType::List, json) else { panic!("{json}") };
        assert_eq!(items, ["a", "b"], "{json}");
    }
    // What is accepted as JSON is accepted as its text.
    for json in ["[1,true]", "\"[1,true]\""] {
        let Ok(FieldValue::List(items)) = value(FieldType::List, json) else { panic!("{json}") };
        assert_eq!(items, ["1", "true"], "{json}");
    }
    for json in ["{}", "\"[\"", "\"[[]]\"", "[null]"] {
        assert!(value(FieldType::List, json).is_err(), "{json}");
    }
}

#[test]
fn items_may_hold_commas() {
    let one = "allow GET,HEAD /a, deny * /b";
    for json in [
        serde_json::to_string(one).unwrap(),
        serde_json::to_string("allow GET,HEAD /a\n deny * /b\n").unwrap(),
        "[\"allow GET,HEAD /a\",\"deny * /b\"]".to_owned(),
    ] {
        let Ok(FieldValue::List(items)) = value(FieldType::Items, &json) else { panic!("{json}") };
        assert_eq!(items, ["allow GET,HEAD /a", "deny * /b"], "{json}");
    }
}

#[test]
fn pairs_from_objects_their_text_and_items() {
    for json in ["{\"a\":\"1\"}", "{\"a\":1}", "\"{\\\"a\\\":\\\"1\\\"}\"", "\"a=1\"", "[\"a=1\"]"]
    {
        let Ok(FieldValue::Pairs(items)) = value(FieldType::Pairs, json) else { panic!("{json}") };
        assert_eq!(items, [("a".to_owned(), "1".to_owned())], "{json}");
    }
    for json in ["\"a\"", "[1]", "{\"a\":{}}", "{\"a\":null}", "7"] {
        assert!(value(FieldType::Pairs, json).is_err(), "{json}");
    }
}

#[test]
fn two_pairs_in_one_text_are_refused_and_commas_in_a_value_are_not() {
    for json in ["\"A=b,C=d\"", "\"A=b, C=d\"", "[\"A=b,x,C=d\"]"] {
        assert_eq!(
            value(FieldType::Pairs, json).unwrap_err(),
            FieldError::AmbiguousPairs,
            "{json}"
        );
    }
    for (json, kept) in [
        ("\"accept=text/html,application/xml;q=0.9\"", "text/html,application/xml;q=0.9"),
        ("\"accept=a,b\"", "a,b"),
        ("{\"accept\":\"b,C=d\"}", "b,C=d"),
    ] {
        let Ok(FieldValue::Pairs(items)) = value(FieldType::Pairs, json) else { panic!("{json}") };
        assert_eq!(items, [("accept".to_owned(), kept.to_owned())], "{json}");
    }
}

#[test]
fn a_patch_changes_single_pairs() {
    let changes = patched("{\"a\":\"2\",\"b\":null,\"c\":\"3\"}").unwrap();
    let mut fields = crate::field::Fields::default();
    fields.insert("p", changes);
    let before = [("a", "1"), ("b", "1"), ("z", "1")].map(|(k, v)| (k.into(), v.into()));
    let Some(crate::field::Given::Set(mut after)) = fields.pairs_over("p", before) else {
        panic!()
    };
    after.sort();
    let wanted = [("a", "2"), ("c", "3"), ("z", "1")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(after, wanted);
    assert!(matches!(patched("null"), Ok(FieldValue::Null)));
}

#[test]
fn integers_in_every_spelling_of_a_list() {
    for json in ["[1,2]", "\"1,2\"", "\"1, 2\"", "[\"1\",2]", "\"[1,2]\""] {
        let Ok(FieldValue::Ints(items)) = value(FieldType::Ints, json) else { panic!("{json}") };
        assert_eq!(items, [1, 2], "{json}");
    }
    for json in ["\"1,x\"", "[1.5]", "{}", "[true]"] {
        assert!(value(FieldType::Ints, json).is_err(), "{json}");
    }
}

#[test]
fn a_secret_is_a_string_and_nothing_else() {
    assert!(matches!(value(FieldType::Secret, "\"s\""), Ok(FieldValue::Secret(_))));
    for json in ["1234", "true", "[\"s\"]", "{\"s\":1}"] {
        assert_eq!(
            value(FieldType::Secret, json).unwrap_err(),
            FieldError::SecretInClear,
            "{json}"
        );
    }
}

#[test]
fn json_is_kept_to_the_letter() {
    let text = "{\"n\": 9007199254740993,\"f\":1.0}";
    for json in [text.to_owned(), serde_json::to_string(text).unwrap()] {
        let Ok(FieldValue::Str(kept)) = value(FieldType::Json, &json) else { panic!("{json}") };
        assert_eq!(kept, text);
    }
    let Ok(FieldValue::Str(joined)) = value(FieldType::Json, "[\"{\\\"a\\\":\",\"1}\"]") else {
        panic!()
    };
    assert_eq!(joined, "{\"a\":1}");
    assert!(value(FieldType::Json, "[{\"a\":1}]").is_err());
}

#[test]
fn empty_and_null_mean_back_to_the_default() {
    for kind in
        [FieldType::Str, FieldType::Int, FieldType::List, FieldType::Secret, FieldType::Duration]
    {
        assert!(matches!(value(kind, "\"\""), Ok(FieldValue::Null)));
        assert!(matches!(value(kind, "null"), Ok(FieldValue::Null)));
    }
    assert!(matches!(value(FieldType::Text, "\"\""), Ok(FieldValue::Str(_))));
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(value(FieldType::Json, &deep).is_err());
}

#[test]
fn a_number_given_as_text_keeps_its_text() {
    let long = "12345678901234567890123";
    for number in ["1.10", "1e3", "3.8807115590796853e+164", long] {
        let Ok(FieldValue::Str(text)) = value(FieldType::Str, number) else { panic!("{number}") };
        assert_eq!(text, number);
        for list in [number.to_owned(), format!("[{number}]"), format!("\"[{number}]\"")] {
            let Ok(FieldValue::List(items)) = value(FieldType::List, &list) else {
                panic!("{list}")
            };
            assert_eq!(items, [number]);
        }
        for object in [format!("{{\"a\": {number}}}"), format!("\"{{\\\"a\\\":{number}}}\"")] {
            let Ok(FieldValue::Pairs(pairs)) = value(FieldType::Pairs, &object) else {
                panic!("{object}")
            };
            assert_eq!(pairs, [("a".to_owned(), number.to_owned())]);
        }
    }
}
