//! `rkt version`: five lines that scripts parse.

use crate::command::{Call, Command, Outcome};
use crate::output;

/// Our own version.
pub const RKT: &str = env!("CARGO_PKG_VERSION");

pub static COMMAND: Command = Command {
    name: "version",
    short: "say which rkt this is",
    usage: "rkt version",
    long: "Prints the versions of rkt and of the app container specification, and how this\n\
           rkt was built.",
    run: Some(run),
    ..Command::EMPTY
};

fn run(call: Call) -> Outcome {
    call.mixed()?;
    output::out(&text())?;
    Ok(0)
}

/// The third line keeps its key for the scripts that read it; there is no Go
/// in this binary.
fn text() -> String {
    format!(
        "rkt Version: {RKT}\n\
         appc Version: {}\n\
         Go Version: none (written in Rust)\n\
         Go OS/Arch: {}/{}\n\
         Features: {}\n",
        model::version::APPC,
        std::env::consts::OS,
        go_arch(std::env::consts::ARCH),
        features(),
    )
}

fn go_arch(arch: &'static str) -> &'static str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn features() -> String {
    let built = [
        ("TPM", false),
        ("SDJOURNAL", false),
        ("XZ", cfg!(feature = "xz")),
        ("BZIP2", cfg!(feature = "bzip2")),
        ("ZSTD", cfg!(feature = "zstd")),
    ];
    let words: Vec<String> = built
        .iter()
        .map(|(name, on)| format!("{}{name}", if *on { '+' } else { '-' }))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn five_lines_with_the_known_keys() {
        let text = super::text();
        let keys: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split(": ").next())
            .collect();
        assert_eq!(
            keys,
            [
                "rkt Version",
                "appc Version",
                "Go Version",
                "Go OS/Arch",
                "Features"
            ]
        );
    }
}
