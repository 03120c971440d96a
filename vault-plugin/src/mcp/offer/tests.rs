use serde_json::json;

use super::*;

fn tool(name: &str, description: &str) -> Definition {
    let raw = json!({ "name": name, "description": description, "inputSchema": {} });
    Definition::new(Kind::Tool, &raw).unwrap()
}

fn pin(definition: Definition) -> Pin {
    Pin { at: 1, by: "op".into(), definition }
}

struct Case {
    trust: ToolTrust,
    seen: Vec<Definition>,
    pins: Vec<Pin>,
    segments: BTreeMap<String, String>,
    fresh: Option<Fresh>,
}

fn case(seen: &[(&str, &str)], pins: &[(&str, &str)]) -> Case {
    Case {
        trust: ToolTrust::Pin,
        seen: seen.iter().map(|(name, text)| tool(name, text)).collect(),
        pins: pins.iter().map(|(name, text)| pin(tool(name, text))).collect(),
        segments: BTreeMap::new(),
        fresh: None,
    }
}

impl Case {
    fn offer(&self) -> Offer {
        Offer::of(&Known {
            trust: self.trust,
            seen: &self.seen,
            pins: &self.pins,
            segments: &self.segments,
            fresh: self.fresh.as_ref(),
        })
    }

    fn states(&self) -> Vec<(String, &'static str)> {
        self.offer().items.iter().map(|item| (item.key.clone(), item.state.as_str())).collect()
    }
}

#[track_caller]
fn check(case: &Case, expected: &[(&str, &str)]) {
    let states = case.states();
    let states: Vec<_> = states.iter().map(|(key, state)| (key.as_str(), *state)).collect();
    assert_eq!(states, expected);
}

#[test]
fn nothing_is_offered_that_is_not_as_approved() {
    let case = case(
        &[("same", "a"), ("other", "b"), ("fresh", "c")],
        &[("same", "a"), ("other", "before"), ("away", "d")],
    );
    check(&case, &[("away", "gone"), ("fresh", "new"), ("other", "changed"), ("same", "approved")]);
    let offer = case.offer();
    assert_eq!(offer.waiting(), 2);
    let shown: Vec<_> = offer.items.iter().filter(|item| item.shown.is_some()).collect();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].key, "same");
}

#[test]
fn a_rename_is_a_new_tool() {
    check(&case(&[("b", "x")], &[("a", "x")]), &[("a", "gone"), ("b", "new")]);
}

#[test]
fn allow_offers_what_is_valid_whatever_it_says() {
    let mut case = case(&[("a", "x"), ("b\u{200b}", "x")], &[("a", "before")]);
    case.trust = ToolTrust::Allow;
    check(&case, &[("a", "allowed"), ("b\u{200b}", "refused")]);
}

#[test]
fn what_is_listed_twice_is_refused() {
    let case = case(&[("a", "x"), ("a", "y")], &[("a", "x")]);
    check(&case, &[("a", "refused")]);
}

#[test]
fn two_approved_ones_with_one_segment_wait_until_one_is_named() {
    let both = [("a.b", "x"), ("a_b", "y")];
    let mut case = case(&both, &both);
    check(&case, &[("a.b", "withheld-collision"), ("a_b", "withheld-collision")]);
    assert_eq!(case.offer().waiting(), 2);
    case.segments.insert("a.b".into(), "dotted".into());
    check(&case, &[("a.b", "approved"), ("a_b", "approved")]);
    assert_eq!(case.offer().by_segment(Kind::Tool, "dotted").unwrap().key, "a.b");
    assert_eq!(case.offer().by_segment(Kind::Tool, "a_b").unwrap().key, "a_b");
    case.segments = BTreeMap::from([("a.b".into(), "a_b".into())]);
    check(&case, &[("a.b", "approved"), ("a_b", "withheld-collision")]);
}

#[test]
fn what_nobody_approved_pushes_nothing_out_and_slips_into_no_place() {
    let case = case(&[("a.b", "x"), ("a_b", "y")], &[("a_b", "y")]);
    check(&case, &[("a.b", "new"), ("a_b", "approved")]);
    let offer = case.offer();
    assert_eq!(offer.by_segment(Kind::Tool, "a_b").unwrap().key, "a_b");
    assert!(offer.items[0].problem.as_ref().unwrap().contains("a_b"), "{:?}", offer.items[0]);
    // Approved beside one that is gone: the segment is still that one's.
    let case = self::case(&[("a.b", "x")], &[("a_b", "y"), ("a.b", "x")]);
    check(&case, &[("a.b", "withheld-collision"), ("a_b", "gone")]);
}

#[test]
fn a_name_without_a_segment_waits_for_one() {
    let mut case = case(&[("поиск", "x")], &[("поиск", "x")]);
    check(&case, &[("поиск", "withheld-collision")]);
    case.segments.insert("поиск".into(), "search".into());
    check(&case, &[("поиск", "approved")]);
}

#[test]
fn a_look_that_was_not_stored_only_takes_away() {
    let mut case =
        case(&[("a", "x"), ("b", "x"), ("c", "now")], &[("a", "x"), ("b", "x"), ("c", "x")]);
    check(&case, &[("a", "approved"), ("b", "approved"), ("c", "changed")]);
    let listed = |name: &str, text: &str| {
        let definition = tool(name, text);
        (Kind::Tool, name.to_owned(), definition.digest)
    };
    case.fresh = Some(Fresh {
        at: 2,
        listed: vec![listed("a", "poisoned"), listed("c", "x"), listed("d", "x")],
    });
    // "c" is as approved again, whatever lies stored.
    check(&case, &[("a", "changed"), ("b", "gone"), ("c", "approved"), ("d", "new")]);
    let offer = case.offer();
    assert!(offer.by_segment(Kind::Tool, "c").unwrap().shown.as_ref().unwrap().contains("\"x\""));
    case.trust = ToolTrust::Allow;
    check(&case, &[("a", "new"), ("b", "gone"), ("c", "allowed"), ("d", "new")]);
}

#[test]
fn kinds_do_not_meet() {
    let mut case = case(&[("a", "x")], &[("a", "x")]);
    let prompt = Definition::new(Kind::Prompt, &json!({ "name": "a" })).unwrap();
    case.seen.push(prompt);
    let offer = case.offer();
    assert_eq!(offer.by_segment(Kind::Tool, "a").unwrap().state, State::Approved);
    assert_eq!(offer.by_segment(Kind::Prompt, "a").unwrap().state, State::New);
    assert_eq!(offer.waiting(), 0, "it counts tools alone");
}

#[test]
fn offers_look_alike_when_agents_see_no_difference() {
    let one = case(&[("a", "x")], &[("a", "x")]).offer();
    assert!(one.looks_like(&case(&[("a", "x")], &[("a", "x"), ("b", "gone")]).offer()));
    assert!(!one.looks_like(&case(&[("a", "y")], &[("a", "x")]).offer()));
    assert!(!one.looks_like(&case(&[("a", "x"), ("b", "y")], &[("a", "x")]).offer()));
    assert!(!one.looks_like(&case(&[("a", "y")], &[("a", "y")]).offer()));
}

#[test]
fn of_schemas_only_annotations_are_kept_for_calls() {
    let raw = |annotated: bool| {
        let mut property = json!({ "type": "string" });
        if annotated {
            property["x-mcp-header"] = "Region".into();
        }
        json!({ "name": "a", "inputSchema": { "properties": { "region": property } } })
    };
    for annotated in [true, false] {
        let definition = Definition::new(Kind::Tool, &raw(annotated)).unwrap();
        let mut case = case(&[], &[]);
        case.seen.push(definition.clone());
        case.pins.push(pin(definition));
        assert_eq!(case.offer().items[0].mirror.is_some(), annotated);
    }
}
