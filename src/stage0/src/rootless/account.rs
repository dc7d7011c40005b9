//! What `/etc/passwd` says of a user. Accounts that only a name service knows
//! are not there: a static program cannot ask it.

/// Longer files are read so far.
const MOST: u64 = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub name: String,
    /// The group of its own, not those that it is a member of.
    pub gid: u32,
    pub home: String,
}

impl Account {
    pub fn of(uid: u32) -> Option<Account> {
        Account::find(&read("/etc/passwd"), uid)
    }

    /// The first line that bears the uid counts, as for the C library.
    fn find(passwd: &str, uid: u32) -> Option<Account> {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, number, group, _, home, ..] = fields[..] else {
                return None;
            };
            let gid = group.parse().ok()?;
            (number.parse() == Ok(uid) && !name.is_empty()).then(|| Account {
                name: name.to_string(),
                gid,
                home: home.to_string(),
            })
        })
    }
}

/// A file of the host's; what cannot be read is empty.
pub(super) fn read(path: &str) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbroken:x:5\n:x:7:7::/:\nno:x:5151:x::/:\n\
                    joe:x:5151:5252:Joe,,,:/home/joe:/bin/sh\nann:x:5151:1::/other:\n";
        let joe = Account::find(text, 5151).unwrap();
        assert_eq!((joe.name.as_str(), joe.home.as_str()), ("joe", "/home/joe"));
        assert_eq!(joe.gid, 5252);
        assert_eq!(Account::find(text, 5), None);
        assert_eq!(Account::find(text, 7), None);
        assert_eq!(Account::find("", 0), None);
    }
}
