//! A person at a terminal looks at fingerprints before a key is trusted.

use std::path::Path;
use tests::terminal::Terminal;
use tests::{Rkt, root_test_once};

/// Shows the key and gives these answers, each once the words before it are on the screen.
fn answered(rkt: &Rkt, answers: &[(&str, &str)]) -> String {
    let terminal = Terminal::new(24, 200);
    let call = terminal.start(rkt);
    for (words, answer) in answers {
        terminal.until(words);
        terminal.press(format!("{answer}\n").as_bytes());
    }
    let (code, _) = call.end();
    let text = terminal.text();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("8D88 E4D1"),
        "no fingerprint to look at\n{text}"
    );
    text
}

root_test_once! {
    fn a_key_is_trusted_when_the_person_says_yes(s) {
        let key = s.write("key.asc", include_str!("../../fixtures/trust/one.asc")).display().to_string();
        let stored = s.at("etc/trustedkeys/prefix.d/example.com/8d88e4d1d40ce7075a9590a70abca27ce5f16354");
        let call = Rkt::secure(s).args(["trust", "--prefix=example.com", &key]);
        let sure = "trust this key (yes/no)?";
        let text = answered(&call, &[(sure, "perhaps"), ("Please enter 'yes' or 'no'", "no")]);
        assert!(text.contains("not trusting"), "{text}");
        assert!(!Path::new(&stored).exists(), "a no was taken for a yes\n{text}");
        let text = answered(&call, &[(sure, "yes")]);
        assert!(text.contains("for prefix \"example.com\" after fingerprint review."), "{text}");
        assert!(Path::new(&stored).exists(), "{text}");
    }
}
