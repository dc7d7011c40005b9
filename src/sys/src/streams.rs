//! Standard streams for an init that the kernel could give none.
//!
//! Rust's own start-up opens `/dev/null` in the place of a closed 0, 1 or 2, and aborts where it cannot. A machine's
//! first process may have neither a console nor a `/dev` yet, and its end is the machine's.

/// Executed by the C library before `main`.
#[used]
// SAFETY: the section is one of pointers to functions of this type.
#[unsafe(link_section = ".init_array")]
static FILL: extern "C" fn() = fill;

extern "C" fn fill() {
    // SAFETY: plain calls, and nothing of ours has run yet.
    unsafe {
        if libc::getpid() != 1 {
            return;
        }
        loop {
            let mut fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            if fd < 0 {
                // Something that can be neither read nor written.
                fd = libc::open(c"/".as_ptr(), libc::O_RDONLY);
            }
            if fd > 2 {
                libc::close(fd);
            }
            if !(0..=2).contains(&fd) {
                return;
            }
        }
    }
}
