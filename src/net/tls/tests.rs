//! Handshakes in memory, with certificates made here.

use super::fixtures::{Authority, Folder, of_its_own};
use super::*;
use rcgen::CertificateParams;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the server saw of the client, or why the client gave up.
async fn meet(acceptor: &Acceptor, connector: &Connector) -> Result<Option<Presented>, String> {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let accepting = async {
        let mut stream = acceptor.accept(theirs).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        std::io::Result::Ok(Presented::by(&stream))
    };
    let connecting = async {
        let mut stream = connector.connect(ours).await?;
        let mut word = [0; 5];
        stream.read_exact(&mut word).await?;
        std::io::Result::Ok(())
    };
    let (accepted, connected) = tokio::join!(accepting, connecting);
    connected.map_err(|error| explain(&error))?;
    Ok(accepted.unwrap())
}

fn connector(folder: &Folder, believed: &str, name: &str, own: Option<Arc<Identity>>) -> Connector {
    let authorities = Authorities::from_file(&folder.file("ca.pem", believed)).unwrap();
    Connector::new(name, authorities, own).unwrap()
}

#[test]
fn a_file_of_no_use_is_named_with_the_reason() {
    let missing = Identity::from_files(Path::new("/nonexistent/x.pem"), Path::new("/nonexistent/y.pem"));
    assert!(missing.unwrap_err().to_string().starts_with("cannot read /nonexistent/x.pem: "));
    let folder = Folder::new("no-use");
    let file = folder.file("x.pem", "no PEM at all");
    let empty = Identity::from_files(&file, &file).unwrap_err().to_string();
    assert!(empty.ends_with("it has no certificate in PEM form"), "{empty}");
    let none = Authorities::from_file(&file).unwrap_err().to_string();
    assert!(none.ends_with("it has no certificate in PEM form"), "{none}");
    let (one, other) = (of_its_own("a"), of_its_own("b"));
    let mixed =
        Identity::from_files(&folder.file("a.pem", &one.0), &folder.file("b.key", &other.1)).unwrap_err();
    assert!(mixed.to_string().starts_with("certificate and key cannot be used: "), "{mixed}");
    assert!(Identity::self_signed("s", &["192.0.2.7".parse().unwrap()], SystemTime::now()).is_ok());
}

#[tokio::test]
async fn who_an_authority_signed_is_believed_by_the_name_it_has_and_by_an_address() {
    let (folder, authority) = (Folder::new("signed"), Authority::new());
    for (has, wanted, is_believed) in [
        ("pbx.example", "pbx.example", true),
        ("192.0.2.1", "192.0.2.1", true),
        ("2001:db8::1", "2001:db8::1", true),
        ("pbx.example", "other.example", false),
        ("pbx.example", "192.0.2.1", false),
        ("192.0.2.1", "192.0.2.2", false),
    ] {
        let pbx = folder.identity("pbx", &authority.signs(has, |_| {}));
        let acceptor = Acceptor::for_sip(pbx).unwrap();
        let met = meet(&acceptor, &connector(&folder, &authority.0.pem(), wanted, None)).await;
        match met {
            Ok(_) => assert!(is_believed, "{has} for {wanted}"),
            Err(why) => {
                assert!(!is_believed && why.contains("tls_name"), "{why}");
                assert!(why.contains(&format!("is for {has}, not for {wanted}:")), "{why}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_believed_without_an_authority_and_who_signed_itself_only_when_it_is_named() {
    let (folder, authority) = (Folder::new("itself"), Authority::new());
    let own = of_its_own("whatever.example");
    let acceptor = Acceptor::for_sip(folder.identity("pbx", &own)).unwrap();
    let other = connector(&folder, &authority.0.pem(), "whatever.example", None);
    let why = meet(&acceptor, &other).await.unwrap_err();
    assert!(why.contains("signed by itself") && why.contains("tls_ca"), "{why}");
    let signed = authority.signs("pbx.example", |_| {});
    let signed = Acceptor::for_sip(folder.identity("pbx", &signed)).unwrap();
    let why = meet(&signed, &connector(&folder, &own.0, "pbx.example", None)).await.unwrap_err();
    assert!(why.contains("signed by nobody we believe") && why.contains("tls_ca"), "{why}");
    // itself, and whatever it is called: it is that very certificate
    assert!(meet(&acceptor, &connector(&folder, &own.0, "pbx.example", None)).await.is_ok());
    let another = Acceptor::for_sip(folder.identity("pbx", &of_its_own("whatever.example"))).unwrap();
    assert!(meet(&another, &connector(&folder, &own.0, "whatever.example", None)).await.is_err());
}

#[tokio::test]
async fn one_that_has_expired_or_is_for_clients_is_told_so() {
    let (folder, authority) = (Folder::new("expired"), Authority::new());
    let old = |p: &mut CertificateParams| {
        (p.not_before, p.not_after) = (rcgen::date_time_ymd(2_020, 1, 1), rcgen::date_time_ymd(2_021, 1, 1));
    };
    let client = |p: &mut CertificateParams| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let expired = authority.signs("pbx.example", old);
    for (pair, word) in
        [(expired.clone(), "has expired"), (authority.signs("pbx.example", client), "not one of a server")]
    {
        let acceptor = Acceptor::for_sip(folder.identity("pbx", &pair)).unwrap();
        let why = meet(&acceptor, &connector(&folder, &authority.0.pem(), "pbx.example", None)).await;
        assert!(why.as_ref().is_err_and(|why| why.contains(word)), "{why:?}");
    }
    // also one that is named itself
    let acceptor = Acceptor::for_sip(folder.identity("pbx", &expired)).unwrap();
    let why = meet(&acceptor, &connector(&folder, &expired.0, "pbx.example", None)).await.unwrap_err();
    assert!(why.contains("has expired"), "{why}");
}

#[tokio::test]
async fn a_client_shows_what_it_has_and_is_held_against_what_we_would_believe_of_it() {
    let (folder, authority) = (Folder::new("mutual"), Authority::new());
    let pbx = folder.identity("pbx", &authority.signs("pbx.example", |_| {}));
    let edge = folder.identity("edge", &authority.signs("edge.example", |_| {}));
    let acceptor = Acceptor::for_sip(pbx).unwrap();
    let nothing = meet(&acceptor, &connector(&folder, &authority.0.pem(), "pbx.example", None)).await;
    assert!(nothing.unwrap().is_none());
    let with_own = connector(&folder, &authority.0.pem(), "pbx.example", Some(edge));
    let shown = meet(&acceptor, &with_own).await.unwrap().unwrap();
    let now = SystemTime::now();
    let believes = |name, believed: &str| connector(&folder, believed, name, None).believes(&shown, now);
    assert!(believes("edge.example", &authority.0.pem()));
    assert!(!believes("other.example", &authority.0.pem()));
    assert!(!believes("edge.example", &Authority::new().0.pem()));
}

#[tokio::test]
async fn new_files_hold_for_new_connections_and_bad_ones_change_nothing() {
    let (folder, authority) = (Folder::new("reload"), Authority::new());
    let pbx = folder.identity("pbx", &authority.signs("old.example", |_| {}));
    let acceptor = Acceptor::for_sip(pbx.clone()).unwrap();
    let of_http = Acceptor::for_http(pbx.clone()).unwrap();
    let mut watch = Watch::default();
    watch.add("sip.tls_certificate", pbx);
    assert!(watch.look().is_empty());
    let ca = authority.0.pem();
    let (old, new) =
        (connector(&folder, &ca, "old.example", None), connector(&folder, &ca, "new.example", None));

    let (certificate, key) = authority.signs("new.example", |_| {});
    folder.file("pbx.pem", &certificate);
    assert!(watch.look().is_empty(), "its key may yet be on its way");
    let mixed = watch.look();
    assert!(mixed.len() == 1 && mixed[0].result.is_err());
    assert!(watch.look().is_empty(), "told once");
    assert!(meet(&acceptor, &old).await.is_ok());

    folder.file("pbx.key", &key);
    watch.look();
    assert!(watch.look()[0].result.is_ok());
    for acceptor in [&acceptor, &of_http] {
        assert!(meet(acceptor, &new).await.is_ok());
        assert!(meet(acceptor, &old).await.is_err());
    }
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_a_change_and_a_file_that_is_gone_is_none_worth_having() {
    let (folder, authority) = (Folder::new("link"), Authority::new());
    let link = folder.0.join("live.pem");
    let one = folder.file("one.pem", &authority.0.pem());
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let authorities = Authorities::from_file(&link).unwrap();
    let mut watch = Watch::default();
    watch.add("trunk.pbx.tls_ca", authorities.clone());
    let other = of_its_own("pbx.example");
    let acceptor = Acceptor::for_sip(folder.identity("pbx", &other)).unwrap();
    let connector = Connector::new("pbx.example", authorities, None).unwrap();
    assert!(meet(&acceptor, &connector).await.is_err());
    std::fs::remove_file(&link).unwrap();
    watch.look();
    assert!(watch.look()[0].result.is_err());
    std::os::unix::fs::symlink(folder.file("two.pem", &other.0), &link).unwrap();
    watch.look();
    assert!(watch.look()[0].result.is_ok());
    assert!(meet(&acceptor, &connector).await.is_ok());
}

#[test]
fn what_an_alert_means_is_said_with_its_remedy() {
    let said = |error: rustls::Error| explain(&std::io::Error::new(std::io::ErrorKind::InvalidData, error));
    let alert = |a| said(rustls::Error::AlertReceived(a));
    assert!(alert(rustls::AlertDescription::UnknownCA).contains("sip.tls_certificate"));
    assert!(alert(rustls::AlertDescription::CertificateRequired).contains("sip.tls_key"));
    assert!(alert(rustls::AlertDescription::HandshakeFailure).contains("HandshakeFailure"));
    let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    assert!(said(plain).contains("TLS port"));
    assert_eq!(explain(&std::io::ErrorKind::TimedOut.into()), "timed out");
}
