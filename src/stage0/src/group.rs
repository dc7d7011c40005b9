//! The host's group `rkt`, whose members may read images and pods.

/// The gid of `name` in the text of an `/etc/group`.
fn gid_in(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

/// The gid of the host's group `name`; an unreadable `/etc/group` has none.
pub fn lookup(name: &str) -> Option<u32> {
    gid_in(&std::fs::read_to_string("/etc/group").ok()?, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_exact_name_only() {
        let text = "root:x:0:\nrkt-admin:x:10:\nrkt:x:998:joe,ann\nbroken\n";
        assert_eq!(gid_in(text, "rkt"), Some(998));
        assert_eq!(gid_in(text, "rk"), None);
        assert_eq!(gid_in(text, "broken"), None);
    }
}
