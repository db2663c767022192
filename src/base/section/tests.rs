use super::*;

#[derive(serde::Deserialize, Debug)]
struct Raw {
    #[allow(dead_code)]
    listen: Option<u16>,
}

fn told(faults: Vec<Fault>) -> Vec<String> {
    Fault::settle(faults).iter().map(ToString::to_string).collect()
}

#[test]
fn an_unknown_key_and_a_wrong_value_are_both_named_with_a_remedy() {
    let value = serde_json::json!({"lisen": 1, "listen": "x", "colour": 2});
    let (raw, faults) = Section::new("http", "a.toml", value).read::<Raw>(&["listen"]).unwrap();
    assert_eq!(raw.listen, None);
    assert_eq!(
        told(faults),
        [
            "a.toml: http.colour: unknown key; known here: listen",
            "a.toml: http.lisen: unknown key; did you mean `listen`?",
            "a.toml: http.listen: write a whole number from 0 to 65535, without quotes, not \"x\"",
        ]
    );
}

#[derive(serde::Deserialize, Debug)]
struct Typed {
    password: Option<Secret>,
    workers: Option<u16>,
    on: Option<bool>,
    list: Option<Vec<String>>,
}

#[test]
fn text_from_the_environment_becomes_what_the_key_wants_and_a_password_of_digits_stays_text() {
    let value = serde_json::json!({"password": "0123", "workers": "3", "on": "true", "list": "a, b"});
    let env = ["password", "workers", "on", "list"].map(|k| (k.to_owned(), format!("SIPEDGE_X__{k}")));
    let s = Section::new("x", "a.toml", value).with_env(BTreeMap::from(env));
    let (typed, faults): (Typed, _) = s.read(&["password", "workers", "on", "list"]).unwrap();
    assert!(faults.is_empty() && typed.password.unwrap().matches("0123"));
    assert_eq!((typed.workers, typed.on), (Some(3), Some(true)));
    assert_eq!(typed.list.unwrap(), ["a", "b"]);
    let s = Section::new("x", "a.toml", serde_json::json!({"workers": "many"}))
        .with_env(BTreeMap::from([("workers".to_owned(), "SIPEDGE_X__WORKERS".to_owned())]));
    let (_, faults) = s.read::<Typed>(&["workers"]).unwrap();
    let expected = "environment variable SIPEDGE_X__WORKERS: x.workers: write a whole number from 0 to 65535, \
                    not \"many\"";
    assert_eq!(told(faults), [expected]);
}

/// What is said of a table with these keys, and what else is judged of it.
fn judged(value: Value, judge: impl Fn(&Section, &Typed) -> Vec<Fault>) -> Vec<String> {
    let s = Section::new("x", "t", value);
    let (typed, mut faults) = s.read::<Typed>(&["password", "workers", "on", "list"]).unwrap();
    faults.extend(judge(&s, &typed));
    told(faults)
}

#[test]
fn every_wrong_value_is_named_at_once_in_words_that_a_person_understands() {
    let value = serde_json::json!({"password": ["p"], "workers": -1, "on": 7, "list": {"a": 1}});
    assert_eq!(
        judged(value, |_, _| Vec::new()),
        [
            "t: x.list: write a list, as [\"one\", \"two\"], not a table",
            "t: x.on: write true or false, not 7",
            "t: x.password: write a secret text in quotes, not a list",
            "t: x.workers: write a whole number from 0 to 65535, not -1",
        ]
    );
}

#[test]
fn a_secret_that_is_wrongly_written_is_not_shown() {
    for wrong in [serde_json::json!({"password": 4711}), serde_json::json!({"list": "4711"})] {
        let faults = judged(wrong, |_, _| Vec::new());
        assert!(faults.len() == 1 && !faults[0].contains("4711"), "{faults:?}");
    }
}

#[test]
fn what_can_be_read_is_judged_beside_what_cannot() {
    let judge = |s: &Section, typed: &Typed| {
        let short = typed.password.as_ref().is_some_and(|p| p.expose().len() < 8);
        let many = typed.workers.is_some_and(|workers| workers > 4);
        let faults = [(short, s.fault("password", "too short")), (many, s.fault("workers", "too many"))];
        faults.into_iter().filter_map(|(is_wrong, fault)| is_wrong.then_some(fault)).collect()
    };
    let value = serde_json::json!({"password": "p", "workers": "9", "on": "maybe", "colour": true});
    assert_eq!(
        judged(value, judge),
        [
            "t: x.colour: unknown key; known here: password, workers, on, list",
            "t: x.on: write true or false, without quotes, not \"maybe\"",
            "t: x.password: too short",
            "t: x.workers: too many",
            "t: x.workers: write a whole number from 0 to 65535, without quotes, not \"9\"",
        ]
    );
}

#[test]
fn a_fault_that_follows_from_what_could_not_be_read_is_not_told() {
    let judge = |s: &Section, typed: &Typed| {
        let mut faults = Vec::new();
        if typed.workers.is_none() {
            faults.push(s.fault("workers", "name how many"));
        }
        if typed.on.is_none() {
            faults.push(s.fault("list", "this is for on = true"));
        }
        faults
    };
    let value = serde_json::json!({"wrokers": 2, "on": "maybe", "list": []});
    assert_eq!(
        judged(value, judge),
        [
            "t: x.on: write true or false, without quotes, not \"maybe\"",
            "t: x.wrokers: unknown key; did you mean `workers`?",
        ]
    );
    assert_eq!(
        judged(serde_json::json!({"list": []}), judge).len(),
        2,
        "both hold where nothing was misread"
    );
}

#[test]
fn a_number_in_place_of_a_text_is_judged_as_that_text_and_told_once() {
    let value = || serde_json::json!({"list": [30, "a"]});
    let judge = |s: &Section, typed: &Typed| {
        assert_eq!(typed.list.as_deref().unwrap(), ["30", "a"]);
        vec![s.fault("list", "`30` is no duration")]
    };
    assert_eq!(judged(value(), judge), ["t: x.list: `30` is no duration"]);
    assert_eq!(judged(value(), |_, _| Vec::new()), ["t: x.list[1]: write a text in quotes, not 30"]);
}

#[test]
fn one_text_or_a_list_is_read_and_anything_else_is_told_in_words() {
    #[derive(serde::Deserialize)]
    struct Either {
        to: Option<OneOrMany>,
    }
    let read = |to: Value| {
        let value = serde_json::json!({ "to": to });
        let (raw, faults) = Section::new("r", "t", value).read::<Either>(&["to"]).unwrap();
        (raw.to.map(|to| to.0).unwrap_or_default(), told(faults))
    };
    assert_eq!(read("a".into()), (vec!["a".to_owned()], vec![]));
    assert_eq!(read(serde_json::json!(["a", "b"])).0, ["a", "b"]);
    let expected = "t: r.to: write a text in quotes or a list of texts, not a table";
    assert_eq!(read(serde_json::json!({})).1, [expected]);
}

#[test]
fn durations_carry_their_unit() {
    assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
    assert!(parse_duration("30").is_err() && parse_duration("s").is_err());
    assert!(parse_duration("99999999999999999999h").is_err());
}
