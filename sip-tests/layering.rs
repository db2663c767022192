//! Who may import whom: every file under `src/` is read, its paths are resolved, and each must be allowed by
//! the table below. Test modules (`#[cfg(test)]`, files ending in `tests.rs`) are left out.
//!
//! The checks work on tokens, so they see `use` trees, fully qualified paths and what stands inside macros.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder (or file) → what it may import besides itself. The longest matching entry counts.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("config", &["base"]),
    ("net", &["base"]),
    ("sdp", &["base"]),
    ("sip", &["base"]),
    ("sip::io", &["base", "net", "sip"]),
    ("peer", &["base"]),
    ("call", &["base", "sdp"]),
    ("media", &["base", "sdp", "peer", "call::port"]),
    ("media::io", &["base", "sdp", "peer", "call::port", "net", "media"]),
    ("registry", &["base", "call::route"]),
    ("ua", &["base", "sdp", "sip", "call", "registry"]),
    ("http", &["base", "net"]),
    ("edge::contract", &["base", "net", "sdp", "call", "registry", "http"]),
    ("edge::trunk", &["base", "net", "sdp", "call", "registry", "http", "edge::contract", "sip", "ua"]),
    ("edge::sipws", &["base", "net", "sdp", "call", "registry", "http", "edge::contract", "sip", "ua"]),
    ("edge::whatsapp", &["base", "net", "sdp", "call", "registry", "http", "edge::contract", "sip", "ua"]),
    ("edge::mod", &["edge"]),
    ("edge", &["base", "net", "sdp", "call", "registry", "http", "edge::contract"]),
    ("admin", &["base", "http", "registry", "call", "media::stats"]),
];

/// Files of the program itself, which may import everything.
const ANYTHING: &[&str] = &["app", "cli", "main", "lib"];

/// Crate → folders that alone may name it.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("toml", &["config"]),
    ("rustls", &["net"]),
    ("tokio_rustls", &["net"]),
    ("hickory_resolver", &["net"]),
    ("reqwest", &["net"]),
    ("rsip", &["sip"]),
    ("webrtc_ice", &["peer"]),
    ("webrtc_dtls", &["peer"]),
    ("stun", &["peer"]),
    ("webrtc_util", &["peer", "media"]),
    ("webrtc_srtp", &["media"]),
    ("rtp", &["media"]),
    ("rtcp", &["media"]),
    ("aes", &["media"]),
    ("ctr", &["media"]),
    ("dashmap", &["registry"]),
    ("axum", &["http", "edge", "admin"]),
    ("hyper", &["http", "net", "edge", "admin"]),
    ("hyper_util", &["http", "net", "edge", "admin"]),
    ("tungstenite", &["http", "edge", "admin"]),
    ("tonic", &["edge::terminal"]),
    ("prost", &["edge::terminal"]),
    ("libc", &["media", "net"]),
];

/// Paths and methods that reach for a socket, a task, the clock or entropy.
const IO_PATHS: &[&str] = &[
    "tokio::net",
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::spawn_blocking",
    "tokio::task::spawn_local",
    "tokio::time",
    "std::thread",
    "thread::spawn",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "socket2",
    "Instant::now",
    "SystemTime::now",
    "rand::rng",
    "rand::random",
    "rand::rngs::OsRng",
    "getrandom",
    "ring::rand::SystemRandom",
];
const IO_METHODS: &[&str] = &["spawn", "elapsed"];

/// Words that have no place on the packet path.
const HOT_WORDS: &[&str] = &[
    "Mutex",
    "RwLock",
    "mpsc",
    "channel",
    "Sender",
    "Receiver",
    "crossbeam",
    "format",
    "println",
    "eprintln",
    "write",
    "writeln",
    "String",
    "info",
    "debug",
    "warn",
    "error",
    "trace",
];

/// Files that the packets of every call pass through.
const HOT_FILES: &[&str] = &["media::relay", "media::srtp", "media::demux"];

/// The two adaptors whose crates have tasks and randomness of their own.
const ADAPTORS: &[&str] = &["peer::ice", "peer::dtls"];

/// Module path of a file below `src/`, with `mod` kept for the table of edges.
fn module_of(file: &Path) -> String {
    let text = file.with_extension("").to_string_lossy().replace('/', "::");
    if text == "edge::mod" { text } else { text.strip_suffix("::mod").map_or(text.clone(), str::to_owned) }
}

fn is_within(module: &str, folder: &str) -> bool {
    module == folder || module.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"))
}

/// Everything in a file that is not for tests.
fn tokens_of(source: &str) -> TokenStream {
    let file = syn::parse_file(source).expect("a source file parses");
    let mut kept = TokenStream::new();
    let is_test = |attributes: &[syn::Attribute]| {
        attributes
            .iter()
            .any(|a| a.path().is_ident("cfg") && a.meta.to_token_stream().to_string().contains("test"))
    };
    for item in file.items {
        let attributes = match &item {
            syn::Item::Mod(i) => &i.attrs,
            syn::Item::Fn(i) => &i.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Use(i) => &i.attrs,
            syn::Item::Const(i) => &i.attrs,
            syn::Item::Struct(i) => &i.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) {
            item.to_tokens(&mut kept);
        }
    }
    kept
}

/// All paths of a stream, `use` trees unfolded; and method calls as `.name`, macros as `name!`.
fn paths(stream: TokenStream, prefix: &str, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let punct = |i: usize, c: char| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == c);
    let mut i = 0;
    while i < tokens.len() {
        match &tokens[i] {
            TokenTree::Ident(ident) => {
                let is_method = i > 0 && punct(i - 1, '.') && !(i > 1 && punct(i - 2, '.'));
                let mut path =
                    if prefix.is_empty() || is_method { String::new() } else { format!("{prefix}::") };
                path.push_str(&ident.to_string());
                i += 1;
                while punct(i, ':') && punct(i + 1, ':') {
                    match tokens.get(i + 2) {
                        Some(TokenTree::Ident(next)) => {
                            path.push_str("::");
                            path.push_str(&next.to_string());
                            i += 3;
                        }
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            paths(group.stream(), &path, found);
                            i += 3;
                        }
                        _ => break,
                    }
                }
                if is_method {
                    path.insert(0, '.');
                } else if punct(i, '!') {
                    path.push('!');
                }
                found.push(path);
            }
            TokenTree::Group(group) => {
                paths(group.stream(), prefix, found);
                i += 1;
            }
            _ => i += 1,
        }
    }
}

/// A path as seen from the crate's root, if it leads into the crate.
fn resolve(module: &str, path: &str) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    let is_mod_file = module.ends_with("::mod");
    let mut rest = path;
    if let Some(inner) = path.strip_prefix("crate::").or_else(|| path.strip_prefix("sipedge::")) {
        return Some(inner.to_owned());
    }
    let mut supers = 0;
    while let Some(inner) = rest.strip_prefix("super::") {
        rest = inner;
        supers += 1;
    }
    if supers == 0 {
        return None;
    }
    if is_mod_file {
        at.pop();
    }
    for _ in 0..supers {
        at.pop();
    }
    at.push(rest);
    Some(at.join("::"))
}

/// What is wrong with one file.
fn check(file: &Path, source: &str) -> Vec<String> {
    let module = module_of(file);
    let name = file.display();
    if file.file_stem().is_some_and(|s| s.to_string_lossy().ends_with("tests")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    paths(tokens_of(source), "", &mut found);
    let top = module.split("::").next().unwrap_or_default();
    let is_program = ANYTHING.contains(&top);
    let may_do_io = is_program
        || file.file_name().is_some_and(|n| n == "io.rs")
        || file.components().any(|c| c.as_os_str() == "io")
        || ADAPTORS.iter().any(|a| is_within(&module, a));
    let allowed =
        MAY_IMPORT.iter().filter(|(folder, _)| is_within(&module, folder)).max_by_key(|(f, _)| f.len());
    let mut wrong = Vec::new();
    if !is_program && allowed.is_none() {
        wrong.push(format!("{name}: no row of the layering table names this folder"));
    }
    for path in &found {
        if let (Some(target), Some((folder, list)), false) = (resolve(&module, path), allowed, is_program) {
            let own = folder.strip_suffix("::mod").unwrap_or(folder);
            // an edge may import its own folder, not the other edges
            let own = if *folder == "edge" {
                module.splitn(3, "::").take(2).collect::<Vec<_>>().join("::")
            } else {
                own.to_owned()
            };
            let is_folder = MAY_IMPORT.iter().any(|(f, _)| is_within(&target, f));
            let is_fine = is_within(&target, &own)
                || list.iter().any(|l| is_within(&target, l) || is_within(l, &target) && !is_folder);
            if is_folder && !is_fine {
                wrong.push(format!("{name}: {module} may not import {target}"));
            }
        }
        let first = path.split("::").next().unwrap_or_default();
        if let Some((krate, owners)) = OWNED_CRATES.iter().find(|(k, _)| *k == first && path.contains("::")) {
            let is_local =
                fs::metadata(Path::new("src").join(file).with_file_name(format!("{krate}.rs"))).is_ok();
            if !is_program && !is_local && !owners.iter().any(|o| is_within(&module, o)) {
                wrong.push(format!("{name}: only {} may name the crate {krate} ({path})", owners.join(", ")));
            }
        }
        if path.starts_with("ring::aead") && !is_within(&module, "media") {
            wrong.push(format!("{name}: only media may name ring::aead"));
        }
        let is_io = IO_PATHS.iter().any(|p| is_within(path, p) || path.ends_with(&format!("::{p}")))
            || IO_METHODS.iter().any(|m| path.strip_prefix('.') == Some(m));
        if is_io && !may_do_io {
            wrong.push(format!("{name}: {path} belongs into io.rs, io/, app.rs or main.rs"));
        }
        let is_hot = HOT_FILES.iter().any(|h| is_within(&module, h));
        let words = || path.split("::").map(|w| w.trim_end_matches('!'));
        if is_hot && words().any(|w| HOT_WORDS.contains(&w)) && !path.starts_with('.') {
            let is_macro = path.ends_with('!');
            let macros_only = [
                "format", "println", "eprintln", "write", "writeln", "info", "debug", "warn", "error",
                "trace",
            ];
            if is_macro || words().any(|w| HOT_WORDS.contains(&w) && !macros_only.contains(&w)) {
                wrong.push(format!("{name}: {path} has no place on the packet path"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_keeps_to_its_layer() {
    let mut files = Vec::new();
    source_files(Path::new("src"), &mut files);
    assert!(files.len() > 30, "the sources are found");
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|path| check(path.strip_prefix("src").unwrap(), &fs::read_to_string(path).unwrap()))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn refused(file: &str, source: &str) -> bool {
    !check(Path::new(file), source).is_empty()
}

#[test]
fn a_forbidden_import_is_found_in_every_spelling() {
    assert!(refused("sdp/parse.rs", "use crate::call::leg::LegEvent;"));
    assert!(refused("sdp/parse.rs", "use crate::{base::Cause, call::leg};"));
    assert!(refused("sdp/parse.rs", "fn f() -> crate::media::X { todo() }"));
    assert!(refused("sdp/parse.rs", "fn f() { assert!(crate::media::X == 1) }"));
    assert!(refused("call/core.rs", "use super::super::sip::Method;"));
    assert!(refused("media/relay.rs", "use crate::call::core::Call;"));
    assert!(refused("registry/mod.rs", "use crate::call::leg::Party;"));
    assert!(refused("edge/wago/io.rs", "use crate::edge::trunk::X;"));
    assert!(refused("edge/wago/io.rs", "use crate::media::session::X;"));
    assert!(refused("edge/wago/io.rs", "use crate::sip::Method;"));
    assert!(refused("edge/trunk/io.rs", "use crate::media::X;"));
    assert!(refused("unheard_of/x.rs", "fn f() {}"));
}

#[test]
fn an_allowed_import_passes() {
    assert!(!refused("sdp/parse.rs", "use super::Media; use crate::base::Seed;"));
    assert!(!refused("media/relay.rs", "use crate::call::port::Codec;"));
    assert!(!refused(
        "edge/wago/io.rs",
        "use super::wire; use crate::edge::contract::Edge; use crate::call::io::Switch;"
    ));
    assert!(!refused("edge/trunk/io.rs", "use crate::sip::Method; use crate::ua::X;"));
    assert!(!refused("edge/mod.rs", "pub mod wago; use contract::Edge; const X: u8 = wago::EDGE;"));
    assert!(!refused("app.rs", "use crate::media::X; use crate::sip::Y;"));
}

#[test]
fn a_crate_is_named_by_its_owner_alone() {
    assert!(refused("call/core.rs", "use rsip::Method;"));
    assert!(refused("media/io.rs", "fn f() { webrtc_ice::agent::x() }"));
    assert!(refused("sip/mod.rs", "use axum::Router;"));
    assert!(refused("sip/digest.rs", "use ring::aead::AES_128_GCM;"));
    assert!(!refused("sip/mod.rs", "use rsip::Method;"));
    assert!(!refused("call/core.rs", "fn f(rtp: u8) -> u8 { rtp }"));
}

#[test]
fn a_socket_a_spawn_a_clock_or_entropy_outside_io_is_found() {
    for body in [
        "tokio::spawn(x())",
        "tokio::net::UdpSocket::bind(x)",
        "std::time::Instant::now()",
        "Instant::now()",
        "SystemTime::now()",
        "std::thread::spawn(x)",
        "start.elapsed()",
        "set.spawn(x)",
        "rand::rng()",
        "debug!(t = ?Instant::now())",
    ] {
        let source = format!("fn f() {{ {body}; }}");
        assert!(refused("call/core.rs", &source), "{body}");
        assert!(!refused("call/io.rs", &source), "{body}");
        assert!(!refused("sip/io/udp.rs", &source), "{body}");
    }
    assert!(!refused("call/core.rs", "#[cfg(test)] mod tests { fn f() { Instant::now(); } }"));
}

#[test]
fn a_lock_a_channel_or_a_format_on_the_packet_path_is_found() {
    for source in [
        "use std::sync::Mutex;",
        "fn f(x: &RwLock<u8>) {}",
        "use std::sync::mpsc;",
        "fn f() { let s = format!(\"{}\", 1); }",
        "fn f() { tracing::info!(\"x\"); }",
        "fn f(s: String) {}",
    ] {
        assert!(refused("media/relay.rs", source), "{source}");
        assert!(refused("media/srtp/cipher.rs", source), "{source}");
        assert!(!refused("media/session.rs", source), "{source}");
    }
}
