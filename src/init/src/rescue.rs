//! A rescue: one program on the console, for whoever sits before it.
//!
//! Either a pod of an image that the kernel's command line names, which sees the
//! machine as it is (its network, its devices by way of `/host`, no confinement of
//! its powers), or the root file system's own image for this, or its shell. The program leads
//! a session of its own, whose terminal the console is, so that ^C works.

use model::Fault;
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::path::Path;
use sys::clone::{Forked, Namespaces};
use sys::{process, signal, tty};

const SHELL: &str = "/bin/sh";
/// The image where none is named.
const USUAL: &str = "/etc/rkt/rescue.aci";

/// A program and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rescue {
    pub program: &'static str,
    pub words: Vec<String>,
}

/// What can be tried, in order.
pub(crate) fn choose(image: Option<&str>, dir: &str, shell: bool) -> Vec<Rescue> {
    let pod = image.map(|image| Rescue {
        program: "/proc/self/exe",
        // Whoever chooses the kernel's command line owns the machine, and so may name any image.
        words: [
            "rkt",
            &format!("--dir={dir}"),
            "--insecure-options=image,all-run",
            "run",
            "--rm",
            "--interactive",
            "--net=host",
            "--volume=host,kind=host,source=/,recursive=true",
            "--mount=volume=host,target=/host",
            image,
        ]
        .map(str::to_string)
        .to_vec(),
    });
    let shell = shell.then(|| Rescue {
        program: SHELL,
        words: vec!["-sh".to_string()],
    });
    pod.into_iter().chain(shell).collect()
}

/// The same for this machine.
pub(crate) fn for_this_machine(image: Option<&str>, dir: &str) -> Result<Vec<Rescue>, Fault> {
    let usual = Some(USUAL).filter(|path| Path::new(path).exists());
    let all = choose(image.or(usual), dir, Path::new(SHELL).exists());
    if all.is_empty() {
        return Err(Fault::not_found(format!(
            "no rescue: no image is named, and there is neither {USUAL} nor {SHELL}"
        ))
        .hint(
            "rkt.rescue=IMAGE on the kernel's command line names an image of the root file system",
        ));
    }
    Ok(all)
}

/// Starts it; its pid.
pub(crate) fn start(rescue: &Rescue, env: &[CString]) -> Result<i32, Fault> {
    let text = |text: &str| {
        CString::new(text).map_err(|_| Fault::invalid(format!("\"{text}\" has a NUL")))
    };
    let program = text(rescue.program)?;
    let words = rescue
        .words
        .iter()
        .map(|word| text(word))
        .collect::<Result<Vec<_>, _>>()?;
    match sys::clone::fork_into(Namespaces::NONE, None) {
        Err(err) => Err(Fault::io("fork", "the rescue", err)),
        Ok(Forked::Parent(pid)) => Ok(pid),
        Ok(Forked::Child) => {
            // Nothing to tell it to but the console itself, which is what cannot be had.
            let err = become_it(&program, &words, env);
            eprintln!(
                "rkt: error: exec {}: {}",
                rescue.program,
                model::fault::errno_text(&err)
            );
            process::exit_now(254)
        }
    }
}

fn become_it(program: &CString, words: &[CString], env: &[CString]) -> std::io::Error {
    let taken = (|| -> std::io::Result<()> {
        signal::reset();
        rustix::process::setsid()?;
        let console = rustix::fs::open(
            "/dev/console",
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        tty::control(std::os::fd::AsFd::as_fd(&console))?;
        for number in 0..3 {
            process::become_std(std::os::fd::AsFd::as_fd(&console), number)?;
        }
        Ok(())
    })();
    match taken {
        Ok(()) => process::exec(program, words, env),
        Err(err) => err,
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn an_image_is_tried_before_the_shell() {
        let both = choose(Some("/srv/a.aci"), "/data", true);
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].words.last().map(String::as_str), Some("/srv/a.aci"));
        assert!(both[0].words.contains(&"--dir=/data".to_string()));
        assert_eq!(both[1].program, "/bin/sh");
    }

    #[test]
    fn without_an_image_the_shell_and_without_a_shell_nothing() {
        assert_eq!(choose(None, "/data", true).len(), 1);
        assert_eq!(choose(None, "/data", false), []);
    }
}
