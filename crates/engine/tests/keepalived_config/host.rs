//! What is said about a machine that lacks what a file asks for: one golden text for each code.

use std::net::IpAddr;

use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{Host, Program, inspect};
use mainstay_engine::plan::ScriptUser;

use crate::config_support;
use crate::support::SURROUNDINGS;

/// A file for the machine below, with `lines` in its instance.
fn file(lines: &str) -> String {
    format!(
        "global_defs {{\n  script_user root\n}}\nvrrp_script chk {{\n  script \"/fine arg\"\n}}\nvrrp_instance V {{\n  \
         interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {{\n    192.0.2.10/24\n  }}\n  track_script {{\n    \
         chk\n  }}\n{lines}\n}}\n"
    )
}

/// A name that starts with the code it shows, and the text that brings it up.
pub(crate) fn cases() -> Vec<(&'static str, String)> {
    let script = |command: &str| file("").replace("/fine arg", command);
    vec![
        (
            "K073-no-interface",
            file("").replace("eth0", "eth7").replace("192.0.2.10/24", "192.0.2.10 dev br0")
                + &file("  track_interface {\n    eth1\n    eth8 weight 5\n  }")
                    .replace("V {", "W {")
                    .replace("chk {", "two {"),
        ),
        ("K074-no-program", script("/gone/check.sh")),
        ("K075-not-executable", script("/plain")),
        ("K076-exposed-script", script("/srv/exposed")),
        (
            "K076-script-security",
            script("/srv/exposed").replace("script_user root", "script_user root\n  enable_script_security"),
        ),
        ("K077-outside-subnet", file("  virtual_ipaddress_excluded {\n    198.51.100.1/24\n  }")),
        (
            "K077-outside-own-network",
            file("  unicast_src_ip 10.0.0.1\n  unicast_peer {\n    10.0.0.2\n  }").replace("eth0", "eth7"),
        ),
        ("K078-foreign-source", file("  unicast_src_ip 192.0.2.77\n  unicast_peer {\n    192.0.2.2\n  }")),
        ("K079-no-account", file("").replace("script_user root", "script_user strange")),
        ("K079-no-account-of-its-own", file("").replace("\"\n}", "\"\n  user strange\n}")),
    ]
}

fn look(text: &str, runs_here: bool) -> (Sources, Vec<Diagnostic>) {
    let network = |text: &str, length| (text.parse::<IpAddr>().expect("an address"), length);
    let interface = |name: &str| match name {
        "eth0" => Some(vec![network("fe80::1", 64), network("192.0.2.10", 24), network("192.0.2.5", 24)]),
        "eth1" => Some(Vec::new()),
        _ => None,
    };
    let program = |program: &str, user: Option<&ScriptUser>| match (program, user) {
        (_, Some(user)) if user.user == "strange" => {
            Program::NoAccount("there is no user `strange`".to_owned())
        }
        ("/gone/check.sh", _) => Program::Missing("there is no such file".to_owned()),
        ("/plain", _) => Program::NotExecutable,
        ("/srv/exposed", _) => Program::Exposed { path: "/srv".to_owned(), to: "everybody".to_owned() },
        _ => Program::Fine,
    };
    let mut sources = Sources::default();
    let id = sources.add("keepalived.conf", text);
    let host = Host { interface: &interface, program: &program, runs_here };
    let found = inspect(&sources, &[id], Some(&host), &SURROUNDINGS);
    (sources, found)
}

#[test]
fn what_a_machine_lacks_is_named() {
    for (name, text) in cases() {
        let (sources, found) = look(&text, false);
        let said = config_support::report(&sources, &found);
        let code = name.get(..4).expect("a code");
        assert!(found.iter().any(|found| found.code == code), "{name}:\n{said}");
        assert!(
            found.iter().all(|found| found.level == Level::Warning),
            "another machine may have it:\n{said}"
        );
        insta::with_settings!({ description => text.clone(), omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, said);
        });
    }
}

#[test]
fn a_machine_that_has_everything_is_not_named() {
    for lines in [
        "",
        "  unicast_src_ip 192.0.2.5\n  unicast_peer {\n    192.0.2.6\n  }",
        "  virtual_ipaddress_excluded {\n    10.0.0.1/8 dev eth1\n  }",
        "  track_interface {\n    eth1\n  }",
    ] {
        let (sources, found) = look(&file(lines), true);
        assert!(found.is_empty(), "{}", config_support::report(&sources, &found));
    }
    let asked_instead = file("").replace("/fine arg", "killall -0 haproxy");
    assert!(look(&asked_instead, true).1.is_empty(), "mainstay's own data plane is asked, not a program");
}

/// Where a script can be changed by others and the file asks for security, nothing is run; everything else only warns.
#[test]
fn only_script_security_keeps_a_configuration_from_running() {
    for (name, text) in cases() {
        let refused = look(&text, true).1.iter().any(|found| found.level == Level::Error);
        assert_eq!(refused, name == "K076-script-security", "{name}");
    }
}

/// Without a machine to look at, only the texts count.
#[test]
fn a_file_for_another_machine_is_held_against_itself() {
    for (name, text) in cases() {
        let mut sources = Sources::default();
        let id = sources.add("keepalived.conf", text);
        let found = inspect(&sources, &[id], None, &SURROUNDINGS);
        let codes: Vec<_> = found.iter().map(|found| found.code).collect();
        let expected: &[&str] = if name == "K077-outside-own-network" { &["K077"] } else { &[] };
        assert_eq!(codes, expected, "{name}");
    }
}
