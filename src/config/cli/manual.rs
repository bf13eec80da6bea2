//! The manual page xray(1), made from the table of flags. Only packaging calls this: the linker
//! leaves it out of the daemon.

use std::fmt::Write as _;

use super::commands::COMMANDS;
use super::flags::{FLAGS, Flag};

/// The text around the options. Everything that a flag decides is in the table of flags.
const BEFORE_OPTIONS: &str = r#"
.SH DESCRIPTION
.B xray
receives the segments that X\-Ray SDKs send by UDP, and delivers them to AWS X\-Ray in signed
batches.
What cannot be delivered at once is held in bounded memory and sent again.
On the TCP port it answers the sampling calls of the SDKs by passing them on, signed, and it answers
.I /healthz
and
.IR /metrics .
.PP
It takes the place of the official AWS X\-Ray daemon: the same flags, the same configuration file and
the same ports.
Flags follow the grammar of Go: one dash or two, a value in the next word or behind an equals sign,
and the last one wins when a flag is repeated.
A switch takes its value only behind an equals sign, as in
.BR \-o=false .
"#;

const AFTER_OPTIONS: &str = r#"
.SH FILES
.TP
.I /etc/amazon/xray/cfg.yaml
The configuration; where it is missing,
.I ./cfg.yaml
is read.
With
.B \-c
the other file counts, but this one must still be without errors.
A flag wins over the file, the file over the environment.
.TP
.I ~/.aws/config\fR, \fI~/.aws/credentials
Profiles, as the AWS command line has them.
.SH ENVIRONMENT
.TP
.BR AWS_REGION ", " AWS_DEFAULT_REGION
The region, where neither a flag nor the file names it.
.TP
.BR AWS_ACCESS_KEY_ID ", " AWS_SECRET_ACCESS_KEY ", " AWS_SESSION_TOKEN
Credentials.
Roles of ECS tasks, Kubernetes service accounts and EC2 instances need no variable to be set by hand.
.TP
.BR AWS_PROFILE ", " AWS_CONFIG_FILE ", " AWS_SHARED_CREDENTIALS_FILE
The profile, and the files that hold it.
.TP
.BR HTTPS_PROXY ", " NO_PROXY
The proxy on the way to AWS, and the names that are reached without it.
.TP
.B AWS_CA_BUNDLE
Certificates to trust in place of all others.
.SH SIGNALS
.B SIGTERM
and
.B SIGINT
end the daemon: it keeps receiving for the shutdown delay, then delivers what it holds within the
shutdown timeout.
A second signal ends it at once.
.SH EXIT STATUS
.TP
.B 0
The daemon was asked to stop, or the command succeeded.
.TP
.B 1
The configuration cannot work, no region was found, a port is taken, the daemon that
.B healthcheck
asked is not well, or
.B check
found that segments would not reach X\-Ray.
.TP
.B 2
The command line cannot be understood.
.PP
.B exec
ends with the status of the program that it runs: 128 and the number of a signal that ended it, 126 if
it cannot be started, 127 if it is not there.
.SH SEE ALSO
https://github.com/xray\-daemon/xray
"#;

/// xray(1) in the macros of man(7), ending in a newline.
#[must_use]
pub fn manual() -> String {
    let mut page = format!(
        ".TH XRAY 1 \"\" \"xray {version}\" \"User Commands\"\n\
         .SH NAME\nxray \\- receive segments and send them to AWS X\\-Ray\n\
         .SH SYNOPSIS\n.B xray\n.RI [ options ]\n",
        version = escaped(env!("CARGO_PKG_VERSION"))
    );
    // Writing to a String cannot fail, here and below.
    for word in COMMANDS {
        let (name, arguments) = (escaped(word.name), escaped(word.arguments));
        let _ = writeln!(page, ".br\n.B xray {name}\n.I {arguments}");
    }
    page.push_str(BEFORE_OPTIONS.trim_start_matches('\n'));
    page.push_str(".SH COMMANDS\n");
    for word in COMMANDS {
        let _ = writeln!(
            page,
            ".TP\n.B {}\n{}",
            escaped(word.name),
            sentence(word.summary)
        );
    }
    page.push_str(".SH OPTIONS\n");
    for flag in FLAGS {
        let _ = writeln!(page, ".TP\n{}\n{}", term(flag), escaped(flag.help));
    }
    page.push_str(AFTER_OPTIONS.trim_start_matches('\n'));
    page
}

/// `-n, --region REGION`, in bold and italics.
fn term(flag: &Flag) -> String {
    let mut term = String::from("\\fB");
    if !flag.short.is_empty() {
        let _ = write!(term, "\\-{}\\fR, \\fB", escaped(flag.short));
    }
    let _ = write!(term, "\\-\\-{}\\fR", escaped(flag.name));
    if let Some(placeholder) = flag.placeholder() {
        let _ = write!(term, " \\fI{}\\fR", escaped(placeholder));
    }
    term
}

/// A line of text: roff takes a backslash for a command, a leading dot for a request, and a bare
/// dash for a hyphen that may be typeset as another character.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// The help of a command as a sentence of the page.
fn sentence(help: &str) -> String {
    let mut letters = help.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    escaped(&format!(
        "{}{}.",
        first.map_or_else(String::new, String::from),
        letters.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_and_command_is_in_the_page() {
        let page = manual();
        for flag in FLAGS {
            assert!(
                page.contains(&format!(".TP\n{}\n", term(flag))),
                "{}",
                flag.name
            );
            assert!(page.contains(&escaped(flag.help)), "{}", flag.name);
        }
        for word in COMMANDS {
            let name = word.name;
            assert!(page.contains(&format!(".B {name}\n")), "{name}");
        }
    }

    #[test]
    fn text_cannot_become_a_request() {
        assert_eq!(escaped(".TH x"), "\\&.TH x");
        assert_eq!(escaped("'br"), "\\&'br");
        assert_eq!(escaped("a\\b -c"), "a\\eb \\-c");
    }

    #[test]
    fn a_term_has_both_names_and_the_placeholder() {
        let flag = FLAGS.iter().find(|flag| flag.name == "region").unwrap();
        assert_eq!(
            term(flag),
            "\\fB\\-n\\fR, \\fB\\-\\-region\\fR \\fIREGION\\fR"
        );
        let flag = FLAGS.iter().find(|flag| flag.name == "log-format").unwrap();
        assert_eq!(term(flag), "\\fB\\-\\-log\\-format\\fR \\fIFORMAT\\fR");
    }
}
