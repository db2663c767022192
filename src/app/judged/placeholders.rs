//! Secrets that stand in this project's own examples. Everybody knows them, so they serve for a first try on one machine and
//! for nothing else: where the door that such a secret locks can be reached from elsewhere, it is a fault.

use super::Door;
use crate::base::{Excerpt, Fault, Section};
use crate::edge::contract::Whereabouts;

/// How all of them begin.
const PLACEHOLDER: &str = "change-this";
/// What makes another one; of letters and digits, since tokens stand in addresses.
const REMEDY: &str = "`openssl rand -hex 16` makes one";

/// The keys whose texts are secrets of who comes to us.
pub(super) const TOKENS: [&str; 2] = ["token", "tokens"];
pub(super) const INBOUND: [&str; 1] = ["inbound_password"];
/// Those of what we go to.
pub(super) const OUTBOUND: [&str; 1] = ["password"];
pub(super) const LINE: [&str; 1] = ["line_password"];
pub(super) const WEBHOOK: [&str; 1] = ["webhook_secret"];

/// What stands behind a secret.
pub(super) enum Behind<'a> {
    /// Ports of ours.
    Ours(&'a [Door]),
    /// A PBX, with the place of it that is beyond this machine, where one is.
    Pbx(Option<&'a Whereabouts>),
    /// Nothing that could be opened by it.
    Nothing,
}

/// The placeholders among these keys of a table: faults where somebody from elsewhere could use them, else notes.
pub(super) fn judge(section: &Section, keys: &[&str], behind: &Behind<'_>) -> (Vec<Fault>, Vec<Fault>) {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    for key in keys.iter().filter_map(|key| found(section, key)) {
        let opened = match behind {
            Behind::Ours(doors) => doors
                .iter()
                .find(|door| !door.address.ip().to_canonical().is_loopback())
                .map(|door| format!("{} = {} is open beyond this machine", door.key, door.address)),
            Behind::Pbx(Some(place)) => {
                Some(format!("its PBX ({}) is beyond this machine", Excerpt(&place.host)))
            }
            Behind::Pbx(None) | Behind::Nothing => None,
        };
        let text = "this is the text of the example, which everybody knows";
        match opened {
            Some(opened) => {
                let remedy = format!("{text}, and {opened}; write one of your own, {REMEDY}");
                faults.push(section.fault(&key, remedy));
            }
            None => notes.push(section.fault(&key, format!("{text}; write one of your own, {REMEDY}"))),
        }
    }
    (faults, notes)
}

/// The key that says it, where one does: the text itself, or that of a file.
fn found(section: &Section, key: &str) -> Option<String> {
    let is_placeholder = |text: &str| text.trim_start().to_ascii_lowercase().starts_with(PLACEHOLDER);
    if section.texts(key).into_iter().any(is_placeholder) {
        return Some(key.to_owned());
    }
    let key = format!("{key}_file");
    // one that cannot be read is told by its own folder
    let text = std::fs::read_to_string(section.text(&key)?).ok()?;
    is_placeholder(&text).then_some(key)
}

#[cfg(test)]
mod tests {
    use crate::app::judge;
    use crate::base::Seed;
    use crate::config::Config;
    use serde_json::{Value, json};

    /// The faults' keys, else the notes.
    fn judged(value: Value) -> Result<Vec<String>, Vec<String>> {
        let Value::Object(root) = value else { panic!() };
        let judged = judge(&Config::from_value("t", root), Seed::from_number(1));
        judged.map(|c| c.notes()).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    const SHUT: &str = "127.0.0.1:5080";

    #[test]
    fn a_token_that_everybody_knows_is_a_note_on_the_loopback_and_a_fault_beyond_it() {
        let with = |listen: Value, token: Value| {
            let mut account = token;
            account["numbers"] = json!(["100"]);
            judged(
                json!({"http": {"listen": listen}, "sip": {"listen": [SHUT]}, "account": {"demo": account}}),
            )
        };
        let known = || json!({"token": "change-this-token"});
        let notes = with(json!("127.0.0.1:1337"), known()).unwrap();
        assert!(
            notes.len() == 1 && notes[0].starts_with("account.demo.token: this is the text of the example"),
            "{notes:?}"
        );
        assert!(with(json!(["127.0.0.1:1337", "[::1]:1337"]), known()).is_ok());
        for open in [json!("0.0.0.0:1351"), json!(["127.0.0.1:1337", "[::]:1337"]), json!("192.0.2.7:1337")] {
            let faults = with(open, known()).unwrap_err();
            let is_told = faults.len() == 1
                && faults[0].starts_with("t: account.demo.token: ")
                && faults[0].contains("http.listen = ")
                && faults[0].contains("openssl rand -hex 16");
            assert!(is_told, "{faults:?}");
        }
        let several = json!({"tokens": ["0123456789abcdef", "change-this-token-too"]});
        assert!(with(json!("0.0.0.0:1351"), several).unwrap_err()[0].starts_with("t: account.demo.tokens: "));
        assert!(with(json!("0.0.0.0:1351"), json!({"token": "0123456789abcdef"})).unwrap().is_empty());
        let file = std::env::temp_dir().join(format!("sipedge-placeholder-{}", std::process::id()));
        std::fs::write(&file, "change-this-token\n").unwrap();
        let told = with(json!("0.0.0.0:1351"), json!({ "token_file": file })).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(told[0].starts_with("t: account.demo.token_file: "), "{told:?}");
    }

    #[test]
    fn a_password_that_everybody_knows_is_a_fault_where_its_door_is_open() {
        let with = |host: &str, listen: &str| {
            let trunk = json!({"host": host, "user": "sipedge", "password": "change-this-password",
                "inbound_user": "asterisk", "inbound_password": "change-this-password-too"});
            judged(json!({"sip": {"listen": [listen]}, "trunk": {"pbx": trunk}}))
        };
        let keys = |said: Vec<String>| {
            let key = |line: &String| line.trim_start_matches("t: ").split(": ").next().unwrap().to_owned();
            said.iter().map(key).collect::<Vec<_>>()
        };
        let (inbound, outbound) = ("trunk.pbx.inbound_password", "trunk.pbx.password");
        for host in ["127.0.0.1:5060", "localhost"] {
            assert_eq!(keys(with(host, SHUT).unwrap()), [inbound, outbound]);
        }
        assert_eq!(keys(with("127.0.0.1:5060", "0.0.0.0:5080").unwrap_err()), [inbound]);
        assert_eq!(keys(with("pbx.example", SHUT).unwrap_err()), [outbound]);
        assert_eq!(keys(with("192.0.2.1", "192.0.2.7:5080").unwrap_err()), [inbound, outbound]);
    }

    #[test]
    fn the_example_is_good_to_start_and_what_everybody_knows_in_it_is_noted() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sipedge.toml");
        let notes = |variable: Option<(&str, &str)>| {
            let variables = variable.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let config = Config::load(Some(file.as_ref()), variables).unwrap();
            judge(&config, Seed::from_number(1)).map(|c| c.notes().len()).map_err(|faults| faults.len())
        };
        assert_eq!(notes(None), Ok(3));
        assert_eq!(notes(Some(("SIPEDGE_HTTP__LISTEN", "0.0.0.0:1351"))), Err(1));
        assert_eq!(notes(Some(("SIPEDGE_SIP__LISTEN", "0.0.0.0:5080,[::]:5080"))), Err(1));
    }
}
