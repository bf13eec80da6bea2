use super::super::tests::servers::Scratch;
use super::*;
use rcgen::{CertificateParams, DnType, KeyPair};

fn certificate(name: &str) -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

const NOWHERE: HostPaths<'static> = HostPaths {
    files: &[],
    directories: &[],
};

fn built_in() -> usize {
    webpki_roots::TLS_SERVER_ROOTS.len()
}

/// How many are trusted with these variables, profile and host.
fn count(
    variables: &[(&str, &Path)],
    profile: Option<&Path>,
    host: &HostPaths<'_>,
) -> Result<usize, String> {
    let env = |name: &str| {
        let pair = variables.iter().find(|(known, _)| *known == name);
        pair.map(|(_, path)| path.display().to_string())
    };
    let profile = profile.map(|path| path.display().to_string());
    roots(&env, profile.as_deref(), host)
        .map(|store| store.len())
        .map_err(|error| error.to_string())
}

#[test]
fn without_anything_mozillas_are_trusted() {
    assert_eq!(count(&[], None, &NOWHERE), Ok(built_in()));
    assert!(built_in() > 100);
}

#[test]
fn the_hosts_are_added_without_duplicates() {
    let dir = Scratch::new();
    let (corp, other, third) = (certificate("Corp"), certificate("Other"), certificate("3"));
    let bundle = dir.file("bundle.crt", corp.pem() + &other.pem());
    let second = dir.file("second.crt", third.pem());
    let certs = dir.0.join("certs");
    dir.file("certs/corp.pem", corp.pem());
    dir.file("certs/third.pem", third.pem());
    dir.file("certs/README", "not a certificate");
    dir.file("certs/java/cacerts", "not looked at");
    std::os::unix::fs::symlink("third.pem", certs.join("abcdef01.0")).unwrap();
    let text = |path: &Path| path.display().to_string();
    let (absent, bundle, second, certs) = (
        text(&dir.0.join("absent")),
        text(&bundle),
        text(&second),
        text(&certs),
    );
    for (files, directories, more) in [
        (vec![&absent], vec![&absent], 0),
        (vec![&bundle], vec![], 2),
        // The first that there is.
        (vec![&absent, &bundle, &second], vec![], 2),
        (vec![&bundle], vec![&certs], 3),
        (vec![&absent], vec![&certs, &certs], 2),
    ] {
        let files: Vec<&str> = files.iter().map(|path| path.as_str()).collect();
        let directories: Vec<&str> = directories.iter().map(|path| path.as_str()).collect();
        let host = HostPaths {
            files: &files,
            directories: &directories,
        };
        assert_eq!(
            count(&[], None, &host),
            Ok(built_in() + more),
            "{files:?} {directories:?}"
        );
    }
}

#[test]
fn variables_replace_the_host_and_a_pinned_trust_stays_pinned() {
    let dir = Scratch::new();
    let host = dir.file("host/host.pem", certificate("Host").pem());
    let one = dir.file("one.pem", certificate("One").pem());
    let two = certificate("Two").pem() + &certificate("Three").pem();
    let two = dir.file("two/two.pem", two);
    let (host_directory, two_directory) = (host.parent().unwrap(), two.parent().unwrap());
    let host = HostPaths {
        files: &[host.to_str().unwrap()],
        directories: &[host_directory.to_str().unwrap()],
    };
    let bundle = ("AWS_CA_BUNDLE", one.as_path());
    let file = ("SSL_CERT_FILE", one.as_path());
    let directory = ("SSL_CERT_DIR", two_directory);
    let list = format!("/nowhere:{}", two_directory.display());
    let directories = ("SSL_CERT_DIR", Path::new(&list));
    for (variables, profile, expected) in [
        (&[][..], None, built_in() + 1),
        (&[bundle][..], None, 1),
        (&[bundle, directory][..], Some(two.as_path()), 1),
        (&[][..], Some(two.as_path()), 2),
        (&[file, directory][..], Some(two.as_path()), 2),
        // One of the two leaves the other part of the host's, as with Go.
        (&[file][..], None, 2),
        (&[directory][..], None, 3),
        (&[directories][..], None, 3),
        (&[file, directory][..], None, 3),
        (
            &[("SSL_CERT_FILE", Path::new(" "))][..],
            None,
            built_in() + 1,
        ),
    ] {
        assert_eq!(
            count(variables, profile, &host),
            Ok(expected),
            "{variables:?}"
        );
    }
}

#[test]
fn a_broken_file_among_good_ones_is_passed_over() {
    let dir = Scratch::new();
    let good = certificate("Good").pem();
    let cut = &good[..200];
    let not_der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let not_base64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    dir.file("cut.pem", cut);
    dir.file("not_der.pem", not_der);
    dir.file("not_base64.pem", not_base64);
    dir.file("binary.der", [0xff, 0, 0x30, 0x82]);
    dir.file("large.pem", vec![b'x'; 4 * 1024 * 1024 + 1]);
    let directory = dir.0.display().to_string();
    let mut mkfifo = std::process::Command::new("mkfifo");
    assert!(mkfifo.arg(dir.0.join("pipe")).status().unwrap().success());
    let host = HostPaths {
        files: &[],
        directories: &[&directory],
    };
    assert_eq!(count(&[], None, &host), Ok(built_in()));
    dir.file("mixed.pem", [not_der, not_base64, &good, cut].concat());
    assert_eq!(count(&[], None, &host), Ok(built_in() + 1));
    let mixed = dir.0.join("mixed.pem");
    assert_eq!(count(&[("AWS_CA_BUNDLE", &mixed)], None, &host), Ok(1));
}

#[test]
fn what_is_named_must_be_of_use() {
    let dir = Scratch::new();
    let pem = certificate("Good").pem();
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (path, reason) in [
        (dir.file("key.pem", key), "holds no certificate;"),
        (dir.file("empty.pem", ""), "holds no certificate;"),
        (
            dir.file("cut.pem", &pem[..200]),
            "holds no certificate that is not damaged;",
        ),
        (dir.0.join("absent.pem"), "cannot be read (No such file"),
        (PathBuf::from("/dev/zero"), "cannot be read (not a file)"),
        (dir.0.clone(), "cannot be read (not a file)"),
        (
            dir.file("large.pem", vec![0; 4 * 1024 * 1024 + 1]),
            "too large",
        ),
    ] {
        for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
            let error = count(&[(variable, &path)], None, &NOWHERE).unwrap_err();
            assert!(error.starts_with(variable), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let error = count(&[], Some(&path), &NOWHERE).unwrap_err();
        assert!(error.starts_with("ca_bundle"), "{error}");
    }
    // There would be no root at all.
    let error = count(&[("SSL_CERT_DIR", Path::new("/nowhere"))], None, &NOWHERE);
    assert!(error.unwrap_err().starts_with("SSL_CERT_DIR"));
}

#[test]
fn what_is_wrong_is_told_in_one_line_and_cut() {
    let mut store = TrustStore::new();
    store.wrong = (0..9).map(|n| format!("{n}.pem: damaged")).collect();
    let told = store.told().unwrap();
    assert!(
        told.ends_with("0.pem: damaged; 1.pem: damaged; 2.pem: damaged and 6 more"),
        "{told}"
    );
    assert_eq!(TrustStore::new().told(), None);
}
