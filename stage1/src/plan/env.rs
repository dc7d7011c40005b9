//! The environment of an app (appc: App Container Executor).

use model::App;

/// Set only where the image and the user say nothing.
const DEFAULTS: [(&str, &str); 5] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("HOME", "/root"),
];

/// Defaults, then the app's own.
pub(super) fn plain(app: &App) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(app.environment.len() + 8);
    for (key, value) in DEFAULTS {
        if !declares(app, key) {
            env.push((key.to_string(), value.to_string()));
        }
    }
    env.extend(
        app.environment
            .iter()
            .map(|var| (var.name.clone(), var.value.clone())),
    );
    env
}

/// The same, with what the executor owes an app in a pod of its own.
pub(super) fn environment(app: &App, name: &str, interactive: bool) -> Vec<(String, String)> {
    let mut env = plain(app);
    let terminal = interactive.then_some(("TERM", "xterm"));
    for (key, value) in [("AC_APP_NAME", name), ("container", "rkt")]
        .into_iter()
        .chain(terminal)
    {
        if !declares(app, key) {
            env.push((key.to_string(), value.to_string()));
        }
    }
    env
}

fn declares(app: &App, key: &str) -> bool {
    app.environment.iter().any(|var| var.name == key)
}

#[cfg(test)]
mod tests {
    use super::environment;
    use model::{App, Env};

    #[test]
    fn the_image_wins_over_defaults_and_nothing_is_there_twice() {
        let path = Env {
            name: "PATH".into(),
            value: "/bin".into(),
        };
        let app = App {
            environment: vec![path],
            ..App::default()
        };
        let env = environment(&app, "web", false);
        let of = |key: &str| {
            env.iter()
                .filter(|(k, _)| k == key)
                .map(|(_, v)| v.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("PATH"), ["/bin"]);
        assert_eq!(of("HOME"), ["/root"]);
        assert_eq!(of("AC_APP_NAME"), ["web"]);
        assert_eq!(of("TERM"), Vec::<&str>::new());
    }
}
