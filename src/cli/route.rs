//! `sipedge route NUMBER --from SOURCE`.

use crate::app::Configured;
use crate::base::Excerpt;
use crate::call::route::{Place, RouteQuery, Source, Step, Target};
use crate::cli::{EXIT_USAGE, say};
use crate::edge::wago;
use crate::registry::{Explanation, read_source};
use clap::Args;
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The number or name that is called
    number: String,
    /// Who calls: account.NAME or trunk.NAME, or the name alone where it is clear
    #[arg(long, value_name = "SOURCE")]
    from: String,
}

pub(super) fn run(arguments: &Arguments, configured: &Configured) -> ExitCode {
    let sources = configured.sources();
    let source = match find(&arguments.from, &sources) {
        Ok(source) => source,
        Err(remedy) => {
            say::complain(format_args!("--from: {remedy}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let query = match ask(source, &arguments.number) {
        Ok(query) => query,
        Err(refusal) => return say::answer(&refusal, ExitCode::FAILURE),
    };
    let lines = configured.explain(&query);
    let text = describe(&arguments.number, &query, &lines, &|target| configured.condition(target));
    let is_routed = lines.iter().any(|line| line.outcome.is_ok());
    say::answer(&text, if is_routed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is looked up when a source dials a text: an account does so by the call API, which leaves separators out.
fn ask(source: Source, dialled: &str) -> Result<RouteQuery, String> {
    let to = match source {
        Source::Account(_) => wago::dialled(dialled),
        Source::Trunk(_) | Source::Local(_) => Some(dialled.to_owned()),
    };
    let refusal = || {
        format!(
            "{} from {source}\nno call: the API takes 1 to 64 digits, letters and any of + * # _ . -\n",
            Excerpt(dialled)
        )
    };
    Ok(RouteQuery { to: to.ok_or_else(refusal)?, source })
}

/// The source of that name, with or without its kind.
fn find(text: &str, sources: &[Source]) -> Result<Source, String> {
    let named: Vec<&Source> = match read_source(text) {
        Ok(source) => sources.iter().filter(|s| **s == source).collect(),
        Err(()) => sources
            .iter()
            .filter(|s| matches!(s, Source::Account(name) | Source::Trunk(name) if name == text))
            .collect(),
    };
    let list = |sources: &[&Source]| sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match named.as_slice() {
        [source] => Ok((*source).clone()),
        [] if sources.is_empty() => Err("no account and no trunk is configured".to_owned()),
        [] => Err(format!("no such source; there are: {}", list(&sources.iter().collect::<Vec<_>>()))),
        several => Err(format!("write one of: {}", list(several))),
    }
}

/// What must be so for a target to be reached.
type Condition<'a> = &'a dyn Fn(&Target) -> Option<&'static str>;

/// One line a rule, and the verdict.
fn describe(dialled: &str, query: &RouteQuery, lines: &[Explanation], condition: Condition<'_>) -> String {
    let mut text = format!("{} from {}\n", Excerpt(dialled), query.source);
    if query.to != dialled {
        let _ = writeln!(text, "  the call API leaves separators out: {} is looked up", query.to);
    }
    let width = lines.iter().map(|line| line.rule.len()).max().unwrap_or(0);
    let mut steps = 0;
    for Explanation { rule, outcome } in lines {
        // writing into a String cannot fail
        let _ = match outcome {
            Ok(step) => {
                steps += 1;
                writeln!(text, "  {rule:width$}  {steps}. {}", rings(step, condition))
            }
            Err(why) => writeln!(text, "  {rule:width$}  -  {why}"),
        };
    }
    text.push_str(match steps {
        0 => "no route: the caller hears 404\n",
        1 => "",
        _ => "each is tried when the one before is busy, does not answer, or cannot be reached\n",
    });
    text
}

fn rings(step: &Step, condition: Condition<'_>) -> String {
    let place = |place: &Place| match place {
        Place::Target(target) => {
            let when = condition(target).map_or_else(String::new, |when| format!(" ({when})"));
            format!("{}.{} as {}{when}", target.edge, target.name, target.number)
        }
        Place::Account { name, .. } => format!("everything that account.{name} has"),
    };
    let places: Vec<String> = step.places.iter().map(place).collect();
    let ring =
        step.ring_timeout.map_or_else(String::new, |t| format!(", for {}", humantime::format_duration(t)));
    let words: Vec<&str> = step.when.iter().map(|occasion| occasion.as_str()).collect();
    let when = if words.is_empty() { String::new() } else { format!(" when {}", words.join(" or ")) };
    format!("rings {}{ring}{when}", places.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::route::Occasion;
    use std::time::Duration;

    #[test]
    fn a_source_is_found_by_its_name_alone_unless_two_have_it() {
        let sources =
            [Source::Account("anna".into()), Source::Account("pbx".into()), Source::Trunk("pbx".into())];
        assert_eq!(find("anna", &sources), Ok(sources[0].clone()));
        assert_eq!(find("trunk.pbx", &sources), Ok(sources[2].clone()));
        assert_eq!(find("pbx", &sources), Err("write one of: account.pbx, trunk.pbx".into()));
        let none = find("bert", &sources).unwrap_err();
        assert_eq!(none, "no such source; there are: account.anna, account.pbx, trunk.pbx");
        assert_eq!(find("trunk.anna", &sources).unwrap_err(), none);
        assert!(find("anna", &[]).is_err());
    }

    #[test]
    fn a_number_is_looked_up_as_the_door_reads_it_that_its_source_comes_by() {
        let account = || Source::Account("anna".into());
        let query = ask(account(), "55 11-4000").unwrap();
        assert_eq!(query, RouteQuery { source: account(), to: "55114000".into() });
        let text = describe("55 11-4000", &query, &[], &|_| None);
        assert!(
            text.starts_with(
                "55 11-4000 from account.anna\n  the call API leaves separators out: 55114000 is looked up\n"
            ),
            "{text}"
        );
        let trunk = ask(Source::Trunk("pbx".into()), "55 11-4000").unwrap();
        assert_eq!(trunk.to, "55 11-4000");
        assert!(ask(account(), "").is_err() && ask(account(), "a/b").is_err());
    }

    #[test]
    fn every_rule_has_a_line_that_says_what_it_does_or_why_not() {
        let query = RouteQuery { source: Source::Trunk("pbx".into()), to: "1001".into() };
        let target = Target { edge: "trunk", name: "isp".into(), number: "1001".into(), place: None };
        let account = Place::Account { name: "anna".into(), number: "1001".into() };
        let line = |rule: &str, outcome| Explanation { rule: rule.into(), outcome };
        let lines = [
            line("route[1]", Err("number 6?? does not match".into())),
            line(
                "route[2]",
                Ok(Step {
                    places: vec![account],
                    ring_timeout: Some(Duration::from_secs(20)),
                    ..Step::default()
                }),
            ),
            line(
                "route[3]",
                Ok(Step {
                    places: vec![Place::Target(target)],
                    when: vec![Occasion::Busy, Occasion::NoAnswer],
                    ..Step::default()
                }),
            ),
        ];
        assert_eq!(
            describe("1001", &query, &lines, &|_| None),
            "1001 from trunk.pbx\n\
            \x20 route[1]  -  number 6?? does not match\n\
            \x20 route[2]  1. rings everything that account.anna has, for 20s\n\
            \x20 route[3]  2. rings trunk.isp as 1001 when busy or no-answer\n\
            each is tried when the one before is busy, does not answer, or cannot be reached\n"
        );
        let registers = |target: &Target| (target.name == "isp").then_some("while it is registered");
        assert!(
            describe("1001", &query, &lines, &registers)
                .contains("rings trunk.isp as 1001 (while it is registered) when busy or no-answer\n")
        );
        assert_eq!(
            describe("1001", &query, &[], &|_| None),
            "1001 from trunk.pbx\nno route: the caller hears 404\n"
        );
    }
}
