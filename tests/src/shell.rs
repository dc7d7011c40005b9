//! Short scripts of tests: `sh -ec`, with nothing on stdin.

use std::process::{Command, Stdio};

/// What the script printed, or what it had to say of its failure.
pub fn sh_may(script: &str) -> Result<String, String> {
    let output = Command::new("sh")
        .args(["-ec", script])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("sh: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr).trim().to_owned()),
    }
}

/// The same for a script that has to work.
#[track_caller]
pub fn sh(script: &str) -> String {
    match sh_may(script) {
        Ok(text) => text,
        Err(why) => panic!("{script}: {why}"),
    }
}
