//! What an app sees of its terminal: which of its streams are one, the window's size, and its changes.

use rustix::fd::AsFd;
use rustix::stdio;
use std::time::Duration;

/// `tty0=/dev/pts/0`, or `none` where the stream is no terminal; `devpts0=` the number of the file system it is on.
pub(crate) fn streams() {
    for (number, fd) in [stdio::stdin(), stdio::stdout(), stdio::stderr()]
        .iter()
        .enumerate()
    {
        let name = if rustix::termios::isatty(fd) {
            std::fs::read_link(format!("/proc/self/fd/{number}"))
                .map_or_else(|e| e.to_string(), |path| path.display().to_string())
        } else {
            "none".to_owned()
        };
        println!("tty{number}={name}");
        let place = rustix::fs::fstat(fd).map(|s| s.st_dev).unwrap_or_default();
        println!("devpts{number}={place}");
    }
}

/// Waits until the window has this size, `24x80` for rows and columns, and says `size=24x80`.
pub(crate) fn sized(wanted: &str) -> Result<(), String> {
    while size()? != wanted {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("size={wanted}");
    Ok(())
}

/// Says `watching`, and tells the size once a SIGWINCH has brought the wanted one.
pub(crate) fn resized(wanted: &str) -> Result<(), String> {
    let signals = sys::signal::Signals::take(&[sys::signal::WINCH]).map_err(|e| e.to_string())?;
    println!("watching");
    while signals.next().is_none() || size()? != wanted {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("size={wanted}");
    Ok(())
}

fn size() -> Result<String, String> {
    let size = rustix::termios::tcgetwinsize(stdio::stdin().as_fd()).map_err(|e| e.to_string())?;
    Ok(format!("{}x{}", size.ws_row, size.ws_col))
}
